"""`resmon alert replay` on stored rows of every kind."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resmon_assets.forecast.limits import INSUFFICIENT, NOISY, REACHED, STEP
from resmon_resources import inventory
from resmon_resources.inventory import Server
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from tests.integration.cli.builders import add_server
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = TODAY - 4 * DAY
RANGE = ("--from", START.isoformat(), "--to", (START + DAY).isoformat())


@pytest.fixture
def web(postgres: PostgresResource) -> Server:
    return add_server(postgres, "web-1", tags=["prod"])


def run(postgres: PostgresResource, query: str, *values: Any) -> None:  # Any: parameters
    with postgres.connect() as connection:
        connection.execute(query.encode(), values)


def store_cpu(
    postgres: PostgresResource, server: Server, begin: datetime, values: Sequence[float | None]
) -> None:
    """A sample each 30 s; memory is 10 of 100 bytes, disk the share of the CPU of 1,000 bytes."""
    end = begin + len(values) * timedelta(seconds=30)
    table = "raw.server_resource_metrics"
    run(postgres, "select ops.ensure_partitions(%s, 'day', %s, %s)", table, begin, end)
    run(
        postgres,
        f"insert into {table} (collected_at, server_id, organization_id, cpu_pct,"
        " memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes)"
        " select %s::timestamptz + (place - 1) * interval '30 seconds', %s, %s, value, 10, 100,"
        " 10 * value, 1000 from unnest(%s::real[]) with ordinality as v (value, place)",
        begin,
        server.server_id,
        server.organization_id,
        list(values),
    )


def store_buckets(
    postgres: PostgresResource,
    server: Server,
    begin: datetime,
    pairs: Sequence[tuple[float, float]],
    *,
    tier: str = "1min",
    width: timedelta = MINUTE,
) -> None:
    """A bucket for each lowest and highest value; in 1min a highest that is the lowest is null."""
    table = f"tier.metrics_{tier}"
    size = {"1min": "day", "5min": "week"}[tier]
    end = begin + len(pairs) * width
    run(postgres, "select ops.ensure_partitions(%s, %s, %s, %s)", table, size, begin, end)
    for place, (lowest, highest) in enumerate(pairs):
        above = None if highest == lowest and tier == "1min" else highest
        run(
            postgres,
            f"insert into {table} (bucket_start, server_id, organization_id, sample_count,"
            " expected_count, cpu_pct_min, cpu_pct_max, memory_used_bytes_min,"
            " memory_used_bytes_max) values (%s, %s, %s, 2, 2, %s, %s, %s, %s)",
            begin + place * width,
            server.server_id,
            server.organization_id,
            *(lowest, above, lowest, above),
        )


def replayed(resmon: Resmon, *arguments: str) -> dict[str, Any]:  # Any: JSON
    done = resmon("alert", "replay", *arguments, "--format", "json")
    assert done.exit_code == 0, done.told
    result: dict[str, Any] = json.loads(done.output)
    return result


def test_samples_are_replayed_as_the_rule_holds(
    resmon: Resmon, postgres: PostgresResource, web: Server
) -> None:
    """Would let back: a replay that leaves out settings, or the values of a server."""
    calm = add_server(postgres, "calm-1")
    store_cpu(postgres, web, START, [50] * 20 + [95] * 40 + [50] * 40 + [95] * 15 + [50] * 60)
    store_cpu(postgres, calm, START, [50] * 100)
    found = replayed(resmon, "cpu_high", *RANGE)["now"]
    assert (found["opened"], found["flapped"], found["judged_subjects"]) == (2, 1, 2)
    (subject,) = found["subjects"]
    assert (subject["name"], subject["subject"]) == ("web-1", f"server:{web.server_id}")
    assert [one["opened_at"] for one in subject["alerts"]] == [
        (START + 15 * MINUTE).isoformat().replace("+00:00", "Z"),
        (START + 55 * MINUTE).isoformat().replace("+00:00", "Z"),
    ]
    # Left at minute 30 and kept for 5; the second for 10, because it flapped.
    assert subject["open_minutes"] == 20 + (57.5 + 10 - 55)
    resmon("alert", "rule", "set", "cpu_high", "--for", "10m", "--tag", "prod")
    assert replayed(resmon, "cpu_high", *RANGE)["now"]["opened"] == 1
    resmon("alert", "rule", "set", "cpu_high", "--disable", "--tag", "prod")
    off = replayed(resmon, "cpu_high", *RANGE)["now"]
    assert (off["opened"], off["judged_subjects"]) == (0, 1)
    resmon("alert", "rule", "set", "cpu_high", "--disable")
    forced = resmon("alert", "replay", "cpu_high", *RANGE)
    assert "as if it were on" in forced.told
    assert "1 alert of 1" in forced.output


def test_a_change_is_compared_with_the_rule_as_it_is(
    resmon: Resmon, postgres: PostgresResource, web: Server, tmp_path: Path
) -> None:
    """Would let back: a difference with the wrong sign, or a table that cannot be read."""
    store_cpu(postgres, web, START, [50] * 20 + [85] * 60 + [95] * 8 + [50] * 400)
    found = replayed(resmon, "cpu_high", *RANGE, "--level", "80:info", "--level", "94")
    assert (found["now"]["opened"], found["changed"]["opened"]) == (0, 1)
    assert found["difference"]["opened"] == 1
    assert found["difference"]["only_changed"] == ["web-1"]
    assert found["changed"]["levels"] == [
        {"severity": "info", "level": 80.0, "clear": 70.0},
        {"severity": "warning", "level": 94.0, "clear": 84.0},
    ]
    picture = tmp_path / "replay.png"
    told = resmon(
        *("alert", "replay", "cpu_high", *RANGE, "--level", "80", "--picture", str(picture))
    )
    assert told.exit_code == 0
    assert "Difference: 1 alert more" in told.output
    assert "Alerts only with the change: web-1." in told.output
    assert "==" in told.output or "=" in told.output.split("TIMELINE")[1]
    assert all(len(line) <= 120 for line in told.output.splitlines()[:6])
    with Image.open(picture) as image:
        assert image.size[0] == 1100
        assert len(image.convert("RGB").getcolors(10**6) or ()) > 20
    nothing = tmp_path / "none.png"
    calm = resmon("alert", "replay", "cpu_high", *RANGE, "--picture", str(nothing))
    assert "no alert to draw" in calm.told
    assert not nothing.exists()


def test_older_days_come_from_tiers_and_what_is_missing_is_said(
    resmon: Resmon, postgres: PostgresResource, web: Server
) -> None:
    """Would let back: days without raw that count as days without alerts."""
    store_buckets(postgres, web, START - 2 * DAY, [(92, 99)] * 4, tier="5min", width=5 * MINUTE)
    store_buckets(postgres, web, START - DAY, [(95, 95)] * 10 + [(50, 95)] * 60 + [(50, 50)] * 20)
    store_cpu(postgres, web, START + DAY, [95] * 20)
    found = replayed(
        resmon,
        *("cpu_high", "--from", (START - 2 * DAY).isoformat()),
        *("--to", (START + 2 * DAY).isoformat()),
    )
    assert found["sources"] == {"5min": 86_400, "1min": 86_400, "raw": 86_400}
    assert [one["from"][:10] for one in found["missing"]] == [START.date().isoformat()]
    (subject,) = found["now"]["subjects"]
    opened = [datetime.fromisoformat(one["opened_at"]) for one in subject["alerts"]]
    # That of two days before goes on until the next values: the buckets of minutes, all above.
    assert [(at - (START - 2 * DAY)) // DAY for at in opened] == [0, 3]
    ended = datetime.fromisoformat(subject["alerts"][0]["ended_at"])
    assert timedelta(minutes=70) < ended - (START - DAY) <= timedelta(minutes=77)
    told = resmon("alert", "replay", "cpu_high", "--from", (START - 2 * DAY).isoformat())
    assert "buckets of one minute (24.0 h)" in told.output
    assert "Nothing is stored of" in told.output


def test_shares_of_buckets_are_those_of_the_sizes_of_now(
    resmon: Resmon, postgres: PostgresResource, web: Server
) -> None:
    """Would let back: bytes judged as percent, or a server without a size as full."""
    store_buckets(postgres, web, START, [(95, 99)] * 20)
    assert replayed(resmon, "memory_high", *RANGE)["now"]["judged_subjects"] == 0
    run(
        postgres,
        "insert into raw.server_status (server_id, status, last_attempt_at, memory_total_bytes)"
        " values (%s, 'healthy', %s, 200)",
        *(web.server_id, START),
    )
    assert replayed(resmon, "memory_high", *RANGE)["now"]["opened"] == 0
    run(postgres, "update raw.server_status set memory_total_bytes = 100")
    assert replayed(resmon, "memory_high", *RANGE)["now"]["opened"] == 1


def test_disk_and_file_systems(resmon: Resmon, postgres: PostgresResource, web: Server) -> None:
    """Would let back: two mounts of a server that are one subject."""
    store_cpu(postgres, web, START, [96] * 20)
    found = replayed(resmon, "disk_high", *RANGE)["now"]
    assert [one["severity"] for one in found["subjects"]] == ["critical"]
    table = "raw.filesystem_usage"
    run(postgres, "select ops.ensure_partitions(%s, 'day', %s, %s)", table, START, START + DAY)
    for minute, (var, home) in enumerate([(84, 50), (86, 86), (84, 50), (50, 50), (50, 50)]):
        for mount, used in (("/var", var), ("/home", home)):
            run(
                postgres,
                f"insert into {table} (collected_at, server_id, organization_id, mount, device,"
                " used_bytes, available_bytes) values (%s, %s, %s, %s, 'sda', %s, %s)",
                START + 5 * minute * MINUTE,
                *(web.server_id, web.organization_id, mount, used, 100 - used),
            )
    mounts = replayed(resmon, "file_system_high", *RANGE)["now"]["subjects"]
    assert {one["name"]: one["open_minutes"] for one in mounts} == {
        "web-1 /var": 24 * 60 - 5,
        "web-1 /home": 15,
    }


def test_coverage_is_replayed_for_servers_that_could_not_be_read(
    resmon: Resmon, postgres: PostgresResource, web: Server
) -> None:
    """Would let back: a collector that was down taken for servers that were."""
    stretches = [
        (-30, 9.5, "ok"),
        (10, 29.5, "timeout"),
        (30, 59.5, "collector_down"),
        (60, 89.5, "ok"),
        (90, 99.5, "host_key_changed"),
    ]
    for first, last, cause in stretches:
        run(
            postgres,
            "insert into raw.collection_coverage values (%s, %s, %s, %s, %s)",
            *(web.server_id, START + first * MINUTE, START + last * MINUTE, cause),
            round((last - first) * 2) + 1,
        )
    (unreachable,) = replayed(resmon, "unreachable", *RANGE)["now"]["subjects"]
    assert [one["began_at"][11:16] for one in unreachable["alerts"]] == ["00:10"]
    assert unreachable["open_minutes"] == 61 - 12
    (changed,) = replayed(resmon, "host_key_changed", *RANGE)["now"]["subjects"]
    assert [one["opened_at"][11:16] for one in changed["alerts"]] == ["01:30"]


def test_quotas_are_replayed_where_the_limit_was_set(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: the alert of an organization repeated for each below it."""
    with postgres.connect(autocommit=True) as connection:
        inventory.add_organization(connection, "acme", now=START - DAY)
        inventory.add_organization(connection, "emea", parent="acme", now=START - DAY)
        ids = {o.name: o.organization_id for o in inventory.list_organizations(connection)}
    table = "rollup.organization_resource_usage"
    run(postgres, "select ops.ensure_partitions(%s, 'month', %s, %s)", table, START, START + DAY)
    for hour, used in enumerate([70, 85, 95, 70, 70]):
        for name in ("acme", "emea"):
            run(
                postgres,
                f"insert into {table} (bucket_start, organization_id, measured_until, server_count,"
                " measured_server_count, servers_limit, servers_limit_organization_id)"
                " values (%s, %s, %s, %s, 1, 100, %s)",
                *(START + hour * 60 * MINUTE, ids[name], START + (hour + 1) * 60 * MINUTE, used),
                ids["acme"],
            )
    found = replayed(resmon, "quota", *RANGE)["now"]
    (subject,) = found["subjects"]
    assert (subject["name"], subject["severity"]) == ("acme servers", "warning")
    assert subject["open_minutes"] == 120
    assert "about organizations" in resmon("alert", "replay", "quota", "--tag", "x").told


