"""Failed runs of Dagster as facts: what failed, where, and whether it was made good.

Belongs here: the questions to Dagster's instance and to the ledger. Which of them an alert tells of
is decided in `supervision.py`.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import psycopg
from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)

from resmon_assets.alert.supervision import PAST_RUNS, FailedRun, job_name
from resmon_assets.catch_up import Watched
from resmon_assets.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, window_of_tags
from resmon_resources.postgres_connection import load_query

MOST_RUNS = 100
"""Failed runs that are looked at: the newest."""

LONGEST_ERROR = 400
"""Characters of an error that are told."""

SCHEDULE_TAG = "dagster/schedule_name"

_TELLING = {
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.RUN_FAILURE,
}


def failed_runs(
    instance: DagsterInstance,
    connection: psycopg.Connection,
    watched: Sequence[Watched],
    *,
    now: datetime,
    ignored: Collection[str],
) -> list[FailedRun]:
    """Runs that failed lately, newest first, without their words.

    Args:
        instance: Dagster's.
        connection: to the data database.
        watched: tables whose windows the ledger knows.
        now: aware UTC.
        ignored: names of jobs that others watch.
    """
    filters = RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=now - PAST_RUNS)
    records = instance.get_run_records(filters, limit=MOST_RUNS)
    return [
        FailedRun(
            record.dagster_run.run_id,
            record.dagster_run.job_name,
            _ended_at(record),
            _is_cured(connection, record, watched),
        )
        for record in records
        if record.dagster_run.job_name not in ignored
    ]


def last_successes(instance: DagsterInstance, jobs: Collection[str]) -> dict[str, datetime]:
    """When each of these jobs last succeeded; a job that never did is left out."""
    found = {}
    for job in jobs:
        filters = RunsFilter(job_name=job, statuses=[DagsterRunStatus.SUCCESS])
        for record in instance.get_run_records(filters, limit=1):
            found[job] = _ended_at(record)
    return found


def words_of_run(instance: DagsterInstance, run_id: str) -> tuple[str, dict[str, object]]:
    """What failed in a run, in one sentence, and the same by name."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return "a run failed that is not stored any more", {}
    step = asset = error = None
    checks: list[str] = []
    for entry in instance.all_logs(run_id, of_type=_TELLING):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.blocking:
                checks.append(evaluation.check_name)
                asset = evaluation.asset_key.to_user_string()
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            step = step or event.step_key
            failure = event.step_failure_data
            told = failure.user_failure_data
            description = None if told is None else told.description
            error = error or description or _innermost(failure.error)
        elif error is None:
            error = event.message
    partition = _partition_of(run)
    place = f" at {asset or step}" if asset or step else ""
    stopped = f": the check {', '.join(checks)} stopped it" if checks else ""
    why = "" if checks or not error else f": {_short(error)}"
    of = f" for {partition}" if partition else ""
    details = {"partition": partition, "step": step, "asset": asset, "checks": checks}
    reason = f"a run of {job_name(run.job_name)} failed{of}{place}{stopped}{why}"
    return reason, {name: value for name, value in details.items() if value}


def _ended_at(record: RunRecord) -> datetime:
    """When a run ended, aware UTC."""
    if record.end_time is not None:
        return datetime.fromtimestamp(record.end_time, UTC)
    return record.update_timestamp.astimezone(UTC)


def _is_cured(
    connection: psycopg.Connection, record: RunRecord, watched: Sequence[Watched]
) -> bool | None:
    """Whether all windows of a run that somebody asked for were computed since.

    None for runs of a schedule, whose next run is what counts, and for those without windows that
    the ledger knows.
    """
    run = record.dagster_run
    window = window_of_tags(run.tags)
    tables = _tables_of(run, watched)
    if window is None or not tables or SCHEDULE_TAG in run.tags:
        return None
    start, end = window
    wanted = sum(len(one.windows_between(start, end)) for one in tables)
    values = {
        "assets": [one.table for one in tables],
        "start": start,
        "end": end,
        "failed_at": _ended_at(record),
    }
    row = connection.execute(load_query("alert", "count_computed_since"), values).fetchone()
    return row is not None and row[0] >= wanted


def _tables_of(run: DagsterRun, watched: Sequence[Watched]) -> list[Watched]:
    """Watched tables that a run computes."""
    selection: Collection[AssetKey] | None = run.asset_selection
    if selection:
        return [one for one in watched if one.key in selection]
    return [one for one in watched if one.job_name == run.job_name]


def _partition_of(run: DagsterRun) -> str:
    """Partition or range of a run, for a person; empty when it has none."""
    first, last = run.tags.get(RANGE_START_TAG), run.tags.get(RANGE_END_TAG)
    if first is not None and last is not None:
        return first if first == last else f"{first} to {last}"
    return run.tags.get(PARTITION_TAG, "")


def _innermost(error: object) -> str:
    """The message of the error that is behind all others."""
    while (cause := getattr(error, "cause", None)) is not None:
        error = cause
    return str(getattr(error, "message", "") or "")


def _short(text: str) -> str:
    """The first line of an error, cut."""
    line = (text.strip().splitlines() or [""])[0]
    return line if len(line) <= LONGEST_ERROR else f"{line[: LONGEST_ERROR - 3]}..."
