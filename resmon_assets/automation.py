"""The timetable: jobs, schedules and sensors, all on by default.

Belongs here: when things run and what is requested. What they do is in the stages. Decisions are
pure functions (raw/supervision.py, catch_up.py); this module gathers facts and carries
decisions out.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
from dagster import (
    AssetKey,
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    in_process_executor,
    schedule,
    sensor,
)

from resmon_assets.alert.assets import alert_checks
from resmon_assets.alert.looking import Look, is_due, supervise_platform
from resmon_assets.alert.supervision import Memory, remembered, take_run
from resmon_assets.anomaly.assets import REPORTS_ASSET
from resmon_assets.anomaly.checks import anomaly_reports_checks
from resmon_assets.anomaly.days_window import DEGRADATION, TRENDS
from resmon_assets.catch_up import (
    SCHEDULED_HOURS,
    CatchUp,
    LiveRun,
    Watched,
    decide,
    told_of,
)
from resmon_assets.forecast.headroom_window import HEADROOM_DAY
from resmon_assets.forecast.refresh import FORECAST_DAY
from resmon_assets.forecast.scoring import SCORE_DAY
from resmon_assets.freshness import freshness_checks, freshness_key
from resmon_assets.naming import (
    ALERTS,
    ANOMALY_REPORTS,
    ARCHIVE_RAW,
    CAPACITY_FORECASTS,
    DAGSTER_HISTORY,
    DEGRADATION_REPORTS,
    FORECAST_SCORES,
    HEADROOM,
    PRUNED,
    RAW_SAMPLES,
    RESOURCE_USAGE,
    ROLLUP_1DAY,
    ROLLUP_1HOUR,
    ROLLUP_5MIN,
    TIER_1DAY,
    TIER_1HOUR,
    TIER_1MIN,
    TIER_5MIN,
    TIER_FILESYSTEM_1DAY,
    UTILIZATION_TRENDS,
    table_of,
)
from resmon_assets.partitions import (
    DAY_FORMAT,
    FIRST_DAY,
    HOUR_FORMAT,
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    hour_key,
    window_of_tags,
)
from resmon_assets.raw.checks import raw_checks
from resmon_assets.raw.supervision import HOUR, Action, RunFact, supervise, wanted_hours
from resmon_assets.retention.history import day_before, old_runs
from resmon_assets.retention.history_asset import KEEP_DAYS
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.rollup.usage_assets import USAGE_ASSET, USAGE_CHECKS
from resmon_assets.rollup.usage_window import REFRESHED_EVERY
from resmon_assets.tier.filesystem import FILE_SYSTEM_DAY
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_runs import WindowAsset
from resmon_resources import catch_up_ledger, collector_registry, window_ledger
from resmon_resources.postgres import PostgresResource
from resmon_resources.retention_policy import Policy, read_policy
from resmon_resources.settings import load_settings
from resmon_resources.window_ledger import StaleWindow

SHARD_TAG = "resmon/shard"

SUPERVISE_EVERY_SECONDS = 15
"""A dead collector is noticed within this time; a tick costs about 0.07 CPU-s (measured at 30
s)."""

CATCH_UP_EVERY_SECONDS = 60

ALERTS_EVERY_SECONDS = 15
"""Half of the time that an alert waits before its run begins; see docs/benchmarks.md."""

NOT_ALERTED_JOBS = frozenset({"collect_raw_job", "collect_now_job"})
"""Failures that others tell of: collectors are watched by their samples, `resmon collect` by
whoever called it."""

CATCH_UP_TAG = "resmon/catch_up"
"""On runs of the catch-up sensor; dagster.yaml lets one of them run at a time."""

LIVE_STATUSES = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def watched_assets(*keys: AssetKey) -> AssetSelection:
    """Watched tables with the checks of what a run writes; how fresh they are is judged hourly.

    To select an asset is to select all of its checks: each of 288 runs a day would record them.
    """
    return AssetSelection.assets(*keys) - AssetSelection.checks(*map(freshness_key, keys))


collect_raw_job = define_asset_job(
    "collect_raw_job",
    selection=AssetSelection.assets(RAW_SAMPLES).without_checks(),
    description="One collector for one UTC hour and shard; collect_raw_sensor supervises it.",
    executor_def=in_process_executor,
    tags={
        "dagster/priority": "100",
        "dagster/max_retries": "0",
        # The hour, the request 180 s ahead, 3 minutes of overtime, and a margin: ghosts end by
        # then.
        "dagster/max_runtime": str(3600 + 180 + 180 + 120),
    },
)

refresh_metrics_job = define_asset_job(
    "refresh_metrics_job",
    # What is judged of stored rows is judged once an hour, to keep the event log small.
    selection=watched_assets(TIER_1MIN, TIER_5MIN, ROLLUP_5MIN, RESOURCE_USAGE, ANOMALY_REPORTS)
    - AssetSelection.checks(USAGE_CHECKS, anomaly_reports_checks),
    description="The fine tiers, rollup and anomalies of every hour whose samples changed.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "10"},
)

resource_usage_job = define_asset_job(
    "resource_usage_job",
    selection=watched_assets(RESOURCE_USAGE),
    description="Usage and quotas alone, of hours whose rollups or limits changed afterwards.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "5"},
)

anomaly_reports_job = define_asset_job(
    "anomaly_reports_job",
    selection=watched_assets(ANOMALY_REPORTS),
    description="Anomaly reports alone, of hours that were not judged in time or are asked for.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "5"},
)

metrics_1hour_job = define_asset_job(
    "metrics_1hour_job",
    selection=watched_assets(TIER_1HOUR, ROLLUP_1HOUR)
    | AssetSelection.checks(USAGE_CHECKS, anomaly_reports_checks),
    description="The hourly tier and rollup of closed hours.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "5"},
)

metrics_1day_job = define_asset_job(
    "metrics_1day_job",
    selection=watched_assets(TIER_1DAY, TIER_FILESYSTEM_1DAY, ROLLUP_1DAY),
    description="The daily tiers and rollup of closed UTC days.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "5"},
)

forecasts_job = define_asset_job(
    "forecasts_job",
    selection=watched_assets(CAPACITY_FORECASTS, FORECAST_SCORES, HEADROOM),
    description="What the closed UTC day lets expect, and how right its own forecasts were.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "2"},
)

daily_trends_job = define_asset_job(
    "daily_trends_job",
    selection=watched_assets(UTILIZATION_TRENDS, DEGRADATION_REPORTS),
    description="Trends of utilization and slow degradation at the end of closed UTC days.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "4"},
)

archive_job = define_asset_job(
    "archive_job",
    selection=AssetSelection.assets(ARCHIVE_RAW),
    description="Closed UTC days of raw samples as Parquet, verified.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "5"},
)

dagster_history_job = define_asset_job(
    "dagster_history_job",
    selection=AssetSelection.assets(DAGSTER_HISTORY),
    description="Dagster's own runs, events and logs of more than two weeks ago.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "1"},
)

alerts_job = define_asset_job(
    "alerts_job",
    # Its checks are judged hourly, whether it runs or not.
    selection=AssetSelection.assets(ALERTS).without_checks(),
    description="Decides who is told of which alerts, and sends; alerts_sensor asks for it.",
    executor_def=in_process_executor,
    # Before all but collectors; a run whose process died keeps the next ones back no longer.
    tags={"dagster/priority": "50", "dagster/max_runtime": "240"},
)

retention_job = define_asset_job(
    "retention_job",
    selection=AssetSelection.assets(PRUNED),
    description="Drops what is older than the policy and covered; a dry run unless told otherwise.",
    executor_def=in_process_executor,
)


@sensor(
    name="collect_raw_sensor",
    job=collect_raw_job,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=SUPERVISE_EVERY_SECONDS,
    description="Keeps exactly one live collector per shard and hour. Off ends collection.",
)
def collect_raw_sensor(
    context: SensorEvaluationContext, postgres: PostgresResource
) -> SensorResult | SkipReason:
    """Look at locks, heartbeats and runs; request, renew, stop or fence."""
    now = datetime.now(UTC)
    shards = load_settings().shards
    with postgres.connect(autocommit=True) as connection:
        actions = supervise(
            now=now,
            shards=shards,
            collectors=collector_registry.collectors_of(connection, hours=wanted_hours(now)),
            runs=runs_of_collectors(context.instance),
            database_since=collector_registry.database_started_at(connection),
        )
        for action in actions:
            if action.kind == "renew":
                collector_registry.renew_lease(
                    connection, shard=action.shard, hour=action.hour, now=now
                )
            elif action.kind == "stop":
                context.log.warning(action.reason)
                collector_registry.request_stop(
                    connection, shard=action.shard, hour=action.hour, now=now
                )
            elif action.kind == "fence":
                context.log.warning(action.reason)
                collector_registry.fence(connection, shard=action.shard, hour=action.hour)
    _fail_ghosts(context.instance, actions)
    requests = [_collector_request(action) for action in actions if action.kind == "request"]
    if not requests:
        alive = sum(action.kind == "renew" for action in actions)
        return SkipReason(f"{alive} of {shards} collectors alive, none to request")
    return SensorResult(run_requests=requests)


def runs_of_collectors(instance: DagsterInstance) -> list[RunFact]:
    """Runs that have not ended and materialize raw, started by the sensor or by hand."""
    facts = []
    for record in instance.get_run_records(RunsFilter(statuses=LIVE_STATUSES)):
        run = record.dagster_run
        selection = run.asset_selection or set()
        if run.job_name != collect_raw_job.name and RAW_SAMPLES not in selection:
            continue
        partition = run.tags.get(PARTITION_TAG) or run.tags.get(RANGE_END_TAG)
        if partition is None:
            continue
        is_started = run.status in (DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
        if is_started and record.start_time is not None:
            since = datetime.fromtimestamp(record.start_time, UTC)
        else:
            since = record.create_timestamp.astimezone(UTC)
        shard = run.tags.get(SHARD_TAG)
        facts.append(
            RunFact(
                run_id=run.run_id,
                shard=int(shard) if shard is not None and shard.isdecimal() else None,
                hour=datetime.strptime(partition, HOUR_FORMAT).replace(tzinfo=UTC),
                phase="started" if is_started else "waiting",
                since=since,
            )
        )
    return facts


def _fail_ghosts(instance: DagsterInstance, actions: Sequence[Action]) -> None:
    """Report runs as failed whose process is gone; Dagster's default launcher never notices."""
    for action in actions:
        run = instance.get_run_by_id(action.run_id) if action.run_id is not None else None
        if action.kind == "fail_run" and run is not None and not run.is_finished:
            instance.report_run_failed(run, f"Collector is not alive: {action.reason}.")


