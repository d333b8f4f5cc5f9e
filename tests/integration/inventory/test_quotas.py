"""Quotas as stored: history, inheritance, and what a change makes stale."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from resmon_resources import inventory, quotas
from resmon_resources.errors import OrganizationNotEmpty, OrganizationUnknown, QuotaInvalid
from resmon_resources.quotas import QuotaSet, Resource
from resmon_resources.window_ledger import record_window, window_states

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAY, ONE_HOUR = timedelta(days=1), timedelta(hours=1)
USAGE = "rollup.organization_resource_usage"
Connection = psycopg.Connection


@pytest.fixture
def deep(postgres_connection: Connection) -> Connection:
    """o0 -> o1 -> ... -> o9, and aside."""
    for k in range(10):
        parent = f"o{k - 1}" if k else None
        inventory.add_organization(postgres_connection, f"o{k}", parent=parent, now=NOW - 30 * DAY)
    inventory.add_organization(postgres_connection, "aside", now=NOW - 30 * DAY)
    return postgres_connection


def put(
    connection: Connection,
    organization: str,
    limit: int | None,
    at: datetime = NOW,
    *,
    resource: Resource = "servers",
) -> QuotaSet:
    return quotas.set_quota(connection, organization, resource, limit=limit, valid_from=at, now=NOW)


def limits(connection: Connection, at: datetime = NOW) -> dict[str, tuple[int, str]]:
    """Organization -> limit of its servers, and whose it is."""
    names = {o.organization_id: o.name for o in inventory.list_organizations(connection)}
    return {
        names[u.organization_id]: (u.limit_value, names[u.limit_organization_id])
        for u in quotas.quota_usage(connection, at=at)
        if u.resource == "servers"
    }


def test_limit_is_inherited_from_the_nearest_ancestor_that_has_one(deep: Connection) -> None:
    """Would let back: children without a limit, or judged by one far above a nearer one."""
    put(deep, "o0", 100)
    put(deep, "o4", 7)
    put(deep, "o8", 0)
    put(deep, "o6", 5, resource="cpu_cores")
    assert limits(deep) == {
        **{f"o{k}": (100, "o0") for k in range(4)},
        **{f"o{k}": (7, "o4") for k in range(4, 8)},
        **{f"o{k}": (0, "o8") for k in (8, 9)},
    }


def test_limit_that_is_taken_away_gives_way_to_the_one_above(deep: Connection) -> None:
    """Would let back: `none` that means unlimited, or one that erases what held before."""
    put(deep, "o0", 100, NOW - 5 * DAY)
    put(deep, "o4", 7, NOW - 4 * DAY)
    put(deep, "o4", None, NOW - DAY)
    assert limits(deep)["o5"] == (100, "o0")
    assert limits(deep, NOW - 2 * DAY)["o5"] == (7, "o4")
    assert limits(deep, NOW - DAY)["o5"] == (100, "o0"), "from its first instant on"
    assert limits(deep, NOW - DAY - timedelta(microseconds=1))["o5"] == (7, "o4")
    assert limits(deep, NOW - 6 * DAY) == {}


def test_setting_tells_what_it_replaces_and_what_comes_after(deep: Connection) -> None:
    """Would let back: a limit set for the past that is thought to hold today."""
    assert put(deep, "o0", 10, NOW - DAY) == QuotaSet(
        is_changed=True, replaced_value=None, next_from=None, next_value=None
    )
    assert put(deep, "o0", 10, NOW) == QuotaSet(
        is_changed=False, replaced_value=10, next_from=None, next_value=None
    )
    assert put(deep, "o0", 30, NOW - 3 * DAY) == QuotaSet(
        is_changed=True, replaced_value=None, next_from=NOW - DAY, next_value=10
    )
    assert put(deep, "o0", 20, NOW - DAY).replaced_value == 10
    rows = deep.execute(
        "select valid_from, valid_to, limit_value from resmon.organization_quotas order by 1"
    ).fetchall()
    assert rows == [(NOW - 3 * DAY, NOW - DAY, 30), (NOW - DAY, None, 20)]
    assert not put(deep, "aside", None).is_changed


def test_bad_limits_and_organizations_are_refused(deep: Connection) -> None:
    """Would let back: a check constraint's text instead of what to do."""
    with pytest.raises(QuotaInvalid, match="none"):
        put(deep, "o0", -1)
    with pytest.raises(OrganizationUnknown, match="asid"):
        put(deep, "asid", 1)
    assert limits(deep) == {}


def test_an_organization_with_nothing_but_a_quota_can_be_removed(deep: Connection) -> None:
    """Would let back: a foreign key's text on `resmon org remove`."""
    put(deep, "aside", 3)
    put(deep, "o0", 3)
    inventory.remove_organization(deep, "aside")
    with pytest.raises(OrganizationNotEmpty):
        inventory.remove_organization(deep, "o0")
    assert set(limits(deep)) == {f"o{k}" for k in range(10)}


def test_a_change_makes_the_usage_since_then_stale_and_nothing_before(deep: Connection) -> None:
    """Would let back: a limit set from last week on that no past hour is ever judged by."""
    for back in range(4):
        start = NOW - back * ONE_HOUR
        record_window(
            deep,
            USAGE,
            start,
            revision=5,
            computed_at=NOW,
            complete_until=start + ONE_HOUR,
            row_count=1,
            sample_count=1,
        )
    put(deep, "o0", 10, NOW - ONE_HOUR)
    states = window_states(deep, USAGE, NOW - DAY, NOW + DAY)
    assert [states[NOW - back * ONE_HOUR].revision for back in range(4)] == [-1, -1, 5, 5]
    put(deep, "o0", 11, NOW - ONE_HOUR - timedelta(minutes=20))
    states = window_states(deep, USAGE, NOW - DAY, NOW + DAY)
    assert [states[NOW - back * ONE_HOUR].revision for back in range(4)] == [-1, -1, -1, 5]


def test_exceeded_since_is_the_start_of_the_unbroken_stretch(deep: Connection) -> None:
    """Would let back: a first-exceeded time of an earlier stretch, or one cut at the month's turn
    or by an hour that says nothing.
    """
    begin = datetime(2026, 2, 28, 18, tzinfo=UTC)
    deep.execute(
        "select ops.ensure_partitions(%s, 'month', %s, %s)", (USAGE, begin, begin + 2 * DAY)
    )
    # An hour each; x: exceeded, o: ok, ?: no state, blank: no row.
    stretch = "xxox?x xxxxxox"
    one = inventory.find_organization(deep, "o0").organization_id
    for k, letter in enumerate(stretch):
        if letter == " ":
            continue
        state = {"x": "exceeded", "o": "warn90", "?": None}[letter]
        deep.execute(
            f"insert into {USAGE} (bucket_start, organization_id, measured_until, server_count, "
            "measured_server_count, memory_bytes_state, storage_bytes_state) "
            "values (%s, %s, %s, 1, 1, %s, 'exceeded')",
            (begin + k * ONE_HOUR, one, begin + (k + 1) * ONE_HOUR, state),
        )
    rows = deep.execute(
        "select bucket_start, exceeded_since from resmon.organization_resource_usage "
        "where resource = 'memory_bytes' and state = 'exceeded' order by 1"
    ).fetchall()
    since = {(at - begin) // ONE_HOUR: (first - begin) // ONE_HOUR for at, first in rows}
    assert since == {0: 0, 1: 0, 3: 3, 5: 3, 7: 3, 8: 3, 9: 3, 10: 3, 11: 3, 13: 13}
