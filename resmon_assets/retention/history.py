"""Pruning of Dagster's own history: which runs may go, and what is kept of them.

Belongs here: the engine over a Dagster instance. When it runs and what it reports is in
history_asset.py. Why it is like this, with figures: docs/decisions/0013-dagster-history.md.

`delete_run` deletes the run's events too, and with them every partition that only this run
materialized: after two weeks a fleet's whole past would be "missing" in Dagster, and a backfill of
what is missing would begin to compute it again. So before a run goes, the newest materialization
(and observation) of each partition that this run alone vouches for is reported once more, without a
run. That makes the repeated event the newest one of its asset; what was the newest is therefore
repeated last, so that an asset's page goes on showing it.

Three things grow without an end that no public function of Dagster deletes: repeated events that a
later one has replaced, evaluations of checks, and backfills. Those go by SQL, from a PostgreSQL
storage only.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    EventLogRecord,
    MetadataValue,
    RunRecord,
    RunsFilter,
)
from dagster_postgres import PostgresEventLogStorage

from resmon_resources.postgres_connection import load_query, open_connection

logger = logging.getLogger(__name__)

FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
"""Only runs of these states are ever deleted: whatever else may still have a process."""

ENDED_BACKFILLS = frozenset(
    {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
)
"""States of a backfill that asks nothing of its runs any more."""

BACKFILL_TAG = "dagster/backfill"
KEPT_TAGS = ("dagster/data_version",)
"""Without its data version a repeated event would make everything downstream look outdated."""
LONGEST_ENTRY = 2000
"""Metadata longer than this (pictures) is left out of a repeated event: it is kept for a year."""

RUN_PAGE = 200
"""Runs listed at once; a page is 1 MB of run records."""
SWEEP_ROWS = 2000
"""Rows of one DELETE: about 0.1 s, so that no lock and no snapshot is held for long."""
SWEEPS: Mapping[str, str] = {
    "superseded_events": "delete_superseded_events",
    "orphaned_events": "delete_orphaned_events",
    "check_evaluations": "delete_check_evaluations",
    "backfills": "delete_ended_backfills",
}
"""Figure -> query, in the order in which they run."""

Latest = tuple[DagsterEventType, AssetKey, str | None]
"""What an event vouches for: its kind, asset and partition."""


@dataclass
class Pruned:
    """What one pass did.

    Attributes:
        runs: runs deleted with their events and logs.
        runs_in_backfills: runs old enough that belong to a backfill in progress, and stay.
        vouched: materializations and observations repeated without a run.
        repeated_newest: newest materializations repeated, so that they stay the newest.
        log_folders: folders of logs removed whose run was deleted by somebody else.
        swept: rows deleted by SQL, by kind; empty unless the storage is PostgreSQL.
        is_complete: nothing of that age is left; False when a limit ended the pass.
    """

    runs: int = 0
    runs_in_backfills: int = 0
    vouched: int = 0
    repeated_newest: int = 0
    log_folders: int = 0
    swept: dict[str, int] = field(default_factory=dict)
    is_complete: bool = True


def prune_runs(
    instance: DagsterInstance,
    *,
    cutoff: datetime,
    most: int,
    is_over: Callable[[], bool],
) -> Pruned:
    """Delete finished runs that were created before `cutoff`, oldest first.

    May be ended anywhere and begun again: what a run vouches for is repeated before the run goes,
    and is not repeated twice.

    Args:
        instance: its runs, events and logs.
        cutoff: aware UTC.
        most: runs to delete in this pass.
        is_over: whether the time of the pass is up; asked before each run.
    """
    pruned = Pruned()
    newest: dict[AssetKey, EventLogRecord] = {}
    try:
        for record in old_runs(instance, cutoff=cutoff):
            if pruned.runs >= most or is_over():
                pruned.is_complete = False
                break
            run_id = record.dagster_run.run_id
            if is_in_open_backfill(instance, record):
                pruned.runs_in_backfills += 1
                continue
            pruned.vouched += vouch(instance, run_id, newest)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
            pruned.runs += 1
    finally:
        pruned.repeated_newest = repeat_newest(instance, newest)
    return pruned


def old_runs(instance: DagsterInstance, *, cutoff: datetime) -> Iterator[RunRecord]:
    """Finished runs created before `cutoff`, oldest first, also while they are being deleted."""
    found = RunsFilter(statuses=FINISHED, created_before=cutoff)
    kept: str | None = None
    while page := instance.get_run_records(found, limit=RUN_PAGE, ascending=True, cursor=kept):
        yield from page
        # A cursor must be a run that exists: the next page begins after the last one that stayed.
        page_ids = [record.dagster_run.run_id for record in page]
        left = {run.run_id for run in instance.get_runs(RunsFilter(run_ids=page_ids))}
        staying = [run_id for run_id in page_ids if run_id in left]
        kept = staying[-1] if staying else kept


def is_in_open_backfill(instance: DagsterInstance, record: RunRecord) -> bool:
    """Whether the run belongs to a backfill that is still in progress."""
    backfill_id = record.dagster_run.tags.get(BACKFILL_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id is not None else None
    return backfill is not None and backfill.status.value not in ENDED_BACKFILLS


def vouch(instance: DagsterInstance, run_id: str, newest: dict[AssetKey, EventLogRecord]) -> int:
    """Repeat without a run what only this run vouches for; the number of events repeated.

    Args:
        instance: its event log.
        run_id: the run that is about to go.
        newest: newest materialization of each asset before anything was repeated; filled here.
    """
    repeated = 0
    for kind, key, partition in events_of(instance, run_id):
        record = latest_record(instance, kind, key, partition)
        if record is None or record.run_id != run_id:
            continue
        if kind is DagsterEventType.ASSET_MATERIALIZATION and key not in newest:
            last = latest_record(instance, kind, key, None)
            newest[key] = last if last is not None else record
        instance.report_runless_asset_event(repetition(record, is_brief=True))
        repeated += 1
    return repeated


def events_of(instance: DagsterInstance, run_id: str) -> list[Latest]:
    """What the run reported about assets, each once, in the order of its last event."""
    kinds = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION}
    found: dict[Latest, None] = {}
    for entry in instance.all_logs(run_id, of_type=kinds):
        event = entry.dagster_event
        if event is None or event.asset_key is None:
            continue
        latest = (event.event_type, event.asset_key, event.partition)
        found.pop(latest, None)
        found[latest] = None
    return list(found)


def latest_record(
    instance: DagsterInstance, kind: DagsterEventType, key: AssetKey, partition: str | None
) -> EventLogRecord | None:
    """Newest event of this kind for a partition of an asset, or of the whole asset."""
    wanted = AssetRecordsFilter(
        asset_key=key, asset_partitions=[partition] if partition is not None else None
    )
    if kind is DagsterEventType.ASSET_MATERIALIZATION:
        records = instance.fetch_materializations(wanted, limit=1).records
    else:
        records = instance.fetch_observations(wanted, limit=1).records
    return records[0] if records else None


def repeat_newest(instance: DagsterInstance, newest: Mapping[AssetKey, EventLogRecord]) -> int:
    """Make what was the newest materialization of each asset the newest again; their number."""
    repeated = 0
    for key, record in newest.items():
        current = latest_record(instance, DagsterEventType.ASSET_MATERIALIZATION, key, None)
        # An event with a run is newer than all that was repeated here.
        if current is None or current.run_id or current.partition_key == record.partition_key:
            continue
        instance.report_runless_asset_event(repetition(record, is_brief=False))
        repeated += 1
    return repeated


def repetition(
    record: EventLogRecord, *, is_brief: bool
) -> AssetMaterialization | AssetObservation:
    """The same event to be reported without a run; says when and by which run it happened.

    Args:
        record: a materialization or an observation.
        is_brief: leave out what is long.
    """
    event = record.asset_materialization or record.asset_observation
    if event is None:
        msg = f"event {record.storage_id} is neither a materialization nor an observation"
        raise ValueError(msg)
    metadata = {
        name: value
        for name, value in event.metadata.items()
        if not is_brief or len(str(value.value)) <= LONGEST_ENTRY
    }
    # What was repeated before keeps its first date and run.
    metadata.setdefault("materialized_at", MetadataValue.timestamp(record.timestamp))
    if record.run_id:
        metadata.setdefault("materialized_by_run", MetadataValue.text(record.run_id))
    return type(event)(
        asset_key=event.asset_key,
        partition=event.partition,
        description=event.description,
        metadata=metadata,
        tags={name: value for name, value in (event.tags or {}).items() if name in KEPT_TAGS},
    )


def remove_orphaned_logs(
    instance: DagsterInstance, folder: Path, *, cutoff: datetime, is_over: Callable[[], bool]
) -> int:
    """Remove folders of logs whose run does not exist any more; their number.

    Args:
        instance: its runs.
        folder: of the compute logs; one folder per run, named by its id.
        cutoff: folders changed since then are left alone, aware UTC.
        is_over: whether the time of the pass is up.
    """
    removed = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_over():
            break
        if not path.is_dir() or not is_run_id(path.name):
            continue
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if changed < cutoff and instance.get_run_by_id(path.name) is None:
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def is_run_id(name: str) -> bool:
    """Whether a folder's name is the id of a run, and not something of another owner."""
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def storage_url(instance: DagsterInstance) -> str | None:
    """URL of the database of the instance's events; None when they are not in PostgreSQL."""
    storage = instance.event_log_storage
    return storage.postgres_url if isinstance(storage, PostgresEventLogStorage) else None