def test_reports_and_forecasts_are_replayed(
    resmon: Resmon, postgres: PostgresResource, web: Server
) -> None:
    """Would let back: an episode that is one value, or an unsure forecast that ends an alert."""
    run(
        postgres,
        "select ops.ensure_partitions('anomaly.anomaly_reports', 'month', %s, %s)",
        *(START, START + DAY),
    )
    for first, last, severity, quiet in (
        (0, 60, "warning", None),
        (120, 150, "critical", None),
        (300, 400, "critical", "maintenance"),
        (500, 600, "info", None),
    ):
        run(
            postgres,
            "insert into anomaly.anomaly_reports (started_at, ended_at, peak_at, score, server_id,"
            " organization_id, revision, has_late_input, metric, detector, kind, severity, reason,"
            " quiet_reason) values (%s, %s, %s, 1, %s, %s, 1, false, 'cpu_pct', 'default',"
            " 'deviation', %s, 'why', %s)",
            *(START + first * MINUTE, START + last * MINUTE, START, web.server_id),
            *(web.organization_id, severity, quiet),
        )
    (subject,) = replayed(resmon, "anomaly", *RANGE)["now"]["subjects"]
    assert (subject["name"], subject["open_minutes"]) == ("web-1 cpu_pct", 90)
    assert [one["severity"] for one in subject["alerts"]] == ["warning", "critical"]
    run(
        postgres,
        "select ops.ensure_partitions('forecast.capacity_forecasts', 'month', %s, %s)",
        *(START - 3 * DAY, START + 3 * DAY),
    )
    days = [(10, None), (2, None), (None, "noisy"), (30, None), (None, "flat")]
    for place, (left, reason) in enumerate(days):
        day = START - 2 * DAY + place * DAY
        run(
            postgres,
            "insert into forecast.capacity_forecasts (bucket_start, organization_id, server_id,"
            " history_days, metric, mount, method, status, reach_100_on, reach_100_reason)"
            " values (%s, %s, %s, 9, 'filesystem_used_bytes', '/var', 'best', 'ok', %s, %s)",
            *(day, web.organization_id, web.server_id),
            *(None if left is None else (day + DAY + left * DAY).date(), reason),
        )
    (disk,) = replayed(
        resmon, "disk_full_soon", "--from", (START - 3 * DAY).isoformat(), "--to", "now"
    )["now"]["subjects"]
    assert (disk["name"], disk["severity"]) == ("web-1 /var", "critical")
    assert disk["open_minutes"] == 3 * 24 * 60
    # What an asset tells holds until the next day.
    (later,) = replayed(
        resmon, "disk_full_soon", "--from", (START - 3 * DAY).isoformat(), "--for", "1h"
    )["changed"]["subjects"]
    assert later["open_minutes"] == 2 * 24 * 60


