"""`resmon quota`: limits as people set and read them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from resmon_resources import inventory
from resmon_resources.postgres import PostgresResource
from resmon_resources.window_ledger import record_window
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

USAGE = "rollup.organization_resource_usage"
GIB = 2**30


@pytest.fixture
def tree(postgres: PostgresResource) -> dict[str, int]:
    """acme -> emea -> paris, and globex; name -> id."""
    now = datetime.now(UTC) - timedelta(days=40)
    with postgres.connect(autocommit=True) as connection:
        for name, parent in [("acme", None), ("emea", "acme"), ("paris", "emea"), ("globex", None)]:
            inventory.add_organization(connection, name, parent=parent, now=now)
        return {o.name: o.organization_id for o in inventory.list_organizations(connection)}


def store_usage(
    postgres: PostgresResource, organization_id: int, start: datetime, **values: object
) -> None:
    """One hour of an organization's usage, and the ledger's row of the hour."""
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s, 'month', %s, %s)",
            (USAGE, start, start + timedelta(hours=1)),
        )
        columns = {"server_count": 3, "measured_server_count": 3} | values
        connection.execute(
            f"insert into {USAGE} (bucket_start, organization_id, measured_until, "
            f"{', '.join(columns)}) values (%s, %s, %s, {', '.join(['%s'] * len(columns))})",
            (start, organization_id, start + timedelta(minutes=55), *columns.values()),
        )
        record_window(
            connection,
            USAGE,
            start,
            revision=1,
            computed_at=start,
            complete_until=start + timedelta(minutes=55),
            row_count=1,
            sample_count=1,
        )


def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@pytest.mark.usefixtures("tree")
def test_limits_are_listed_with_what_is_inherited(resmon: Resmon) -> None:
    """Would let back: a limit that holds for a child and is not shown there."""
    assert resmon("quota", "set", "acme", "memory", "16GiB").exit_code == 0
    assert resmon("quota", "set", "paris", "servers", "5").output == "servers of paris: 5.\n"
    listed = json.loads(resmon("quota", "list", "--json").output)
    assert [
        (x["organization_name"], x["resource"], x["limit"], x["is_inherited"]) for x in listed
    ] == [
        ("acme", "memory_bytes", 16 * GIB, False),
        ("emea", "memory_bytes", 16 * GIB, True),
        ("paris", "servers", 5, False),
        ("paris", "memory_bytes", 16 * GIB, True),
    ]
    assert {x["state"] for x in listed} == {None}
    below = json.loads(resmon("quota", "list", "emea", "--format", "json").output)
    assert {x["organization_name"] for x in below} == {"emea", "paris"}
    outcome = resmon("quota", "list")
    assert "16.0 GiB" in outcome.output
    assert "not computed yet" in outcome.told


def test_usage_is_judged_by_the_limit_of_now(
    resmon: Resmon, postgres: PostgresResource, tree: dict[str, int]
) -> None:
    """Would let back: a list that shows the new limit beside the state of the old one."""
    hour = this_hour()
    for back in (2, 1):
        store_usage(
            postgres,
            tree["acme"],
            hour - timedelta(hours=back),
            memory_used_bytes=9 * GIB,
            memory_bytes_limit=8 * GIB,
            memory_bytes_state="exceeded",
        )
    resmon("quota", "set", "acme", "memory_bytes", "8GiB", "--from", "-3d")
    outcome = resmon("quota", "list", "acme")
    line = next(text for text in outcome.output.splitlines() if text.startswith("acme"))
    assert "9.0 GiB" in line
    assert "112 %" in line
    assert line.rstrip().endswith(f"{hour - timedelta(hours=2):%Y-%m-%d %H:%M}")
    assert "3 limits: 1 exceeded" in outcome.told
    resmon("quota", "set", "acme", "memory_bytes", "10GiB")
    (now,) = json.loads(resmon("quota", "list", "--state", "warn90", "--json").output)
    assert (now["used_pct"], now["state"], now["exceeded_since"]) == (90.0, "warn90", None)
    told = resmon("quota", "list", "--state", "exceeded").told
    assert "None of 3 limits is in this state" in told


@pytest.mark.usefixtures("tree")
def test_setting_says_what_holds_when(resmon: Resmon) -> None:
    """Would let back: a silent success that leaves open what happened."""
    first = resmon("quota", "set", "acme", "storage", "2TB", "--from", "2026-03-01")
    assert first.output == (
        "storage_bytes of acme: 1.8 TiB from 2026-03-01 00:00:00 UTC on. The usage since then is "
        "judged again within some minutes.\n"
    )
    assert "(was 1.8 TiB)" in resmon("quota", "set", "acme", "storage", "3TB").output
    earlier = resmon("quota", "set", "acme", "storage", "1TB", "--from", "2026-02-01").output
    assert "From 2026-03-01 00:00:00 UTC on what was set for then holds: 1.8 TiB." in earlier
    assert "Nothing changed" in resmon("quota", "set", "acme", "storage", "3TB").output
    gone = resmon("quota", "set", "acme", "storage", "none").output
    assert gone == "storage_bytes of acme: no limit of its own (was 2.7 TiB).\n"
    assert "There is no quota. Set one" in resmon("quota", "list").told
    assert "No quota holds for emea" in resmon("quota", "list", "emea").told


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("acme", "servers", "-5"), "'-5' cannot limit servers: 0 to"),
        (("acme", "memory_bytes", "5GBit"), "'GBit' in '5GBit' is not a unit"),
        (("acme", "disc", "5GB"), "is no resource that can be limited"),
        (("acmee", "servers", "5"), "Did you mean acme?"),
        (("acme", "servers", "5", "--from", "soon"), "'soon' is not a time"),
    ],
)
def test_what_cannot_be_set_ends_with_what_to_do(
    resmon: Resmon, arguments: tuple[str, ...], said: str
) -> None:
    """Would let back: a usage error of the option parser on a negative number."""
    outcome = resmon("quota", "set", *arguments)
    assert outcome.exit_code == 1
    assert said in outcome.told
    assert "There is no quota" in resmon("quota", "list").told
