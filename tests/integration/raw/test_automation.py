"""The timetable against a real PostgreSQL and Dagster instance: what is requested, and when."""

from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    SensorResult,
    SkipReason,
    build_schedule_context,
    build_sensor_context,
)

from resmon_assets.automation import (
    SHARD_TAG,
    archive_schedule,
    collect_raw_job,
    collect_raw_sensor,
    metrics_1day_schedule,
    metrics_1hour_schedule,
    refresh_metrics_schedule,
    runs_of_collectors,
)
from resmon_assets.definitions import build_defs
from resmon_assets.naming import RAW_SAMPLES
from resmon_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, hour_key
from resmon_assets.raw import supervision
from resmon_assets.raw.difference import status_of
from resmon_resources import collector_registry as registry
from resmon_resources.inventory import add_organization, add_server
from resmon_resources.sample_store import Sample, commit_batch, ensure_raw_partitions
from tests.clock import running_hour

pytestmark = pytest.mark.integration


@pytest.fixture
def instance():
    with DagsterInstance.ephemeral() as instance:
        yield instance


def tick(postgres, instance):
    """One evaluation of the sensor; its result."""
    with build_sensor_context(instance=instance, resources={"postgres": postgres}) as context:
        return collect_raw_sensor(context)


def make_run(instance, hour, *, status=DagsterRunStatus.STARTED, shard="0", tags=None):
    definitions = build_defs()
    job = definitions.resolve_job_def(collect_raw_job.name)
    return instance.create_run_for_job(
        job,
        status=status,
        tags={"dagster/partition": hour_key(hour)}
        | ({SHARD_TAG: shard} if shard is not None else {})
        | (tags or {}),
        asset_selection=frozenset([RAW_SAMPLES]),
    )


def test_an_empty_registry_leads_to_a_request(postgres, instance):
    """Would let back: collection that never begins by itself."""
    hour = running_hour()
    result = tick(postgres, instance)
    assert isinstance(result, SensorResult)
    request = result.run_requests[0]
    assert request.partition_key == hour_key(hour)
    assert request.run_key is None, "a run key forbids the restart of the same hour"
    assert request.tags[SHARD_TAG] == "0"
    assert request.run_config == {"ops": {"raw__server_resource_metrics": {"config": {"shard": 0}}}}


def test_shards_follow_the_setting(postgres, instance, monkeypatch):
    """Would let back: a shard that nobody collects."""
    monkeypatch.setenv("RESMON_COLLECT_SHARDS", "3")
    result = tick(postgres, instance)
    shards = {request.tags[SHARD_TAG] for request in result.run_requests}
    assert shards == {"0", "1", "2"}


def test_a_live_collector_is_renewed_and_not_doubled(postgres, instance):
    """Would let back: a second run at each tick, or a lease that runs out."""
    hours = [running_hour(), running_hour() + timedelta(hours=1)]
    now = datetime.now(UTC)
    long_ago = now - timedelta(minutes=9)
    with postgres.connect(autocommit=True) as connection:
        for hour in hours:
            run = make_run(instance, hour)
            registry.claim(
                connection, shard=0, hour=hour, run_id=run.run_id, host="box", pid=1, now=long_ago
            )
            registry.heartbeat(connection, shard=0, hour=hour, now=now)
        assert isinstance(tick(postgres, instance), SkipReason)
        orders = registry.heartbeat(connection, shard=0, hour=hours[0], now=now)
    assert orders.lease_renewed_at >= now
    assert not orders.is_stop_requested


def test_a_hung_collector_is_stopped_then_fenced(postgres, instance):
    """Would let back: a collector that hangs and holds its hour."""
    hour = running_hour()
    silent_since = datetime.now(UTC) - timedelta(minutes=5)
    with (
        postgres.connect(autocommit=True) as watcher,
        postgres.connect(autocommit=True) as hung,
    ):
        run = make_run(instance, hour)
        registry.claim(
            hung, shard=0, hour=hour, run_id=run.run_id, host="box", pid=1, now=silent_since
        )
        tick(postgres, instance)
        (row,) = registry.collectors_of(watcher, hours=[hour])
        assert row.is_stop_requested
        watcher.execute(
            "update ops.collector set stop_requested_at = stop_requested_at - interval '2 min'"
        )
        tick(postgres, instance)
        (row,) = registry.collectors_of(watcher, hours=[hour])
        assert not row.is_locked, "the session of the hung collector was ended"


