"""Rows that come for a day that retention dropped from raw: kept apart, counted, taken in later.

Belongs here: telling such rows from the others, keeping them in raw.too_late_samples and
raw.too_late_filesystem_usage, and moving them into raw once their day was restored. Until then they
are no part of any statistics, and the ledger does not know of them: nothing becomes stale that
could not be computed. docs/decisions/0012-retention.md has the reasons.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.raw_days import add_too_late_rows, day_start
from resmon_resources.retention_policy import CATCH_UP_HORIZON, RAW_FILE_SYSTEMS
from resmon_resources.sample_store import FileSystemUsage, Sample, ensure_raw_partitions


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of the rows that waited for a day.

    Attributes:
        moved: rows that waited.
        inserted: of these, rows that raw did not have.
    """

    moved: int
    inserted: int


@dataclass(frozen=True, slots=True)
class WaitingDay:
    """A day with rows that came too late, or that is back for a while.

    Attributes:
        day: the UTC day.
        pruned_at: when it was dropped from raw; None when it is there.
        kept_until: a restored day is not dropped before.
        too_late_rows: rows that wait for it.
    """

    day: date
    pruned_at: datetime | None
    kept_until: datetime | None
    too_late_rows: int


def pruned_days(
    connection: psycopg.Connection[Any], instants: Iterable[datetime], *, now: datetime
) -> frozenset[date]:
    """UTC days of `instants` that were dropped from raw and are not back.

    Asks the database only about days that may have been: raw is never kept for less than the
    catch-up horizon, and a collector commits every second.
    """
    limit = now - CATCH_UP_HORIZON
    days = {instant.astimezone(UTC).date() for instant in instants if instant < limit}
    if not days:
        return frozenset()
    rows = connection.execute(
        load_query("retention", "select_pruned_days"), {"days": sorted(days)}
    ).fetchall()
    return frozenset(day for (day,) in rows)


def ensure_unless_pruned(connection: psycopg.Connection[Any], day: date, *, now: datetime) -> None:
    """Make the partitions of raw for a day, unless retention dropped it: then nothing is made.

    Under the lock that a drop takes too: a day that is dropped at this moment does not come back
    empty, with a few late rows that would stand for all of it.
    """
    start = day_start(day)
    with connection.transaction():
        lock_partition(connection, day)
        if not pruned_days(connection, [start], now=now):
            ensure_raw_partitions(connection, start=start, end=start)


def lock_partition(connection: psycopg.Connection[Any], day: date) -> None:
    """Exclude those who make and those who drop raw's partitions of a day, for a moment.

    Not `raw_days.lock_day`, which is held as long as a day is archived or restored.
    """
    advisory_lock(connection, "raw partitions", day.isoformat())


def keep_too_late(
    connection: psycopg.Connection[Any],
    rows: Sequence[Sample | FileSystemUsage],
    *,
    now: datetime,
) -> int:
    """Keep rows of pruned days until these are restored, in one transaction; how many were new.

    May be repeated: a row that is kept already is not counted twice.
    """
    kept = 0
    with connection.transaction():
        for kind, name in (
            (Sample, "insert_too_late_samples"),
            (FileSystemUsage, "insert_too_late_file_systems"),
        ):
            chosen = [asdict(row) for row in rows if isinstance(row, kind)]
            if not chosen:
                continue
            text = json.dumps(chosen, default=_instant_text)
            counts = connection.execute(
                load_query("retention", name), {"rows": text, "now": now}
            ).fetchall()
            for day, count in counts:
                add_too_late_rows(connection, day, count)
                kept += count
    return kept


def take_in(connection: psycopg.Connection[Any], day: date, *, shard: int = 0) -> TakenIn:
    """Move the rows that wait for a day into raw, and bump the ledger of the hours that grew.

    Call it in the transaction that restored the day, under `raw_days.lock_day`. File systems of a
    day that retention dropped from raw.filesystem_usage keep waiting: they are not archived, and a
    few late rows alone would stand for a whole day.
    """
    start = day_start(day)
    window = {"start": start, "end": start + timedelta(days=1)}
    moved = inserted = 0
    hours: set[datetime] = set()
    for name in _take_in_queries(connection, start):
        row = connection.execute(load_query("retention", name), window).fetchone()
        if row is not None:
            moved += row[0]
            inserted += row[1]
            hours |= set(row[2])
    for hour in sorted(hours):
        connection.execute("select ops.bump_raw_hour(%s, %s)", (hour, shard))
    if moved:
        add_too_late_rows(connection, day, -moved)
    return TakenIn(moved, inserted)


def waiting_days(connection: psycopg.Connection[Any], *, now: datetime) -> list[WaitingDay]:
    """Days with rows that came too late, and restored days that are kept for now; oldest first."""
    rows = connection.execute(
        load_query("retention", "select_waiting_days"), {"now": now}
    ).fetchall()
    return [WaitingDay(*row) for row in rows]


def _take_in_queries(connection: psycopg.Connection[Any], start: datetime) -> list[str]:
    """Statements for a day; makes the partition of file systems unless retention dropped it."""
    row = connection.execute(
        load_query("retention", "is_pruned"), {"table_name": RAW_FILE_SYSTEMS, "start": start}
    ).fetchone()
    if row is not None and row[0]:
        return ["take_in_samples"]
    connection.execute(
        "select ops.ensure_partitions(%s, 'day', %s, %s)",
        (RAW_FILE_SYSTEMS, start, start + timedelta(days=1)),
    )
    return ["take_in_samples", "take_in_file_systems"]


def _instant_text(value: object) -> str:
    """An instant for PostgreSQL; nothing else of a row needs a form of its own."""
    if isinstance(value, datetime):
        return value.isoformat()
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)
