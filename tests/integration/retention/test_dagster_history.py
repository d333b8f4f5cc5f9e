"""Dagster's own history in a real PostgreSQL: what pruning deletes, and what it may not lose."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    DailyPartitionsDefinition,
    Definitions,
    HourlyPartitionsDefinition,
    MaterializeResult,
    MetadataValue,
    RunRequest,
    SkipReason,
    asset,
    build_schedule_context,
    define_asset_job,
    materialize,
)

from resmon_assets.automation import dagster_history_schedule
from resmon_assets.naming import DAGSTER_HISTORY
from resmon_assets.retention import history as engine
from resmon_assets.retention.history_asset import retention_dagster_history
from resmon_resources.clock import ClockResource

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, tzinfo=UTC)
HOURLY = AssetKey(["tier", "hours"])
DAILY = AssetKey(["tier", "days"])
PICTURE = "![](data:image/png;base64," + "A" * 6000 + ")"


@asset(
    key=HOURLY,
    partitions_def=HourlyPartitionsDefinition(start_date=START, timezone="UTC"),
    check_specs=[AssetCheckSpec("is_good", asset=HOURLY)],
)
def hours(context):
    """Rows are the hour of the day; says so in metadata that plots, and shows a picture."""
    hour = int(context.partition_key[11:13])
    return MaterializeResult(
        metadata={"rows": hour, "picture": MetadataValue.md(PICTURE)},
        check_results=[AssetCheckResult(passed=True)],
    )


@asset(key=DAILY, partitions_def=DailyPartitionsDefinition(start_date=START, timezone="UTC"))
def days(context):
    """Rows are the day of the month."""
    return MaterializeResult(metadata={"rows": int(context.partition_key[8:10])})


def hour(number):
    return f"2026-03-01-{number:02}:00"


def run(instance, definition, partition):
    """Materialize one partition in a run of its own; the run's id."""
    return materialize([definition], instance=instance, partition_key=partition).run_id


def later(days=20):
    """A clock that shows a day on which everything done now is old."""
    return ClockResource(fixed_at=(datetime.now(UTC) + timedelta(days=days)).isoformat())


def prune(instance, *, clock=None, **config):
    """Materialize the asset of Dagster's history; the metadata of what it reported."""
    result = materialize(
        [retention_dagster_history],
        instance=instance,
        resources={"clock": clock or later()},
        run_config={"ops": {"retention__dagster_history": {"config": {"dry_run": False} | config}}},
    )
    [event] = result.asset_materializations_for_node("retention__dagster_history")
    return {name: value.value for name, value in event.metadata.items()}


def latest(instance, key, partition=None):
    """Metadata of the newest materialization of a partition, or of an asset."""
    record = engine.latest_record(instance, DagsterEventType.ASSET_MATERIALIZATION, key, partition)
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def query(text, parameters=None):
    """Rows of one statement in Dagster's database."""
    with psycopg.connect(os.environ["RESMON_DAGSTER_URL"]) as connection:
        cursor = connection.execute(text, parameters)
        return cursor.fetchall() if cursor.description else []


def runless_events():
    return query("select count(*) from event_logs where run_id = ''")[0][0]


def test_no_partition_goes_missing_and_its_metadata_stays(history):
    """Would let back: a past that turns "missing" after two weeks, so that a backfill of what is
    missing computes all of it again."""
    first = run(history, hours, hour(3))
    run(history, hours, hour(3))
    run(history, hours, hour(7))
    run(history, days, "2026-03-05")
    before = history.get_latest_materialization_event(HOURLY).asset_materialization

    done = prune(history)

    assert done["runs_deleted"] == 4
    assert done["complete"] is True
    assert history.get_run_by_id(first) is None
    assert query("select count(*) from event_logs where run_id = %s", [first]) == [(0,)]
    keys = [hour(number) for number in range(24)]
    status = history.get_status_by_partition(HOURLY, keys, hours.partitions_def)
    found = {key for key in keys if status[key] is not None}
    assert found == {hour(3), hour(7)}
    assert history.event_log_storage.get_materialized_partitions(HOURLY) == {hour(3), hour(7)}
    assert history.event_log_storage.get_materialized_partitions(DAILY) == {"2026-03-05"}
    assert latest(history, HOURLY, hour(3))["rows"] == 3
    assert latest(history, HOURLY, hour(7))["rows"] == 7
    assert latest(history, DAILY, "2026-03-05")["rows"] == 5
    after = history.get_latest_materialization_event(HOURLY).asset_materialization
    assert after.partition == before.partition == hour(7)
    # Its picture is too large to be kept for a year with each hour.
    assert "picture" not in after.metadata
    assert done["partitions_vouched"] == 3, "the first run of hour 3 vouched for nothing"


