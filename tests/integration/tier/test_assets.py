"""The four tiers on a real PostgreSQL, run by Dagster in this process."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from dagster import AssetKey, DagsterInstance

from resmon_assets import windows
from resmon_assets.frames import TIER_ROWS, schema_of
from resmon_assets.naming import TIER_1DAY, TIER_1HOUR, TIER_1MIN, TIER_5MIN
from resmon_assets.tier import refresh
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import record_window
from tests.integration.tier.fleet import HOUR, LATER, Fleet, instants_of

pytestmark = pytest.mark.integration

MINUTE, ONE_HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def one_server(fleet: Fleet) -> tuple[int, int]:
    """A server of a new organization: (server_id, organization_id)."""
    organization = fleet.organization("alpha")
    return fleet.server("web1", organization), organization


@pytest.mark.parametrize(
    ("key", "buckets", "per_bucket"),
    [(TIER_1MIN, 60, 2), (TIER_5MIN, 12, 10), (TIER_1HOUR, 1, 120)],
)
def test_closed_hour_has_every_bucket_and_a_second_run_changes_nothing(
    fleet: Fleet, key: AssetKey, buckets: int, per_bucket: int
) -> None:
    """A tier that rewrites equal rows wears out the disk; one that skips buckets hides gaps."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    run = fleet.refresh(key, HOUR)
    assert run.success
    names = ("rows_new", "rows_changed", "rows_deleted", "samples", "servers", "coverage_ratio")
    assert run.figures(*names, "complete") == (buckets, 0, 0, 120, 1, 1.0, True)
    assert run.figures("revision")[0] > 0
    rows = fleet.rows(key)
    assert [row[3:5] for row in rows] == [(per_bucket, per_bucket)] * buckets
    again = fleet.refresh(key, HOUR)
    assert again.figures(*names, "complete") == (0, 0, 0, 120, 1, 1.0, True)
    assert fleet.rows(key) == rows


def test_day_of_two_servers_comes_from_all_samples(fleet: Fleet) -> None:
    """A day made of hourly percentiles, or cut at a local midnight, has other numbers."""
    organization = fleet.organization("alpha")
    day = datetime(2026, 3, 29, tzinfo=UTC)
    for name in ("web1", "web2"):
        server = fleet.server(name, organization)
        fleet.sample(server, organization, day, day + DAY)
        fleet.sample(server, organization, day + DAY, day + DAY + timedelta(minutes=5))
    run = fleet.refresh(TIER_1DAY, day, now=day + 2 * DAY)
    assert run.success
    assert run.figures("rows_new", "samples", "coverage_ratio") == (2, 5760, 1.0)
    expected = fleet.execute(
        "select server_id, count(*), "
        "percentile_cont(0.99) within group (order by cpu_pct::float8)::real "
        "from raw.server_resource_metrics where collected_at >= %s and collected_at < %s "
        "group by 1 order by 1",
        (day, day + DAY),
    )
    assert fleet.rows(TIER_1DAY, "server_id, sample_count, cpu_pct_p99") == expected
    assert fleet.rows(TIER_1DAY, "bucket_start") == [(day,), (day,)]
    assert fleet.refresh(TIER_1DAY, day, now=day + 2 * DAY).figures("rows_written") == (0,)


def test_day_in_slices_equals_the_day_at_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server cut by a slice, or read in another snapshot, would lose samples."""
    organization = fleet.organization("alpha")
    for number in range(5):
        server = fleet.server(f"web{number}", organization)
        fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    tier = TIERS[2].table
    refresh_window(fleet.postgres, tier, start=HOUR, now=LATER)
    rows = fleet.rows(TIER_1HOUR)
    monkeypatch.setattr("resmon_assets.tier.refresh.MAXIMUM_SLICE_ROWS", 250)
    outcome = refresh_window(fleet.postgres, tier, start=HOUR, now=LATER)
    assert outcome.stored is not None
    assert (outcome.stored.new, outcome.stored.changed, outcome.stored.deleted) == (0, 0, 0)
    assert fleet.rows(TIER_1HOUR) == rows


def test_running_hour_gets_its_closed_buckets_only(fleet: Fleet) -> None:
    """A bucket that is still open would be published with half its samples."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + timedelta(minutes=11, seconds=40))
    run = fleet.refresh(TIER_1MIN, HOUR, now=HOUR + timedelta(minutes=11, seconds=40))
    assert run.success
    assert run.figures("rows_new", "samples", "complete") == (11, 22, False)
    assert run.figures("complete_until") == ((HOUR + timedelta(minutes=11)).isoformat(),)
    fleet.sample(server, organization, HOUR + timedelta(minutes=11, seconds=40), HOUR + ONE_HOUR)
    assert fleet.refresh(TIER_1MIN, HOUR).figures("rows_new", "rows_changed", "complete") == (
        49,
        0,
        True,
    )


