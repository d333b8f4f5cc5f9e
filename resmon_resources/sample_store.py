"""Samples and failures as stored: the records, and the one transaction that commits a batch.

Belongs here: what a batch writes (raw rows, latest status, ledger revision, coverage), its number
and the notice after it. Does not know how a sample was made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import psycopg

from resmon_resources.errors import Cause, DatabaseError
from resmon_resources.live_notice import notify_live
from resmon_resources.postgres_connection import array_parameter, load_query

Status = Literal["healthy", "warning", "critical"]
"""State of a server that answered; `error` is for those that did not."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of raw.server_resource_metrics. None means not measured, never zero.

    Attributes:
        server_id: server that was read.
        organization_id: organization that owned it at `collected_at`.
        collected_at: the server's scheduled instant, aware UTC.
        cpu_pct: busy share of all cores since the previous reading, 0 to 100; idle includes iowait.
        cpu_count: cores online.
        memory_used_bytes: MemTotal - MemAvailable (documented fallback on old kernels).
        memory_total_bytes: MemTotal.
        disk_used_bytes: used over all real local file systems, one per device.
        disk_total_bytes: size over the same file systems.
        network_in_bytes: received since the previous reading, `elapsed_ms` ago.
        network_out_bytes: sent since the previous reading.
        elapsed_ms: milliseconds between the two readings; None without one before of the same boot.
        load_1m: load average over one minute.
        load_5m: over five minutes.
        load_15m: over fifteen minutes.
        uptime_seconds: seconds since boot.
        clock_skew_seconds: the server's clock minus the collector's.
    """

    server_id: int
    organization_id: int
    collected_at: datetime
    cpu_pct: float | None = None
    cpu_count: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    network_in_bytes: int | None = None
    network_out_bytes: int | None = None
    elapsed_ms: int | None = None
    load_1m: float | None = None
    load_5m: float | None = None
    load_15m: float | None = None
    uptime_seconds: int | None = None
    clock_skew_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FileSystemUsage:
    """One row of raw.filesystem_usage. None means not measured, never zero.

    Attributes:
        server_id: server that was read.
        organization_id: organization that owned it at `collected_at`.
        collected_at: the server's scheduled instant, aware UTC.
        mount: mount point.
        device: as df names it; of ZFS the dataset.
        type: as in /proc/mounts.
        total_bytes: size; None when the mount did not answer in time.
        used_bytes: in use.
        available_bytes: free for an ordinary user.
        inodes_total: inodes; None where the file system has no fixed number of them.
        inodes_used: of these in use.
    """

    server_id: int
    organization_id: int
    collected_at: datetime
    mount: str
    device: str
    type: str | None = None
    total_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    inodes_total: int | None = None
    inodes_used: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A scheduled instant of a server without a sample, and why.

    Attributes:
        server_id: server that could not be read.
        organization_id: organization that owned it at `attempted_at`.
        attempted_at: the scheduled instant, aware UTC.
        cause: machine-readable reason.
        detail: one sentence for a person.
        is_final: retries are used up, the server counts as `error`; False keeps its status for now.
    """

    server_id: int
    organization_id: int
    attempted_at: datetime
    cause: Cause
    detail: str
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive scheduled instants of one server with the same cause.

    Attributes:
        server_id: server.
        started_at: first instant of the stretch, aware UTC.
        ended_at: last instant of the stretch (inclusive), aware UTC.
        cause: `ok`, a cause of failure, or `collector_down`.
        instant_count: scheduled instants in the stretch.
    """

    server_id: int
    started_at: datetime
    ended_at: datetime
    cause: str
    instant_count: int


@dataclass(frozen=True, slots=True)
class Committed:
    """What one batch wrote.

    Attributes:
        inserted: raw rows that were new.
        duplicates: samples whose key was there already; they change nothing.
        file_systems: rows of raw.filesystem_usage that were new.
        commit_sequence: number of the commit; None when it stored neither a sample nor a failure.
        notify_error: why live consumers could not be told; None when they were, or need not be.
        refused: rows of any kind that the database refused and that were not written.
        too_late: rows of days that retention dropped, kept apart.
    """

    inserted: int
    duplicates: int
    file_systems: int = 0
    refused: int = 0
    too_late: int = 0
    # Another one in each commit, so of no use to compare two.
    commit_sequence: int | None = field(default=None, compare=False)
    notify_error: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class NewRows:
    """What a batch brought that was not stored before.

    Attributes:
        samples: by server and time.
        failures: all of the batch.
        file_systems: all of the batch, or none when all were there already.
    """

    samples: Sequence[Sample]
    failures: Sequence[Failure]
    file_systems: Sequence[FileSystemUsage]


Judge = Callable[[psycopg.Connection[Any], NewRows], Callable[[], None]]
"""Judges what is new, in the transaction that stores it; returns what to call after the commit."""


_SAMPLE_COLUMNS = tuple(column.name for column in fields(Sample))
_FILE_SYSTEM_COLUMNS = tuple(column.name for column in fields(FileSystemUsage))
_STRETCH_COLUMNS = tuple(column.name for column in fields(Stretch))


def commit_batch(
    connection: psycopg.Connection[Any],
    *,
    samples: Sequence[Sample],
    failures: Sequence[Failure],
    stretches: Sequence[Stretch],
    status_of: Callable[[Sample], Status],
    shard: int,
    file_systems: Sequence[FileSystemUsage] = (),
    judge: Judge | None = None,
) -> Committed:
    """Write a batch in one transaction: raw rows, ledger revisions, latest status, coverage.

    May be repeated: a sample or file system whose key exists changes nothing and does not move the
    ledger; file systems count like samples, in hours that no sample of the batch has counted; a
    state older than the stored one is ignored; a stretch replaces the one with the same
    start. A commit that stores a sample or a failure gets the next number, and live consumers are
    told after it; that this fails is returned, it does not undo the commit.

    Args:
        connection: any open connection; the transaction is made and committed here.
        samples: grain (server_id, collected_at); their day partitions must exist.
        failures: scheduled instants without a sample.
        stretches: coverage rows to insert or extend.
        status_of: the rule that turns a sample into a status.
        shard: whose ledger revision grows.
        file_systems: grain (server_id, mount, collected_at); their day partitions must exist.
        judge: judges what is new (resmon_assets.alert_watch); None: nobody does.

    Raises:
        psycopg.Error: the transaction was rolled back; nothing was written.
        DatabaseError: the counter of commits has no row; nothing was written.
    """
    ordered = sorted(samples, key=lambda sample: (sample.server_id, sample.collected_at))
    sample_columns = _columns(ordered, _SAMPLE_COLUMNS)
    status_columns = _status_rows(ordered, sample_columns, status_of)
    failure_columns = _failure_rows(failures)
    inserted = marked = 0
    new_samples: Sequence[Sample] = ()
    accept: Callable[[], None] | None = None
    commit_sequence: int | None = None
    with connection.transaction():
        new_file_systems = _insert_file_systems(connection, file_systems)
        if stretches:
            connection.execute(
                load_query("raw", "upsert_coverage"), _columns(stretches, _STRETCH_COLUMNS)
            )
        # Last, so that the lock of the counter is short; committers wait for each other here only.
        if ordered or failures:
            commit_sequence = _next_commit_sequence(connection)
        if ordered:
            new_samples = _insert_samples(
                connection,
                ordered,
                sample_columns | {"shard": shard, "commit_sequence": commit_sequence},
            )
            inserted = len(new_samples)
            connection.execute(
                load_query("raw", "upsert_status"),
                status_columns | {"commit_sequence": commit_sequence if inserted else None},
            )
        if failures:
            marked = connection.execute(
                load_query("raw", "upsert_failures"),
                failure_columns | {"commit_sequence": commit_sequence},
            ).rowcount
        if new_file_systems:
            counted = _hours(ordered) if inserted == len(ordered) else set()
            _bump_hours(connection, _hours(file_systems) - counted, shard=shard)
        if commit_sequence is not None and not inserted and not marked:
            connection.execute(load_query("raw", "return_commit_number"))
            commit_sequence = None
        if judge is not None:
            told = file_systems if new_file_systems else ()
            accept = judge(connection, NewRows(new_samples, failures, told))
    if accept is not None:
        accept()
    notify_error = None
    if commit_sequence is not None:
        notify_error = notify_live(
            connection,
            commit_sequence=commit_sequence,
            organization_ids={
                *(sample.organization_id for sample in samples),
                *(failure.organization_id for failure in failures),
            },
        )
    return Committed(
        inserted=inserted,
        duplicates=len(ordered) - inserted,
        file_systems=new_file_systems,
        commit_sequence=commit_sequence,
        notify_error=notify_error,
    )


def ensure_raw_partitions(
    connection: psycopg.Connection[Any], *, start: datetime, end: datetime
) -> None:
    """Make the day partitions of raw that cover [start, end)."""
    with connection.transaction():
        for table in ("raw.server_resource_metrics", "raw.filesystem_usage"):
            connection.execute(
                "select ops.ensure_partitions(%s, 'day', %s, %s)",
                (table, start, end + timedelta(days=1)),
            )


def latest_stretches(connection: psycopg.Connection[Any], *, since: datetime) -> list[Stretch]:
    """The newest stretch of each server that ended at or after `since`; one per server."""
    with connection.transaction():
        rows = connection.execute(load_query("raw", "latest_coverage"), {"since": since}).fetchall()
    return [Stretch(*row) for row in rows]


def _insert_samples(
    connection: psycopg.Connection[Any], ordered: Sequence[Sample], columns: dict[str, Any]
) -> Sequence[Sample]:
    """Insert samples; those that were not there."""
    row = connection.execute(load_query("raw", "insert_samples"), columns).fetchone()
    if row is None or not row[0]:
        return ()
    if row[0] == len(ordered):
        return ordered
    new = set(zip(row[1], row[2], strict=True))
    return [sample for sample in ordered if (sample.server_id, sample.collected_at) in new]


def _insert_file_systems(
    connection: psycopg.Connection[Any], file_systems: Sequence[FileSystemUsage]
) -> int:
    """Insert file systems; how many were not there."""
    if not file_systems:
        return 0
    row = connection.execute(
        load_query("raw", "insert_filesystem_usage"), _columns(file_systems, _FILE_SYSTEM_COLUMNS)
    ).fetchone()
    return int(row[0]) if row else 0


def _bump_hours(connection: psycopg.Connection[Any], hours: set[datetime], *, shard: int) -> None:
    """Move the ledger of hours; after the counter's lock, as for samples: always in this order."""
    for hour in sorted(hours):
        connection.execute("select ops.bump_raw_hour(%s, %s)", (hour, shard))