def test_reasons_of_forecasts_are_those_of_live_judging() -> None:
    """Would let back: a reason that got another name, and ends alerts in a replay only."""
    query = load_query("alert", "replay_full_days")
    for reason in (REACHED, INSUFFICIENT, STEP, NOISY):
        assert f"'{reason}'" in query


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cpu_hihg",), "Did you mean cpu_high"),
        (("collector_behind",), "not stored as history"),
        (("cpu_high", "--from", "now"), "is not before"),
        (("cpu_high", "--from", "yesterday"), "is not a time"),
        (("cpu_high", "--level", "80", "--clear", "95"), "above"),
        (("cpu_high", "--level", "x"), "not a level"),
        (("cpu_high", "--for", "5"), "with a unit"),
        (("cpu_high", "--server", "web-9"), "web-9"),
        (("cpu_high", "--organization", "nowhere"), "nowhere"),
        (("cpu_high", "--tag", "none-has-it"), "no such server"),
        (("cpu_high", "--option", "x=1"), "no option x"),
    ],
)
@pytest.mark.usefixtures("web")
def test_wrong_input_is_refused(resmon: Resmon, arguments: tuple[str, ...], told: str) -> None:
    """Would let back: an empty answer to a question that makes no sense."""
    done = resmon("alert", "replay", *arguments)
    assert done.exit_code == 1
    assert told in done.told


@pytest.mark.usefixtures("web")
def test_a_range_without_anything_stored_is_said(resmon: Resmon) -> None:
    """Would let back: no alert in a month of which nothing is known."""
    done = resmon("alert", "replay", "cpu_high", "--from", "-30d")
    assert done.exit_code == 0
    assert "Nothing is stored of 31 days" in done.output