def test_hour_in_which_no_bucket_is_over_is_left_alone(fleet: Fleet) -> None:
    """The run at minute 1 names the new hour too; it must not record it as computed."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + MINUTE)
    run = fleet.refresh(TIER_5MIN, HOUR, now=HOUR + timedelta(minutes=1))
    assert run.success
    assert run.figures("rows_written", "complete") == (0, False)
    assert fleet.execute("select count(*) from ops.window_state") == [(0,)]


def test_late_row_changes_its_bucket_only(fleet: Fleet) -> None:
    """Late data that is not taken in leaves the tier wrong for ever."""
    server, organization = one_server(fleet)
    instants = list(instants_of(server, HOUR, HOUR + ONE_HOUR))
    fleet.sample(server, organization, HOUR, instants[60])
    fleet.sample(server, organization, instants[61], HOUR + ONE_HOUR)
    fleet.refresh(TIER_1MIN, HOUR)
    late = fleet.rows(TIER_1MIN, "sample_count").count((1,))
    assert late == 1
    fleet.sample(server, organization, instants[60], instants[60] + timedelta(seconds=1))
    assert fleet.refresh(TIER_1MIN, HOUR).figures("rows_new", "rows_changed", "rows_deleted") == (
        0,
        1,
        0,
    )
    assert set(fleet.rows(TIER_1MIN, "sample_count")) == {(2,)}


def test_order_of_arrival_gives_identical_tables(fleet: Fleet) -> None:
    """Physical order in raw must not show in any bit of a tier."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    fleet.refresh(TIER_1HOUR, HOUR)
    fleet.execute(
        """create temporary table shuffled as select * from raw.server_resource_metrics;
        delete from raw.server_resource_metrics;
        insert into raw.server_resource_metrics
        select * from shuffled order by md5(collected_at::text);
        select ops.bump_raw_hour('2026-03-01T05:00:00Z', 3)"""
    )
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.figures("rows_new", "rows_changed", "rows_deleted") == (0, 0, 0)


def test_rows_that_the_computation_no_longer_gives_are_deleted(fleet: Fleet) -> None:
    """A server that was never active then would keep its empty rows."""
    server, organization = one_server(fleet)
    ghost = fleet.server("ghost", organization)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    fleet.refresh(TIER_5MIN, HOUR)
    fleet.execute(
        "update inventory.server_period set state = 'paused' where server_id = %s", (ghost,)
    )
    run = fleet.refresh(TIER_5MIN, HOUR)
    assert run.figures("rows_new", "rows_changed", "rows_deleted") == (0, 0, 12)
    assert set(fleet.rows(TIER_5MIN, "server_id")) == {(server,)}