def test_a_repeated_event_says_when_and_by_whom(history):
    """Would let back: an hour that seems to have been computed two weeks after it was."""
    run_id = run(history, hours, hour(3))
    record = engine.latest_record(history, DagsterEventType.ASSET_MATERIALIZATION, HOURLY, hour(3))

    prune(history)

    metadata = latest(history, HOURLY, hour(3))
    assert metadata["materialized_by_run"] == run_id
    assert metadata["materialized_at"] == pytest.approx(record.timestamp)
    tags = history.get_latest_materialization_event(HOURLY).asset_materialization.tags
    kept = record.asset_materialization.tags["dagster/data_version"]
    assert tags == {"dagster/data_version": kept}


def test_pruning_again_repeats_nothing(history):
    """Would let back: repeated events that are repeated themselves, and pile up."""
    run(history, hours, hour(3))
    prune(history)
    events = runless_events()

    done = prune(history, clock=later(40))

    assert done["partitions_vouched"] == 1, "that of the first pruning itself"
    assert done["newest_repeated"] == 0
    assert runless_events() == events + 1
    prune(history, clock=later(60))
    assert runless_events() == events + 1, "one of each asset and partition, whatever the passes"
    assert latest(history, HOURLY, hour(3))["rows"] == 3


def test_a_pass_that_ended_between_repeating_and_deleting_is_gone_on_with(history):
    """Would let back: a crash in the middle that doubles events, or loses a partition."""
    run_id = run(history, hours, hour(3))
    assert engine.vouch(history, run_id, {}) == 1

    done = prune(history)

    assert done["runs_deleted"] == 1
    assert done["partitions_vouched"] == 0
    assert latest(history, HOURLY, hour(3))["rows"] == 3


def test_the_newest_materialization_of_an_asset_stays_the_newest(history):
    """Would let back: an asset's page that shows, after each pruning, a partition of two weeks
    ago."""
    run(history, hours, hour(3))
    run(history, hours, hour(4))
    cutoff = datetime.now(UTC)
    run(history, hours, hour(9))

    pruned = engine.prune_runs(history, cutoff=cutoff, most=10, is_over=lambda: False)

    assert (pruned.runs, pruned.vouched, pruned.repeated_newest) == (2, 2, 1)
    newest = history.get_latest_materialization_event(HOURLY).asset_materialization
    assert newest.partition == hour(9)
    assert newest.metadata["picture"].value == PICTURE
    assert set(latest(history, HOURLY, hour(9))) == {
        *("rows", "picture", "materialized_at", "materialized_by_run")
    }


def test_runs_that_have_not_ended_stay_and_do_not_stop_the_others(history):
    """Would let back: a live collector whose run is deleted under it."""
    live = {
        history.create_run_for_job(hours_job(), status=status).run_id
        for status in (
            *(DagsterRunStatus.STARTED, DagsterRunStatus.NOT_STARTED),
            *(DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING),
        )
    }
    queued = history.create_run_for_job(hours_job()).run_id
    # Dagster makes a queued run only of a job in a workspace.
    query("update runs set status = 'QUEUED' where run_id = %s", [queued])
    run(history, hours, hour(2))

    done = prune(history)

    assert done["runs_deleted"] == 1
    left = {run_id for (run_id,) in query("select run_id from runs")}
    assert left >= live | {queued}


def hours_job():
    """A job to make runs of that never start."""
    definitions = Definitions(assets=[hours], jobs=[define_asset_job("hours_job", [hours])])
    return definitions.resolve_job_def("hours_job")


class WithBackfill(SimpleNamespace):
    """An instance that knows the state of one backfill; everything else is the real one's."""

    real: DagsterInstance
    status: str

    def get_backfill(self, backfill_id):
        assert backfill_id == "abc"
        return SimpleNamespace(status=SimpleNamespace(value=self.status))

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.mark.parametrize(("status", "deleted"), [("REQUESTED", 1), ("COMPLETED_SUCCESS", 2)])
def test_runs_of_a_backfill_in_progress_stay(history, status, deleted):
    """Would let back: a backfill that forgets which of its partitions are done."""
    materialize([hours], instance=history, partition_key=hour(1), tags={"dagster/backfill": "abc"})
    run(history, hours, hour(2))
    instance: Any = WithBackfill(real=history, status=status)

    pruned = engine.prune_runs(
        instance, cutoff=datetime.now(UTC) + timedelta(days=1), most=10, is_over=lambda: False
    )

    assert pruned.runs == deleted
    assert pruned.runs_in_backfills == 2 - deleted


def test_a_pass_is_bounded_and_the_next_goes_on_oldest_first(history):
    """Would let back: a first pruning after a year that holds the pool for hours."""
    runs = [run(history, hours, hour(number)) for number in range(3)]

    done = prune(history, max_runs=2)
    left = {record.run_id for record in history.get_runs()}

    assert (done["runs_deleted"], done["complete"]) == (2, False)
    assert not left & set(runs[:2])
    assert runs[2] in left
    assert prune(history, max_seconds=0.000001)["runs_deleted"] == 0
    assert prune(history)["complete"] is True
    assert runs[2] not in {record.run_id for record in history.get_runs()}
    assert {*history.event_log_storage.get_materialized_partitions(HOURLY)} == {
        hour(number) for number in range(3)
    }


