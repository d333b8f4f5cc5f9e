"""Why a partition must stay: each reason alone keeps it, and none of them is left out."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from resmon_resources.raw_days import day_start, record_restored
from resmon_resources.retention_store import Downstream, Partition
from resmon_resources.window_ledger import mark_red
from tests.integration.retention.world import (
    AS_OF,
    NOW,
    OF_RAW,
    OLD,
    ONE_DAY,
    RAW,
    RULES,
    World,
)

pytestmark = pytest.mark.integration


def bump(world: World, day: date, *, hour: int = 10) -> None:
    """One more write to an hour of a day."""
    world.fleet.execute(
        "select ops.bump_raw_hour(%s, 0)", (day_start(day) + timedelta(hours=hour),)
    )


def test_day_that_is_old_computed_and_archived_may_go(world):
    """Lets back: retention that never drops anything."""
    world.finished(OLD)
    assert world.reasons(OLD) == []


def test_day_within_the_policy_stays_until_its_last_instant_is_old_enough(world):
    """Lets back: a day that is dropped while its evening is younger than the policy."""
    edge = (AS_OF - 8 * ONE_DAY).date()
    world.finished(edge)
    assert world.reasons(edge) == []
    earlier = replace(RULES, as_of=AS_OF - timedelta(microseconds=1))
    assert world.reasons(edge, rules=earlier) == ["within_policy"]
    assert "kept until 2026-03-20 00:00 UTC (7 days)" in (
        world.verdict(edge, rules=earlier).blockers[0].detail
    )


@pytest.mark.parametrize("item", OF_RAW, ids=lambda item: item.table)
def test_window_that_was_never_computed_keeps_the_day(world, item):
    """Lets back: raw that goes before one of the tables computed from it was written."""
    world.finished(OLD)
    world.fleet.execute("delete from ops.window_state where asset = %s", (item.table,))
    (blocker,) = world.verdict(OLD).blockers
    assert blocker.reason == "not_computed"
    assert blocker.detail.startswith(f"{item.table}: 1 of its windows not computed yet")


@pytest.mark.parametrize("item", OF_RAW, ids=lambda item: item.table)
def test_red_window_keeps_the_day(world, item):
    """Lets back: rows that a check found wrong, with nothing left to compute them again from."""
    world.finished(OLD)
    start = day_start(OLD) + (timedelta(hours=10) if item.window < ONE_DAY else timedelta(0))
    with world.postgres.connect() as connection:
        assert mark_red(connection, item.table, start, is_red=True)
    assert world.reasons(OLD) == ["red"]


def test_window_that_ends_in_an_open_bucket_keeps_the_day(world):
    """Lets back: an hour computed at half past, and never again, taken for the whole."""
    world.finished(OLD)
    world.fleet.execute(
        "update ops.window_state set complete_until = complete_until - interval '5 minutes' "
        "where asset = 'tier.metrics_5min'"
    )
    assert world.reasons(OLD) == ["not_computed"]


def test_late_samples_keep_the_day_until_all_is_computed_and_archived_again(world):
    """Lets back: late samples lost between the last computation and the drop."""
    world.finished(OLD)
    bump(world, OLD)
    assert world.reasons(OLD) == ["archive_stale"] + ["stale"] * sum(
        item.reach != "any" for item in OF_RAW
    )
    world.cover(OLD)
    assert world.reasons(OLD) == ["archive_stale"]
    world.archive(OLD)
    assert world.reasons(OLD) == []


def test_hour_that_only_the_ledger_knows_keeps_the_day(world):
    """Lets back: a change of the inventory in an hour without samples, never computed."""
    world.finished(OLD)
    bump(world, OLD, hour=20)
    world.archive(OLD)
    assert "not_computed" in world.reasons(OLD)


def test_day_that_is_not_archived_stays(world):
    """Lets back: the only copy of the samples dropped."""
    world.write(OLD)
    world.cover(OLD)
    assert world.reasons(OLD) == ["not_archived"]


def test_restored_day_stays_until_it_was_promised_and_goes_then(world):
    """Lets back: a day restored for an investigation that is gone the next night."""
    world.finished(OLD)
    with world.postgres.connect() as connection:
        record_restored(connection, OLD, restored_at=NOW, kept_until=NOW + timedelta(hours=1))
    assert world.reasons(OLD) == ["restored"]
    assert world.reasons(OLD, rules=replace(RULES, now=NOW + timedelta(hours=1))) == []


def test_windows_older_than_their_own_table_is_kept_are_not_waited_for(world):
    """Lets back: a day restored after a year that can never be dropped again."""
    old = (AS_OF - 40 * ONE_DAY).date()
    world.finished(old)
    world.fleet.execute("delete from ops.window_state where asset = 'tier.metrics_1min'")
    assert world.reasons(old) == []
    world.fleet.execute("delete from ops.window_state where asset = 'tier.metrics_5min'")
    assert world.reasons(old) == ["not_computed"]


def test_window_whose_reach_is_the_month_waits_for_earlier_days_of_it(world):
    """Lets back: usage of a month computed before late samples of its first days came."""
    world.finished(OLD)
    month = tuple(replace(item, reach="month") for item in OF_RAW)
    assert world.reasons(OLD, rules=replace(RULES, downstream=month)) == []
    bump(world, date(2026, 2, 27))
    assert world.reasons(OLD, rules=replace(RULES, downstream=month)) == []
    bump(world, OLD - 3 * ONE_DAY)
    assert set(world.reasons(OLD, rules=replace(RULES, downstream=month))) == {"stale"}
    assert world.reasons(OLD) == []


def test_table_computed_from_another_table_is_judged_by_its_windows(world):
    """Lets back: usage of a month judged by revisions of raw, which it does not count."""
    table = "rollup.organization_metrics_5min"
    usage = "rollup.organization_resource_usage"
    day = AS_OF - 100 * ONE_DAY
    week = day - timedelta(days=day.weekday())
    rules = replace(
        RULES,
        downstream=(
            Downstream(usage, table, timedelta(hours=1), "month"),
            Downstream(usage, RAW, timedelta(hours=1), "any"),
        ),
    )
    states = "insert into ops.window_state values (%s, %s, %s, %s, %s, false, 1, 1)"

    def blockers(source):
        return world.fleet.execute(
            "select reason from ops.partition_blockers(%(table_name)s, %(start)s, %(end)s, "
            "%(as_of)s, %(now)s, false, %(downstream)s::jsonb)",
            rules.values(Partition(source, week, week + 7 * ONE_DAY, 0, 0)),
        )

    assert blockers(table) == []
    world.fleet.execute(states, (table, week, 5, NOW, week + timedelta(hours=1)))
    assert blockers(table) == [("not_computed",)]
    world.fleet.execute(states, (usage, week, 4, NOW, week + timedelta(hours=1)))
    assert blockers(table) == [("stale",)]
    world.fleet.execute("update ops.window_state set revision = 5 where asset = %s", (usage,))
    assert blockers(table) == []
    for _ in range(9):
        world.fleet.execute("select ops.bump_raw_hour(%s, 0)", (week,))
    assert ("stale",) not in blockers(RAW)
    world.fleet.execute("delete from ops.window_state where asset = %s", (usage,))
    assert ("not_computed",) in blockers(RAW)


def test_tiers_go_by_age_alone_and_those_kept_for_ever_stay(world):
    """Lets back: a tier that waits for an archive of its own, or the last tier dropped."""
    for table, width, start in (
        ("tier.metrics_1min", "day", "2026-02-17"),
        ("tier.metrics_1min", "day", "2026-02-18"),
        ("tier.metrics_1day", "year", "2020-01-01"),
    ):
        world.fleet.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
            (table, width, f"{start} 00:00Z", f"{start} 01:00Z"),
        )
    assert world.reasons(date(2026, 2, 17), table="tier.metrics_1min") == []
    assert world.reasons(date(2026, 2, 18), table="tier.metrics_1min") == ["within_policy"]
    assert world.reasons(date(2020, 1, 1), table="tier.metrics_1day") == ["for_ever"]


def test_partition_that_holds_some_young_rows_stays_whole(world):
    """Lets back: a week or month dropped when its first day is old enough."""
    world.fleet.execute(
        "select ops.ensure_partitions('tier.metrics_5min', 'week', %s, %s)",
        (AS_OF - 93 * ONE_DAY, AS_OF - 90 * ONE_DAY),
    )
    (week,) = world.days("tier.metrics_5min")
    assert world.reasons(week, table="tier.metrics_5min") == ["within_policy"]