def requested_hours(result):
    """Partitions that a tick of the sensor requested; the coming one too before the turn."""
    if isinstance(result, SkipReason):
        return set()
    return {request.partition_key for request in result.run_requests}


def test_a_run_that_has_just_started_is_waited_for(postgres, instance):
    """Would let back: a second collector requested while the first is about to take its lock."""
    hour = running_hour()
    run = make_run(instance, hour)
    (fact,) = runs_of_collectors(instance)
    assert (fact.run_id, fact.shard, fact.hour, fact.phase) == (run.run_id, 0, hour, "started")
    assert hour_key(hour) not in requested_hours(tick(postgres, instance))


def test_a_ghost_run_is_reported_as_failed_and_replaced(postgres, instance, monkeypatch):
    """Would let back: STARTED for ever after the machine that ran the collector died."""
    monkeypatch.setattr(supervision, "LOCK_GRACE", timedelta(seconds=-60))
    hour = running_hour()
    run = make_run(instance, hour)
    assert hour_key(hour) in requested_hours(tick(postgres, instance))
    ghost = instance.get_run_by_id(run.run_id)
    assert ghost is not None
    assert ghost.status == DagsterRunStatus.FAILURE


def test_runs_of_other_assets_are_not_collectors(instance):
    """Would let back: a backfill of a tier taken for the collector of that hour."""
    definitions = build_defs()
    job = definitions.resolve_job_def("metrics_1hour_job")
    instance.create_run_for_job(
        job,
        status=DagsterRunStatus.STARTED,
        tags={"dagster/partition": hour_key(running_hour())},
    )
    assert runs_of_collectors(instance) == []


# Schedules

AT = datetime(2026, 3, 1, 10, 1, tzinfo=UTC)


def refresh(postgres, at=AT):
    with build_schedule_context(
        scheduled_execution_time=at, resources={"postgres": postgres}
    ) as context:
        return refresh_metrics_schedule(context)


def add_samples(postgres, *hours):
    with postgres.connect() as connection:
        now = min(hours)
        add_organization(connection, "default", now=now)
        server = add_server(connection, "web-1", host="10.0.0.1", organization="default", now=now)
        for hour in hours:
            ensure_raw_partitions(connection, start=hour, end=hour + timedelta(hours=1))
            commit_batch(
                connection,
                samples=[Sample(server.server_id, server.organization_id, hour)],
                failures=[],
                stretches=[],
                status_of=status_of,
                shard=0,
            )


def test_nothing_stale_means_no_run(postgres):
    """Would let back: 288 empty runs a day on an idle fleet."""
    assert isinstance(refresh(postgres), SkipReason)


def test_at_the_turn_both_hours_go_in_one_run(postgres):
    """Would let back: the last minutes of an hour that are never refreshed."""
    add_samples(postgres, AT - timedelta(hours=1, minutes=1), AT.replace(minute=0))
    request = refresh(postgres)
    assert request.partition_key == "2026-03-01-09:00", "no bucket of the new hour has closed yet"
    request = refresh(postgres, at=AT + timedelta(minutes=5))
    assert isinstance(request, RunRequest)
    assert request.tags[RANGE_START_TAG] == "2026-03-01-09:00"
    assert request.tags[RANGE_END_TAG] == "2026-03-01-10:00"


def test_older_hours_are_left_to_the_catch_up(postgres):
    """Would let back: a backlog of days in the run that keeps the newest hour fresh."""
    hour = AT.replace(minute=0)
    add_samples(postgres, hour - timedelta(hours=2), hour - timedelta(hours=1), hour)
    request = refresh(postgres, at=AT + timedelta(minutes=5))
    assert request.tags[RANGE_START_TAG] == "2026-03-01-09:00"
    assert request.tags[RANGE_END_TAG] == "2026-03-01-10:00"


@pytest.mark.parametrize(
    ("schedule", "at", "partition"),
    [
        (metrics_1hour_schedule, datetime(2026, 3, 1, 0, 2, tzinfo=UTC), "2026-02-28-23:00"),
        (metrics_1day_schedule, datetime(2026, 3, 1, 0, 10, tzinfo=UTC), "2026-02-28"),
        (archive_schedule, datetime(2026, 3, 1, 0, 20, tzinfo=UTC), "2026-02-28"),
    ],
)
def test_the_last_closed_window_is_taken(schedule, at, partition):
    """Would let back: the wrong hour at midnight, as partitioned-schedule helpers pick it."""
    with build_schedule_context(scheduled_execution_time=at) as context:
        assert schedule(context).partition_key == partition
