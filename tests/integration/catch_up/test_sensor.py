"""The catch-up sensor and its runs: what becomes stale, who asks for it, what ends it."""

from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    SensorResult,
    SkipReason,
    build_sensor_context,
)

from resmon_assets import automation, catch_up
from resmon_assets.automation import CATCH_UP_TAG
from resmon_assets.catch_up import FIRST_PAUSE
from resmon_assets.definitions import build_defs
from resmon_assets.naming import TIER_1DAY, TIER_1HOUR, TIER_1MIN, TIER_5MIN, table_of
from resmon_assets.partitions import RANGE_END_TAG, RANGE_START_TAG
from resmon_resources import catch_up_ledger
from tests.integration.catch_up.healing import Healer
from tests.integration.tier.fleet import Fleet

pytestmark = pytest.mark.integration

ONE_HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
NEXT_NOON = MIDNIGHT + timedelta(hours=36)
TIERS = (TIER_1MIN, TIER_5MIN, TIER_1HOUR, TIER_1DAY)


def server_of(fleet: Fleet, since: datetime, until: datetime) -> tuple[int, int]:
    """A server of a new organization, active in [since, until): (server_id, organization_id)."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization, since=since)
    fleet.change(server, until, state="paused")
    return server, organization


def counts(fleet: Fleet, key: AssetKey) -> list[int]:
    return [row[0] for row in fleet.rows(key, "sample_count")]


def test_late_samples_of_a_closed_hour_reach_all_four_tiers(fleet: Fleet, healer: Healer):
    """Would let back: 1hour and 1day that were computed once and never learn of late data."""
    server, organization = server_of(fleet, MIDNIGHT + 4 * ONE_HOUR, MIDNIGHT + 6 * ONE_HOUR)
    fleet.sample(server, organization, MIDNIGHT + 5 * ONE_HOUR, MIDNIGHT + 6 * ONE_HOUR)
    healer.settle(NEXT_NOON)
    before = {key: sum(counts(fleet, key)) for key in TIERS}
    assert set(before.values()) == {120}
    late = NEXT_NOON + 2 * ONE_HOUR
    fleet.sample(server, organization, MIDNIGHT + 4 * ONE_HOUR, MIDNIGHT + 5 * ONE_HOUR)
    decision = healer.decide(late)
    for run in decision.runs:
        assert healer.run(run, late).success
    healer.settle(late)
    assert {key: sum(counts(fleet, key)) for key in TIERS} == dict.fromkeys(TIERS, 240)
    assert healer.stale(late) == {}


def test_a_second_tick_asks_for_nothing_that_is_under_way(fleet: Fleet, healer: Healer):
    """Would let back: each tick adds a run for the same hours until the first one ends."""
    server, organization = server_of(fleet, MIDNIGHT, MIDNIGHT + ONE_HOUR)
    fleet.sample(server, organization, MIDNIGHT, MIDNIGHT + ONE_HOUR)
    now = MIDNIGHT + 3 * ONE_HOUR
    fine, hourly = healer.decide(now).runs
    for run in (fine, hourly):
        request = automation.catch_up_request(run)
        tags = dict(request.tags)
        if request.partition_key is not None:
            tags["dagster/partition"] = request.partition_key
        healer.instance.create_run_for_job(
            build_defs().resolve_job_def(run.job_name),
            status=DagsterRunStatus.NOT_STARTED,
            tags=tags,
            asset_selection=frozenset(request.asset_selection or ()),
        )
    later = healer.decide(now + timedelta(hours=12))
    covered = {(w.table, fine.first) for w in (*fine.tables, *hourly.tables)}
    asked = {(a.asset, a.window_start) for run in later.runs for a in run.attempts}
    assert not covered & asked
    assert all(run.is_catch_up and run.is_waiting for run in automation.live_runs(healer.instance))


def test_the_sensor_requests_ranges_and_counts_them(
    fleet: Fleet, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    """Would let back: requests that Dagster refuses, or that nothing remembers."""
    # Early in a UTC day the days before are stale as well, and older.
    monkeypatch.setattr(catch_up, "MAXIMUM_IN_FLIGHT", 20)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    server, organization = server_of(fleet, hour - 6 * ONE_HOUR, hour - 4 * ONE_HOUR)
    fleet.sample(server, organization, hour - 6 * ONE_HOUR, hour - 4 * ONE_HOUR)
    with build_sensor_context(
        instance=instance,
        resources={"postgres": fleet.postgres},
        definitions=build_defs({"postgres": fleet.postgres}),
    ) as context:
        result = automation.catch_up_sensor(context)
        assert isinstance(result, SensorResult)
        fine = next(r for r in result.run_requests if r.job_name == "refresh_metrics_job")
        assert set(fine.asset_selection or ()) >= {TIER_1MIN, TIER_5MIN}
        assert fine.tags[CATCH_UP_TAG] == "stale"
        assert fine.tags[RANGE_START_TAG] == automation.hour_key(hour - 6 * ONE_HOUR)
        assert fine.tags[RANGE_END_TAG] >= automation.hour_key(hour - 5 * ONE_HOUR)
        assert fleet.execute("select max(attempts) from ops.catch_up") == [(1,)]
        again = automation.catch_up_sensor(context)
    asked = fine.tags[RANGE_START_TAG]
    others = [] if isinstance(again, SkipReason) else again.run_requests
    assert not [
        r for r in others if r.tags.get(RANGE_START_TAG) == asked and r.job_name == fine.job_name
    ]


def test_a_window_that_fails_is_paused_and_does_not_take_the_others_along(
    fleet: Fleet, healer: Healer
):
    """Would let back: one unusable sample that keeps a range of hours from being computed."""
    server, organization = server_of(fleet, MIDNIGHT, MIDNIGHT + 3 * ONE_HOUR)
    fleet.sample(server, organization, MIDNIGHT, MIDNIGHT + 3 * ONE_HOUR)
    fleet.execute(
        "update raw.server_resource_metrics set cpu_pct = 'NaN' where collected_at >= %s "
        "and collected_at < %s",
        (MIDNIGHT + ONE_HOUR, MIDNIGHT + ONE_HOUR + timedelta(minutes=1)),
    )
    now = MIDNIGHT + 5 * ONE_HOUR
    for step in range(4):
        healer.settle(now + step * 8 * FIRST_PAUSE)
    done = {
        row[0] for row in fleet.rows(TIER_1HOUR, "bucket_start") if row[0] < MIDNIGHT + 3 * ONE_HOUR
    }
    assert done == {MIDNIGHT, MIDNIGHT + 2 * ONE_HOUR}
    left = {w.start: w.attempts for w in healer.stale(now)[table_of(TIER_1HOUR)]}
    assert left.keys() == {MIDNIGHT + ONE_HOUR}
    assert left[MIDNIGHT + ONE_HOUR] >= catch_up_ledger.FAILING_ATTEMPTS
    with fleet.postgres.connect() as connection:
        kinds = {(t.asset, t.kind) for t in catch_up_ledger.troubles(connection)}
    assert (table_of(TIER_1HOUR), "failing") in kinds
    fleet.execute("update raw.server_resource_metrics set cpu_pct = 50 where cpu_pct = 'NaN'")
    fleet.execute("select ops.bump_raw_hour(%s, 0)", (MIDNIGHT + ONE_HOUR,))
    healer.settle(now + DAY)
    assert sum(counts(fleet, TIER_1HOUR)) == 360


def test_gone_raw_is_refused_once_and_told_until_it_is_restored(fleet: Fleet, healer: Healer):
    """Would let back: a run a minute for a day that was dropped, or nobody told of it."""
    server, organization = server_of(fleet, MIDNIGHT, MIDNIGHT + ONE_HOUR)
    fleet.sample(server, organization, MIDNIGHT, MIDNIGHT + ONE_HOUR)
    now = MIDNIGHT + 3 * ONE_HOUR
    healer.settle(now)
    rows = fleet.rows(TIER_1MIN)
    fleet.execute("create table kept as table raw.server_resource_metrics")
    fleet.execute("delete from raw.server_resource_metrics")
    fleet.execute("select ops.bump_raw_hour(%s, 0)", (MIDNIGHT,))
    later = now + ONE_HOUR
    healer.settle(later)
    assert fleet.rows(TIER_1MIN) == rows
    (window,) = [w for w in healer.stale(later)[table_of(TIER_1MIN)] if w.start == MIDNIGHT]
    assert window.is_refused
    attempts = fleet.execute("select sum(attempts) from ops.catch_up where refused_at is not null")
    healer.settle(later + 3 * DAY)
    assert (
        fleet.execute("select sum(attempts) from ops.catch_up where refused_at is not null")
        == attempts
    )
    with fleet.postgres.connect() as connection:
        told = {t.asset: t for t in catch_up_ledger.troubles(connection)}
    assert told[table_of(TIER_1MIN)].kind == "refused"
    assert "2026-03-02" in (told[table_of(TIER_1MIN)].detail or "")
    fleet.execute("insert into raw.server_resource_metrics select * from kept")
    fleet.execute("select ops.bump_raw_hour(%s, 0)", (MIDNIGHT,))
    healer.settle(later + ONE_HOUR)
    with fleet.postgres.connect() as connection:
        assert catch_up_ledger.troubles(connection) == []


def test_windows_beyond_their_retention_are_not_watched(fleet: Fleet, healer: Healer):
    """Would let back: rows computed every minute that retention drops every night."""
    server, organization = server_of(fleet, MIDNIGHT, MIDNIGHT + 100 * DAY)
    fleet.sample(server, organization, MIDNIGHT, MIDNIGHT + ONE_HOUR)
    assert table_of(TIER_1MIN) in healer.stale(MIDNIGHT + 20 * DAY)
    starts = [w.start for w in healer.stale(MIDNIGHT + 40 * DAY)[table_of(TIER_1MIN)]]
    assert min(starts) == MIDNIGHT + 10 * DAY