def _collector_request(action: Action) -> RunRequest:
    """A run for one shard and hour. No run key: it would forbid the restart of the same hour."""
    return RunRequest(
        partition_key=hour_key(action.hour),
        run_config={"ops": {"raw__server_resource_metrics": {"config": {"shard": action.shard}}}},
        tags={SHARD_TAG: str(action.shard)},
    )


def range_request(first: datetime, last: datetime, *, run_key: str | None = None) -> RunRequest:
    """One run for the hours first..last (inclusive); a range goes by tags, as backfills do it."""
    if first == last:
        return RunRequest(run_key=run_key, partition_key=hour_key(first))
    return RunRequest(
        run_key=run_key,
        tags={RANGE_START_TAG: hour_key(first), RANGE_END_TAG: hour_key(last)},
    )


def _watch(
    asset: WindowAsset, job_name: str, *, is_live: bool = False, is_from_samples: bool = True
) -> Watched:
    """The table of an asset, kept up to date by a job."""
    table = asset.table
    return Watched(
        asset.key,
        table.name,
        window=table.window,
        width=table.width,
        job_name=job_name,
        is_live=is_live,
        is_from_samples=is_from_samples,
    )


_tables = {asset.key: asset for asset in (*TIERS, *ROLLUPS)}

WATCHED = (
    _watch(_tables[TIER_1MIN], refresh_metrics_job.name, is_live=True),
    _watch(_tables[TIER_5MIN], refresh_metrics_job.name, is_live=True),
    _watch(_tables[ROLLUP_5MIN], refresh_metrics_job.name, is_live=True),
    _watch(_tables[TIER_1HOUR], metrics_1hour_job.name),
    _watch(_tables[ROLLUP_1HOUR], metrics_1hour_job.name),
    _watch(_tables[TIER_1DAY], metrics_1day_job.name),
    _watch(_tables[ROLLUP_1DAY], metrics_1day_job.name),
    Watched(
        ARCHIVE_RAW,
        table_of(ARCHIVE_RAW),
        window=timedelta(days=1),
        width=timedelta(days=1),
        job_name=archive_job.name,
        is_live=False,
    ),
    _watch(FILE_SYSTEM_DAY, metrics_1day_job.name, is_from_samples=False),
    # One table is the source of its revision, the others of the day are written by the same job.
    replace(
        _watch(FORECAST_DAY, forecasts_job.name, is_from_samples=False),
        source=table_of(TIER_1DAY),
    ),
    # Its days are those of the forecasts, and have their revision.
    replace(
        _watch(HEADROOM_DAY, forecasts_job.name, is_from_samples=False),
        source=table_of(CAPACITY_FORECASTS),
    ),
    # Of days whose tier is stored: raw of them may have gone long ago.
    *(
        replace(
            _watch(asset, daily_trends_job.name, is_from_samples=False), source=table_of(TIER_1DAY)
        )
        for asset in (TRENDS, DEGRADATION)
    ),
    replace(
        _watch(SCORE_DAY, forecasts_job.name, is_from_samples=False),
        source=table_of(CAPACITY_FORECASTS),
    ),
    # By a job of its own: hours older than raw can be computed again, but not with their tiers.
    replace(
        _watch(USAGE_ASSET, resource_usage_job.name, is_live=True),
        width=REFRESHED_EVERY,
        reach="month",
        source=table_of(ROLLUP_5MIN),
        is_from_samples=False,
    ),
    # By a job of its own: hours of which only the tier is left can be judged.
    replace(
        _watch(REPORTS_ASSET, anomaly_reports_job.name, is_live=True),
        source=table_of(TIER_5MIN),
        is_from_samples=False,
    ),
)
"""Every table whose windows are kept up to date; sources before what is computed from them."""