def _hours(rows: Sequence[Sample | FileSystemUsage]) -> set[datetime]:
    """UTC hours that these rows belong to."""
    return {
        row.collected_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) for row in rows
    }


def _next_commit_sequence(connection: psycopg.Connection[Any]) -> int:
    """Number of this commit; the lock of the counter is held until its transaction ends."""
    row = connection.execute(load_query("raw", "advance_commit_counter")).fetchone()
    if row is None:
        msg = (
            "ops.commit_counter has no row, so that commits cannot be numbered. Give it one that "
            "is above every commit_sequence of raw.server_resource_metrics."
        )
        raise DatabaseError(msg)
    return int(row[0])


def _columns(items: Sequence[object], names: Sequence[str]) -> dict[str, Any]:
    """The attributes `names` of all items, one array each."""
    return {name: array_parameter([getattr(item, name) for item in items]) for name in names}


def _status_rows(
    ordered: Sequence[Sample], columns: dict[str, Any], status_of: Callable[[Sample], Status]
) -> dict[str, Any]:
    """Columns of the status upsert; only the newest sample of each server counts.

    Args:
        ordered: samples by server and time.
        columns: of these samples; taken over when each is the only one of its server.
        status_of: rule that turns a sample into a status.
    """
    newest = list({sample.server_id: sample for sample in ordered}.values())
    if len(newest) < len(ordered):
        columns = _columns(newest, _SAMPLE_COLUMNS)
    return columns | {"status": [status_of(sample) for sample in newest]}


def _failure_rows(failures: Sequence[Failure]) -> dict[str, Any]:
    """Columns of the failure upsert: newest failure of each server, and how many there were."""
    newest: dict[int, Failure] = {}
    counts: dict[int, int] = {}
    for failure in sorted(failures, key=lambda item: item.attempted_at):
        newest[failure.server_id] = failure
        counts[failure.server_id] = counts.get(failure.server_id, 0) + 1
    rows = [newest[server_id] for server_id in sorted(newest)]
    return {
        "server_id": [row.server_id for row in rows],
        "attempted_at": [row.attempted_at for row in rows],
        "cause": [row.cause for row in rows],
        "detail": [row.detail for row in rows],
        "is_final": [row.is_final for row in rows],
        "failure_count": [counts[row.server_id] for row in rows],
    }
