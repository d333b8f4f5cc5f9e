"""Partitions and what may be dropped of them: the statements of retention.

Belongs here: listing partitions, asking why one must stay, dropping one, and deleting rows of small
tables. Whether a partition may go is decided in SQL (ops.partition_blockers), once for a plan and
once more under the lock of the drop. What is asked for, and in which order, is in
resmon_assets/retention.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Literal

import psycopg
from psycopg import sql

from resmon_resources.database import Database
from resmon_resources.errors import LockHeld
from resmon_resources.postgres_connection import load_query
from resmon_resources.raw_days import lock_day, record_pruned
from resmon_resources.retention_policy import RAW_SAMPLES
from resmon_resources.too_late import lock_partition

ATTEMPTS = 4
"""Attempts to get the lock of a partition, 2 s each (the function's own limit)."""
FIRST_PAUSE_SECONDS = 1.0
"""Before the second attempt; doubles with each, give or take a quarter: 7 s in all."""
LONG_HELD_SECONDS = 2.0
"""Behind a transaction that has lasted longer than this nobody queues up for a lock: it would time
out, and every reader and writer that came meanwhile would have waited with it."""

Reach = Literal["window", "month", "any"]


@dataclass(frozen=True, slots=True)
class Downstream:
    """Windows that are computed from a table and must be finished before its rows go.

    Attributes:
        table: as schema.table; names it in the ledger.
        source: the table that it is computed from.
        window: length of its windows.
        reach: which revisions of the source it is judged by: those of the window, of all since the
            begin of the month, or any (it is finished, and counts revisions of another source).
    """

    table: str
    source: str
    window: timedelta
    reach: Reach = "window"


@dataclass(frozen=True, slots=True)
class Partition:
    """A physical partition.

    Attributes:
        table: its parent, schema.table.
        start: aware UTC; the range is half-open.
        end: aware UTC.
        row_estimate: rows by PostgreSQL's statistics.
        size_bytes: bytes on disk, indexes included.
    """

    table: str
    start: datetime
    end: datetime
    row_estimate: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Blocker:
    """A reason why a partition stays.

    Attributes:
        reason: one word: no_policy, for_ever, within_policy, restored, not_archived, archive_stale,
            archive_unusable, not_computed, stale, red, locked or gone.
        detail: the same for a person.
    """

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become, or has become, of a partition: it goes when there is no blocker.

    Attributes:
        partition: which.
        blockers: why it stays.
        row_count: rows that it had; counted when it was dropped, else by the statistics.
        freed_bytes: bytes that dropping it freed, or would free.
    """

    partition: Partition
    blockers: tuple[Blocker, ...]
    row_count: int
    freed_bytes: int

    @property
    def is_dropped(self) -> bool:
        """Whether it goes, or has gone."""
        return not self.blockers


@dataclass(frozen=True, slots=True)
class Rules:
    """By what partitions are judged.

    Attributes:
        as_of: instant from which age is counted back, aware UTC.
        now: instant that restored days are judged by, and that is written into the log, aware UTC.
        downstream: what is computed from which table.
    """

    as_of: datetime
    now: datetime
    downstream: tuple[Downstream, ...]

    def values(self, partition: Partition) -> dict[str, object]:
        """Parameters of the statements about one partition."""
        return {
            "table_name": partition.table,
            "start": partition.start,
            "end": partition.end,
            "as_of": self.as_of,
            "now": self.now,
            "is_archived": partition.table == RAW_SAMPLES,
            "downstream": json.dumps(
                [
                    {
                        "table_name": item.table,
                        "window_seconds": int(item.window.total_seconds()),
                        "reach": item.reach,
                    }
                    for item in self.downstream
                    if item.source == partition.table
                ]
            ),
        }


def partitions_of(connection: psycopg.Connection, table: str) -> list[Partition]:
    """Partitions of `table`, oldest first; none when it is not partitioned or not there."""
    rows = connection.execute(_query("select_partitions"), {"table_name": table}).fetchall()
    return [Partition(table, *row) for row in rows]


def blockers_of(
    connection: psycopg.Connection, partition: Partition, rules: Rules
) -> tuple[Blocker, ...]:
    """Why a partition must stay; empty when it may be dropped."""
    rows = connection.execute(_query("select_blockers"), rules.values(partition)).fetchall()
    return tuple(Blocker(*row) for row in rows)


def drop_partition(
    postgres: Database,
    partition: Partition,
    rules: Rules,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Drop a partition if nothing speaks against it, in a transaction of its own.

    The lock is waited for in short attempts, and not at all behind a long transaction: readers and
    writers of the table never wait longer than one attempt.

    Args:
        postgres: the data database.
        partition: which.
        rules: by what it is judged, again, under the lock.
        pause: called with the seconds between two attempts.

    Raises:
        psycopg.Error: the database was away, or refused; nothing was dropped.
    """
    row_count = _count_rows(postgres, partition)
    held = Blocker("locked", "its lock was not to be had")
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * SystemRandom().uniform(0.75, 1.25))
        with postgres.connect() as connection:
            holder = _holder(connection, partition)
        if holder is not None:
            held = holder
            continue
        try:
            return _drop(postgres, partition, rules, row_count=row_count)
        except (LockHeld, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            held = Blocker("locked", "others held its lock at each attempt")
    return Verdict(partition, (held,), partition.row_estimate, partition.size_bytes)


def table_sizes(
    connection: psycopg.Connection, tables: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Rows (by the statistics) and bytes of tables without partitions that are there, by table."""
    rows = connection.execute(
        _query("select_table_sizes"), {"table_names": list(tables)}
    ).fetchall()
    return {table: (row_estimate, size_bytes) for table, row_estimate, size_bytes in rows}


def _drop(postgres: Database, partition: Partition, rules: Rules, *, row_count: int) -> Verdict:
    """One attempt: the condition and the drop in one transaction."""
    is_raw = partition.table == RAW_SAMPLES
    with postgres.connect() as connection:
        if is_raw:
            lock_day(connection, partition.start.date())
            lock_partition(connection, partition.start.date())
        values = rules.values(partition) | {"row_count": row_count}
        rows = connection.execute(_query("drop_partition"), values).fetchall()
        is_dropped = rows[0][0] == "dropped"
        if is_dropped and is_raw:
            record_pruned(connection, partition.start.date(), pruned_at=rules.now)
    if is_dropped:
        return Verdict(partition, (), row_count, rows[0][2])
    blockers = tuple(Blocker(reason, detail) for reason, detail, _ in rows)
    return Verdict(partition, blockers, partition.row_estimate, partition.size_bytes)


def _count_rows(postgres: Database, partition: Partition) -> int:
    """Rows of a partition that is going to be dropped, before it is locked."""
    with postgres.connect() as connection:
        column = connection.execute(
            _query("time_column"), {"table_name": partition.table}
        ).fetchone()
        if column is None:
            return 0
        statement = sql.SQL(load_query("retention", "count_rows")).format(
            table=sql.Identifier(*partition.table.split(".")), column=sql.Identifier(column[0])
        )
        row = connection.execute(
            statement, {"start": partition.start, "end": partition.end}
        ).fetchone()
    return 0 if row is None else int(row[0])


def _holder(connection: psycopg.Connection, partition: Partition) -> Blocker | None:
    """A long transaction that holds a lock on the partition or its parent; None when none does."""
    row = connection.execute(
        _query("select_holders"),
        {
            "table_name": partition.table,
            "start": partition.start,
            "seconds": LONG_HELD_SECONDS,
        },
    ).fetchone()
    if row is None:
        return None
    pid, application, since = row
    return Blocker(
        "locked", f"in use by session {pid} ({application}) since {since:%Y-%m-%d %H:%M:%S} UTC"
    )


def delete_expired_rows(
    postgres: Database, name: str, values: dict[str, object], *, batches: int
) -> int:
    """Delete rows by sql/queries/retention/<name>.sql, a batch per transaction; how many went.

    The statement deletes at most `batch` rows (10,000) each time; what is left after `batches` of
    them goes with the next run.
    """
    deleted = 0
    for _ in range(batches):
        with postgres.connect() as connection:
            count = connection.execute(_query(name), values | {"batch": DELETE_BATCH_ROWS}).rowcount
        deleted += count
        if count < DELETE_BATCH_ROWS:
            break
    return deleted


DELETE_BATCH_ROWS = 10_000
"""Rows deleted in one transaction: under a second, and locks that nobody notices."""


def _query(name: str) -> bytes:
    """Text of sql/queries/retention/<name>.sql."""
    return load_query("retention", name).encode()