# The archive has a check of its own: days may wait for a store that is away.
FRESHNESS_CHECKS = freshness_checks([w for w in WATCHED if w.key != ARCHIVE_RAW])

DAILY_FRESHNESS = [
    freshness_key(one.key)
    for one in WATCHED
    if one.window == timedelta(days=1) and one.key != ARCHIVE_RAW
]

judge_tables_job = define_asset_job(
    "judge_tables_job",
    selection=AssetSelection.checks(
        *raw_checks.check_keys, *FRESHNESS_CHECKS.check_keys, *alert_checks.check_keys
    )
    - AssetSelection.checks(*DAILY_FRESHNESS),
    description="Checks of raw and of alerts, and whether every table of hours is fresh.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "1"},
)

judge_days_job = define_asset_job(
    "judge_days_job",
    selection=AssetSelection.checks(*DAILY_FRESHNESS),
    description="Whether every table of days is fresh.",
    executor_def=in_process_executor,
    tags={"dagster/priority": "1"},
)


def stale_of(
    connection: psycopg.Connection, watched: Watched, *, now: datetime, policy: Policy
) -> list[StaleWindow]:
    """Windows of a table that must be computed (again), within its retention."""
    closed_until = watched.closed_until(now)
    return window_ledger.stale_windows(
        connection,
        watched.table,
        watched.since(policy, now=now),
        closed_until,
        closed_until=closed_until,
        window=watched.window,
        reach=watched.reach,
        source=watched.source,
        is_from_samples=watched.is_from_samples,
    )