def sweep(
    url: str, *, cutoff: datetime, vouched_since: datetime, is_over: Callable[[], bool]
) -> dict[str, int]:
    """Delete what no public function of Dagster deletes, a few rows at a time; rows by kind.

    Args:
        url: of Dagster's database.
        cutoff: what is younger stays, aware UTC.
        vouched_since: events repeated for hours before then go even if they are the newest.
        is_over: whether the time of the pass is up.
    """
    values = {"cutoff": cutoff, "vouched_since": vouched_since, "limit": SWEEP_ROWS}
    swept = dict.fromkeys(SWEEPS, 0)
    with open_connection(url, autocommit=True) as connection:
        for name, query in SWEEPS.items():
            while not is_over():
                deleted = connection.execute(
                    load_query("retention", query).encode(), values
                ).rowcount
                swept[name] += deleted
                if deleted < SWEEP_ROWS:
                    break
    return swept


def history_sizes(url: str) -> dict[str, int]:
    """Bytes of Dagster's database, and of the tables in it that grow, with their indexes."""
    with open_connection(url) as connection:
        return dict(_sizes(connection))


def _sizes(connection: psycopg.Connection) -> list[tuple[str, int]]:
    """Name and bytes."""
    return connection.execute(load_query("retention", "select_history_sizes").encode()).fetchall()


def day_before(now: datetime, days: int) -> datetime:
    """Start of the UTC day that many days before the one of `now`.

    Whole days, so that the first pass of a day does all of it: the repeated events come minutes
    before the day's own materializations.
    """
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(
        days=days
    )