def test_gap_is_a_row_with_null_statistics(fleet: Fleet) -> None:
    """SQL over the tier could not tell a gap from a server that did not exist."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR + timedelta(minutes=30), HOUR + ONE_HOUR)
    run = fleet.refresh(TIER_5MIN, HOUR)
    assert run.success
    assert run.figures("coverage_ratio") == (0.5,)
    columns = "sample_count, expected_count, cpu_pct_avg is null"
    assert fleet.rows(TIER_5MIN, columns) == [(0, 10, True)] * 6 + [(10, 10, False)] * 6


def test_server_that_moved_inside_a_bucket_has_two_rows(fleet: Fleet) -> None:
    """History would belong to the organization that owns the server today."""
    server, alpha = one_server(fleet)
    beta = fleet.organization("beta")
    moved = HOUR + timedelta(minutes=20)
    fleet.change(server, moved, organization_id=beta)
    fleet.sample(server, alpha, HOUR, moved)
    fleet.sample(server, beta, moved, HOUR + ONE_HOUR)
    assert fleet.refresh(TIER_1HOUR, HOUR).success
    columns = "organization_id, sample_count, expected_count"
    assert fleet.rows(TIER_1HOUR, columns) == [(alpha, 40, 40), (beta, 80, 80)]


def test_pause_inside_a_bucket_lowers_what_is_expected(fleet: Fleet) -> None:
    """A pause would raise an alarm about lost samples."""
    server, organization = one_server(fleet)
    pause, resume = HOUR + timedelta(minutes=10), HOUR + timedelta(minutes=40)
    fleet.change(server, pause, state="paused")
    fleet.change(server, resume, state="active")
    fleet.sample(server, organization, HOUR, pause)
    fleet.sample(server, organization, resume, HOUR + ONE_HOUR)
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.figures("samples", "samples_expected", "coverage_ratio") == (60, 60, 1.0)


def test_older_computation_does_not_replace_a_newer_one(fleet: Fleet) -> None:
    """A slow run that read raw before late rows came would undo the run that saw them."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    fleet.refresh(TIER_1HOUR, HOUR)
    fleet.execute("update ops.window_state set revision = revision + 1")
    fleet.execute("update tier.metrics_1hour set cpu_pct_avg = 1")
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.success
    assert run.figures("rows_written", "windows_kept_newer") == (0, 1)
    assert fleet.rows(TIER_1HOUR, "cpu_pct_avg") == [(1.0,)]
    assert run.check("keeps_every_sample").passed


def test_window_whose_raw_was_dropped_is_refused_and_kept(fleet: Fleet) -> None:
    """Recomputing an old hour after retention would empty it."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    fleet.refresh(TIER_1HOUR, HOUR)
    rows = fleet.rows(TIER_1HOUR)
    fleet.execute("drop table raw.server_resource_metrics_20260301")
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert not run.success
    assert "2026-03-01" in run.error
    assert "120 samples" in run.error
    assert "Restore the day" in run.error
    assert run.failures == 1
    assert fleet.rows(TIER_1HOUR) == rows


def test_window_with_fewer_samples_than_before_is_refused(fleet: Fleet) -> None:
    """A half-restored day would replace a whole one."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    fleet.refresh(TIER_1MIN, HOUR)
    fleet.execute(
        "delete from raw.server_resource_metrics where collected_at < %s",
        (HOUR + timedelta(minutes=7),),
    )
    run = fleet.refresh(TIER_1MIN, HOUR)
    assert not run.success
    assert "106 samples" in run.error


def test_window_that_was_never_computed_is_refused_when_its_raw_is_gone(fleet: Fleet) -> None:
    """A backfill over pruned days would state that no sample came, which is false."""
    server, _ = one_server(fleet)
    fleet.execute(
        "insert into raw.collection_coverage values (%s, %s, %s, 'ok', 500)",
        (server, HOUR - ONE_HOUR, HOUR + 2 * ONE_HOUR),
    )
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert not run.success
    assert "coverage says that samples were stored" in run.error
    assert fleet.rows(TIER_1HOUR) == []


def test_hour_without_any_sample_says_so(fleet: Fleet) -> None:
    """An outage of the collector must be visible, and is not a failure of the tier."""
    one_server(fleet)
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.success
    assert fleet.rows(TIER_1HOUR, "sample_count, expected_count") == [(0, 120)]
    assert not run.check("covers_fleet").passed