def live_runs(instance: DagsterInstance) -> list[LiveRun]:
    """Runs that have not ended and compute windows of watched tables, whoever started them."""
    by_job: dict[str, set[AssetKey]] = {}
    for watched in WATCHED:
        by_job.setdefault(watched.job_name, set()).add(watched.key)
    found = []
    for record in instance.get_run_records(RunsFilter(statuses=LIVE_STATUSES)):
        run = record.dagster_run
        keys = frozenset(run.asset_selection or by_job.get(run.job_name, set()))
        window = window_of_tags(run.tags)
        if window is None or not keys:
            continue
        found.append(
            LiveRun(
                keys,
                start=window[0],
                end=window[1],
                is_waiting=run.status in (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED),
                is_catch_up=CATCH_UP_TAG in run.tags,
            )
        )
    return found


def catch_up_request(run: CatchUp) -> RunRequest:
    """The run as Dagster takes it: a job, its tables, a range of partitions."""
    first = run.tables[0].partition_key(run.first)
    last = run.tables[0].partition_key(run.last)
    return RunRequest(
        job_name=run.job_name,
        asset_selection=[watched.key for watched in run.tables],
        partition_key=first if first == last else None,
        tags={
            CATCH_UP_TAG: "requested" if run.is_requested else "stale",
            "dagster/priority": "0",
            **({} if first == last else {RANGE_START_TAG: first, RANGE_END_TAG: last}),
        },
    )


