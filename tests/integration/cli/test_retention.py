"""`resmon retention`: the policy as people set it, and the plan as they read it."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from resmon_cli.retention import next_rules, parse_keep
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres import PostgresResource
from resmon_resources.raw_days import add_too_late_rows, record_pruned
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

RAW = "raw.server_resource_metrics"


@pytest.fixture
def old_days(postgres: PostgresResource) -> list[date]:
    """Two days of raw that are older than the policy: one that nothing was written to, one not
    computed."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first, second = today - timedelta(days=12), today - timedelta(days=11)
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, 'day', %s, %s)",
            (RAW, first, second + timedelta(hours=1)),
        )
        connection.execute("select ops.bump_raw_hour(%s, 0)", (second,))
    return [first.date(), second.date()]


def test_plan_lists_every_partition_with_the_reasons(resmon: Resmon, old_days):
    """Lets back: a plan that says what goes and not what is stuck, or drops something itself."""
    done = resmon("retention", "plan", columns=200)
    assert done.exit_code == 0
    first, second = (
        next(x for x in done.output.splitlines() if x.startswith(f"{RAW}   {d}")) for d in old_days
    )
    assert " drop" in first
    assert " keep " in second
    assert "not archived yet" in done.output
    assert "tier.metrics_1min: 1 of its windows not computed yet" in done.output
    assert "drops 1 partition and frees" in done.told
    assert "1 partition older than the policy must stay" in done.told
    rows = json.loads(resmon("retention", "plan", "--json").output)
    assert [row["is_dropped"] for row in rows] == [True, False]
    assert {"reason": "not_archived", "detail": "not archived yet"} in rows[1]["blockers"]


def test_show_tells_policy_size_and_what_goes(resmon: Resmon, old_days):
    """Lets back: a table without the figures that a person decides by."""
    done = resmon("retention", "show", columns=200)
    (line,) = (x for x in done.output.splitlines() if x.startswith(RAW))
    assert "7 days" in line
    assert f"{old_days[0]}" in line
    assert f"{old_days[1]}" in line
    assert any("for ever" in x for x in done.output.splitlines() if "tier.metrics_1day" in x)
    (raw,) = (
        row
        for row in json.loads(resmon("retention", "show", "--json").output)["tables"]
        if row["table"] == RAW
    )
    assert (raw["keep_days"], raw["partitions"], raw["next_round_drops"]) == (7, 2, 1)
    assert 0 < raw["next_round_frees_bytes"] < raw["size_bytes"]


def test_set_is_stored_and_says_what_goes(resmon: Resmon, postgres, old_days):
    """Lets back: a shorter policy whose effect nobody sees before the night."""
    assert "is kept 20 days" in resmon("retention", "set", RAW, "20").output
    rows = json.loads(resmon("retention", "plan", "--json").output)
    assert not any(row["is_dropped"] for row in rows)
    done = resmon("retention", "set", RAW, "10")
    assert "1 of its partitions" in done.told
    assert "is kept for ever" in resmon("retention", "set", "tier.metrics_1day", "forever").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tier.metrics_1min", "91"], "tier.metrics_5min (90 days) would be gone before"),
        ([RAW, "1"], "raw must stay 2 days at least"),
        (["tier.metrics_1min", "0"], "Give 1 to 36500, or forever"),
        (["tier.metrics_1min", "-3"], "is not a number of days"),
        (["tier.metrics_2min", "30"], "the policy has no such table"),
        (["tier.metrics_1min", "forever"], "would be gone before tier.metrics_1min (for ever)"),
    ],
)
def test_set_that_would_lose_data_is_refused_with_the_reason(resmon: Resmon, arguments, told):
    """Lets back: a policy that is taken and then refused in the night, where nobody looks."""
    done = resmon("retention", "set", *arguments)
    assert done.exit_code == 1
    assert told in done.told


def test_rows_that_came_too_late_are_told_by_show_and_status(resmon: Resmon, postgres):
    """Lets back: rows that wait for a restore that nobody knows they need."""
    day = date(2026, 3, 1)
    with postgres.connect() as connection:
        record_pruned(connection, day, pruned_at=datetime(2026, 3, 9, tzinfo=UTC))
        add_too_late_rows(connection, day, 42)
    line = "42 rows came after their day was dropped (2026-03-01)"
    assert line in resmon("retention", "show").told
    assert line in resmon("status").told


def test_next_round_is_tonight_or_tomorrow():
    """Lets back: a plan as of a midnight that the next round does not judge by."""
    before = next_rules(datetime(2026, 3, 20, 1, 9, 59, tzinfo=UTC))
    assert before.as_of == datetime(2026, 3, 20, tzinfo=UTC)
    after = next_rules(datetime(2026, 3, 20, 1, 10, tzinfo=UTC))
    assert (after.as_of, after.now) == (
        datetime(2026, 3, 21, tzinfo=UTC),
        datetime(2026, 3, 21, 1, 10, tzinfo=UTC),
    )


@pytest.mark.parametrize("text", ["", "x", "1.5", "-1", "0", "36501", "²"])
def test_days_that_are_no_days_are_refused(text: str):
    """Lets back: a traceback, or a policy of a thousand years."""
    with pytest.raises(ConfigurationInvalid):
        parse_keep(text)