def test_range_of_hours_is_one_run(fleet: Fleet) -> None:
    """A backfill of 200 hours must not be 200 runs, and each hour must have its rows."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + 3 * ONE_HOUR)
    run = fleet.refresh(TIER_5MIN, HOUR, last=HOUR + 2 * ONE_HOUR)
    assert run.success
    assert run.figures("rows_new", "windows", "samples", "complete") == (36, 3, 360, True)
    assert len(fleet.execute("select * from ops.window_state")) == 3


def test_refused_hour_of_a_range_does_not_keep_the_others_from_it(fleet: Fleet) -> None:
    """One pruned hour would stop the backfill of all others."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + 3 * ONE_HOUR)
    fleet.execute(
        "delete from raw.server_resource_metrics where collected_at < %s", (HOUR + ONE_HOUR,)
    )
    with fleet.postgres.connect() as connection:
        record_window(
            connection,
            "tier.metrics_1hour",
            HOUR,
            revision=1,
            computed_at=LATER,
            complete_until=HOUR + ONE_HOUR,
            row_count=1,
            sample_count=120,
        )
    with DagsterInstance.ephemeral() as instance:
        run = fleet.refresh(TIER_1HOUR, HOUR, last=HOUR + 2 * ONE_HOUR, instance=instance)
        done = instance.get_materialized_partitions(TIER_1HOUR)
    assert not run.success
    assert "2026-03-01 05:00" in run.error
    assert done == {"2026-03-01-06:00", "2026-03-01-07:00"}
    assert fleet.rows(TIER_1HOUR, "sample_count") == [(120,), (120,)]


def test_reading_that_is_no_number_fails_without_retry(fleet: Fleet) -> None:
    """A run that can never succeed would be retried three times every five minutes."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR, cpu_pct=float("nan"))
    run = fleet.refresh(TIER_1MIN, HOUR)
    assert not run.success
    assert f"server {server} at 2026-03-01T05:00" in run.error
    assert not any(event.is_step_up_for_retry for event in run.result.all_events)


def test_database_that_fails_once_is_tried_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of PostgreSQL in the middle of a run would need a person."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    calls: list[int] = []

    def fails_once(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            text = "terminating connection due to administrator command"
            raise psycopg.OperationalError(text)
        return refresh_window(*arguments, **named)

    monkeypatch.setattr("resmon_assets.tier.assets.refresh_window", fails_once)
    monkeypatch.setattr("resmon_assets.reporting.FIRST_PAUSE_SECONDS", 0.01)
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert run.success
    assert any(event.is_step_up_for_retry for event in run.result.all_events)
    assert len(calls) == 2


def test_reader_that_is_cut_off_is_tried_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading connection speaks through another driver, whose errors are others."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    calls: list[int] = []
    whole = refresh.compute_window

    def is_cut_off_once(snapshot: Snapshot, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            fleet.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                "where datname = current_database() and state = 'idle in transaction' "
                "and pid <> %s",
                (snapshot.connection.info.backend_pid,),
            )
        return whole(snapshot, *arguments, **named)

    monkeypatch.setattr(refresh, "compute_window", is_cut_off_once)
    monkeypatch.setattr("resmon_assets.reporting.FIRST_PAUSE_SECONDS", 0.01)
    assert fleet.refresh(TIER_1HOUR, HOUR).success
    assert len(calls) == 2


def test_statement_that_postgres_refuses_fails_without_retry(fleet: Fleet) -> None:
    """An old schema would be tried three times in every run, and nobody told what to do."""
    server, organization = one_server(fleet)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    fleet.execute(
        "alter table tier.metrics_1hour drop column network_out_bytes_per_second_p99 cascade"
    )
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert not run.success
    assert "network_out_bytes_per_second_p99" in run.error
    assert not any(event.is_step_up_for_retry for event in run.result.all_events)


def test_row_that_another_wrote_meanwhile_fails_with_advice(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare driver error in the UI tells nobody what to do."""
    one_server(fleet)
    monkeypatch.setattr(
        windows, "read_stored", lambda *_, **__: pl.DataFrame(schema=schema_of(TIER_ROWS))
    )
    assert fleet.refresh(TIER_1HOUR, HOUR).success
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert not run.success
    assert "duplicate key" in run.error
    assert "resmon db migrate" in run.error


def test_unreachable_database_is_tried_again_and_then_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Retries without a limit would hold a slot of the pool for ever."""
    monkeypatch.setattr("resmon_assets.reporting.FIRST_PAUSE_SECONDS", 0.01)
    fleet = Fleet(PostgresResource(dsn="postgresql://nobody@127.0.0.1:1/none"))
    run = fleet.refresh(TIER_1HOUR, HOUR)
    assert not run.success
    assert sum(event.is_step_up_for_retry for event in run.result.all_events) == 3
    assert "Connecting to PostgreSQL" in str(run.result.all_events)