@sensor(
    name="catch_up_sensor",
    jobs=[
        refresh_metrics_job,
        metrics_1hour_job,
        metrics_1day_job,
        daily_trends_job,
        resource_usage_job,
        forecasts_job,
        anomaly_reports_job,
        archive_job,
    ],
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=CATCH_UP_EVERY_SECONDS,
    description=(
        "Computes again what late samples, an outage or a person's wish made stale, oldest first; "
        "the running hour and the one before it are the five-minute schedule's."
    ),
)
def catch_up_sensor(
    context: SensorEvaluationContext, postgres: PostgresResource
) -> SensorResult | SkipReason:
    """Look at the ledger and at live runs; request few runs, each for a contiguous range."""
    now = datetime.now(UTC)
    # The runs first: one that ends in between has written what the ledger then says.
    live = live_runs(context.instance)
    with postgres.connect() as connection:
        policy = read_policy(connection)
        stale = {
            watched: stale_of(connection, watched, now=now, policy=policy) for watched in WATCHED
        }
        decision = decide(stale, live=live, now=now)
        catch_up_ledger.forget_settled(connection)
        if decision.runs:
            attempts = [attempt for run in decision.runs for attempt in run.attempts]
            catch_up_ledger.record_attempts(connection, attempts, now=now)
    told = told_of(decision)
    if not decision.runs:
        return SkipReason(told)
    context.log.info("%s", told)
    return SensorResult(run_requests=[catch_up_request(run) for run in decision.runs])


@sensor(
    name="alerts_sensor",
    job=alerts_job,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=ALERTS_EVERY_SECONDS,
    description=(
        "Judges collectors, failed runs and routes, and asks for a run when somebody is to be told "
        "of something. Off: nobody is told of anything."
    ),
)
def alerts_sensor(context: SensorEvaluationContext, postgres: PostgresResource) -> SensorResult:
    """Look at the platform; one run at a time, at most one a minute after the first few."""
    now = datetime.now(UTC)
    memory = remembered(context.cursor, now=now)
    problems = supervise_platform(
        Look(
            postgres,
            context.instance,
            load_settings().shards,
            WATCHED,
            NOT_ALERTED_JOBS,
            memory.watching_since,
            now,
        )
    )
    for problem in problems:
        context.log.warning("This could not be judged: %s", problem)
    with postgres.connect() as connection:
        wanted = is_due(connection, now=now)
    if not wanted:
        return _skipped(memory, "nothing is due")
    filters = RunsFilter(job_name=alerts_job.name, statuses=LIVE_STATUSES)
    if context.instance.get_runs(filters, limit=1):
        return _skipped(memory, "a run is under way")
    after = take_run(memory)
    if after is None:
        return _skipped(memory, "one run a minute is enough")
    return SensorResult(run_requests=[RunRequest()], cursor=after.to_text())


def _skipped(memory: Memory, reason: str) -> SensorResult:
    """No run; what was seen is remembered."""
    return SensorResult(skip_reason=reason, cursor=memory.to_text())


@schedule(
    name="refresh_metrics_schedule",
    job=refresh_metrics_job,
    cron_schedule="1-59/5 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Refreshes the running hour and the one before it, when their samples changed.",
)
def refresh_metrics_schedule(
    context: ScheduleEvaluationContext, postgres: PostgresResource
) -> RunRequest | SkipReason:
    """The newest hours, in one run; everything older is the catch-up sensor's."""
    now = context.scheduled_execution_time.astimezone(UTC)
    end = now.replace(minute=0, second=0, microsecond=0) + HOUR
    closed_until = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0)
    stale: set[datetime] = set()
    with postgres.connect() as connection:
        for watched in (one for one in WATCHED if one.is_live):
            found = window_ledger.stale_windows(
                connection,
                watched.table,
                max(FIRST_DAY, end - SCHEDULED_HOURS * HOUR),
                end,
                closed_until=closed_until,
                window=watched.window,
                reach=watched.reach,
                source=watched.source,
                is_from_samples=watched.is_from_samples,
            )
            stale |= {window.start for window in found if not window.is_refused}
    if not stale:
        return SkipReason("every hour is computed from its newest samples")
    return range_request(min(stale), max(stale), run_key=now.isoformat())