def test_pages_go_on_behind_runs_that_stay(history, monkeypatch):
    """Would let back: a backfill in progress at the head of the list that keeps all from going."""
    monkeypatch.setattr(engine, "RUN_PAGE", 1)
    materialize([hours], instance=history, partition_key=hour(1), tags={"dagster/backfill": "abc"})
    run(history, hours, hour(2))
    run(history, hours, hour(3))
    instance: Any = WithBackfill(real=history, status="REQUESTED")

    pruned = engine.prune_runs(
        instance, cutoff=datetime.now(UTC) + timedelta(days=1), most=10, is_over=lambda: False
    )

    assert (pruned.runs, pruned.runs_in_backfills) == (2, 1)


def test_what_no_function_of_dagster_deletes_is_swept(history):
    """Would let back: tables beside the event log that only grow."""
    orphan = run(history, hours, hour(1))
    run(history, hours, hour(2))
    run(history, hours, hour(2))
    query("delete from runs where run_id = %s", [orphan])
    # Each run planned its check and evaluated it.
    assert query("select count(*) from asset_check_executions") == [(6,)]
    for rows in (1, 2):
        history.report_runless_asset_event(
            engine.AssetMaterialization(HOURLY, partition=hour(5), metadata={"rows": rows})
        )

    done = prune(history)

    # Of hour 5: the first one, and the second one, which was repeated as the newest of its asset.
    assert done["superseded_events_deleted"] == 2
    assert done["check_evaluations_deleted"] == 5
    assert query("select execution_status from asset_check_executions") == [("SUCCEEDED",)]
    assert done["orphaned_events_deleted"] > 10
    assert query("select count(*) from event_logs where run_id = %s", [orphan]) == [(0,)]
    assert latest(history, HOURLY, hour(5))["rows"] == 2
    live = "select count(*) from asset_event_tags where event_id not in (select id from event_logs)"
    assert query(live) == [(0,)]


def test_repeated_hours_go_after_a_year_and_days_never(history):
    """Would let back: an event log that grows for ever by what was kept of it."""
    run(history, hours, hour(3))
    run(history, days, "2026-03-05")
    prune(history)

    prune(history, clock=later(500))

    assert history.event_log_storage.get_materialized_partitions(HOURLY) == set()
    assert history.event_log_storage.get_materialized_partitions(DAILY) == {"2026-03-05"}


def test_nothing_young_is_touched(history):
    """Would let back: an age that is compared in another zone or unit."""
    run_id = run(history, hours, hour(3))
    history.report_runless_asset_event(engine.AssetMaterialization(HOURLY, partition=hour(3)))
    history.report_runless_asset_event(engine.AssetMaterialization(HOURLY, partition=hour(3)))
    events = query("select count(*) from event_logs")

    done = prune(history, clock=later(days=13))

    assert done["runs_deleted"] == 0
    assert sum(done[name] for name in done if name.endswith("_deleted")) == 0
    assert history.get_run_by_id(run_id) is not None
    assert query("select count(*) from event_logs")[0][0] > events[0][0]


def test_logs_on_disk_go_with_their_run_and_those_without_one_too(history):
    """Would let back: a folder of logs per run that nothing ever removes."""
    logs = Path(os.environ["RESMON_LOG_DIR"])
    run_id = run(history, hours, hour(3))
    assert (logs / run_id).is_dir()
    orphan = logs / "11111111-2222-4333-8444-555555555555"
    orphan.mkdir()
    foreign = logs / "notes"
    foreign.mkdir()

    done = prune(history)

    assert not (logs / run_id).exists()
    assert not orphan.exists()
    assert foreign.is_dir()
    assert done["log_folders_deleted"] == 1


def test_a_dry_run_counts_and_deletes_nothing(history):
    """Would let back: a click in the UI that deletes what somebody only wanted to look at."""
    run_id = run(history, hours, hour(3))

    result = materialize(
        [retention_dagster_history], instance=history, resources={"clock": later()}
    )

    assert result.success
    assert not result.asset_materializations_for_node("retention__dagster_history")
    assert history.get_run_by_id(run_id) is not None
    [record] = history.fetch_observations(AssetRecordsFilter(DAGSTER_HISTORY), limit=1).records
    metadata = record.asset_observation.metadata
    assert metadata["runs_to_delete"].value == 1
    assert metadata["event_logs_bytes"].value > 0


def test_the_schedule_runs_after_midnight_and_again_only_while_something_is_left(history):
    """Would let back: a run every hour that finds nothing, or a backlog that waits for the next
    day."""

    def asked(instant):
        context = build_schedule_context(instance=history, scheduled_execution_time=instant)
        return dagster_history_schedule(context)

    today = datetime.now(UTC).replace(hour=0, minute=3)
    request = asked(today)
    assert isinstance(request, RunRequest)
    assert request.run_config["ops"]["retention__dagster_history"]["config"] == {"dry_run": False}
    assert isinstance(asked(today.replace(hour=5)), SkipReason)
    run(history, hours, hour(3))
    assert isinstance(asked(today.replace(hour=5)), SkipReason)
    assert isinstance(asked(today.replace(hour=5) + timedelta(days=16)), RunRequest)