@schedule(
    name="metrics_1hour_schedule",
    job=metrics_1hour_job,
    cron_schedule="2 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Computes the hourly tier and rollup of the hour that has just closed.",
)
def metrics_1hour_schedule(context: ScheduleEvaluationContext) -> RunRequest:
    """The last closed hour."""
    now = context.scheduled_execution_time.astimezone(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0) - HOUR
    return RunRequest(run_key=hour_key(hour), partition_key=hour_key(hour))


def _closed_day(context: ScheduleEvaluationContext) -> str:
    """Partition key of the UTC day before the one in which the schedule fires."""
    day = context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)
    return day.strftime(DAY_FORMAT)


def _daily_schedule(name: str, job_name: str, *, cron: str, description: str) -> ScheduleDefinition:
    """A schedule that asks a job for the last closed UTC day."""

    @schedule(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def last_closed_day(context: ScheduleEvaluationContext) -> RunRequest:
        day = _closed_day(context)
        return RunRequest(run_key=day, partition_key=day)

    return last_closed_day


metrics_1day_schedule = _daily_schedule(
    "metrics_1day_schedule",
    metrics_1day_job.name,
    cron="10 0 * * *",
    description="Computes the daily tier and rollup of the UTC day that has just closed.",
)


forecasts_schedule = _daily_schedule(
    "forecasts_schedule",
    forecasts_job.name,
    cron="40 0 * * *",
    description="Forecasts from the UTC day that has just closed, after its tiers.",
)


daily_trends_schedule = _daily_schedule(
    "daily_trends_schedule",
    daily_trends_job.name,
    cron="35 0 * * *",
    description="Trends and slow degradation of the UTC day that has just closed.",
)


archive_schedule = _daily_schedule(
    "archive_schedule",
    archive_job.name,
    cron="20 0 * * *",
    description="Archives the UTC day that has just closed.",
)


@schedule(
    name="dagster_history_schedule",
    job=dagster_history_job,
    cron_schedule="3 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Prunes Dagster's own history after midnight, and goes on hourly until it is done.",
)
def dagster_history_schedule(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
    """Once a day, and again while runs are left that are too old."""
    now = context.scheduled_execution_time.astimezone(UTC)
    cutoff = day_before(now, KEEP_DAYS)
    if now.hour > 0 and next(old_runs(context.instance, cutoff=cutoff), None) is None:
        return SkipReason(f"no run is older than {cutoff:%Y-%m-%d}")
    return RunRequest(
        run_key=now.isoformat(),
        run_config={"ops": {"retention__dagster_history": {"config": {"dry_run": False}}}},
    )


@schedule(
    name="retention_schedule",
    job=retention_job,
    cron_schedule="10 1 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Drops what is older than the policy, after the day was computed and archived.",
)
def retention_schedule(context: ScheduleEvaluationContext) -> RunRequest:
    """What is expired at the end of the last closed UTC day."""
    day = _closed_day(context)
    return RunRequest(
        run_key=day,
        partition_key=day,
        run_config={"ops": {"retention__pruned_partitions": {"config": {"dry_run": False}}}},
    )


@schedule(
    name="judge_tables_schedule",
    job=judge_tables_job,
    cron_schedule="7 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Judges the samples of the hour that has just closed, and the age of every table.",
)
def judge_tables_schedule(context: ScheduleEvaluationContext) -> RunRequest:
    """Without a partition: the checks themselves know the hour."""
    return RunRequest(run_key=context.scheduled_execution_time.astimezone(UTC).isoformat())


@schedule(
    name="judge_days_schedule",
    job=judge_days_job,
    cron_schedule="17 3,9,15,21 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Judges the age of every table of days, four times a day.",
)
def judge_days_schedule(context: ScheduleEvaluationContext) -> RunRequest:
    """Without a partition: the checks themselves know the day."""
    return RunRequest(run_key=context.scheduled_execution_time.astimezone(UTC).isoformat())
