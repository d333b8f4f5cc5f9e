"""Days of raw: what was archived, pruned and restored, and what came too late (ops.raw_day).

Belongs here: the statements over ops.raw_day and the lock of a day. Decides nothing about when to
archive or prune. Days are UTC days; all times are aware UTC; nothing here commits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import psycopg
from psycopg.rows import class_row

from resmon_resources.postgres_connection import advisory_lock, load_query

KEEP_DAYS = 3
"""A restored day is kept so long unless told otherwise: time to recompute and to look."""

MAXIMUM_KEEP_DAYS = 3650


@dataclass(frozen=True, slots=True)
class RawDay:
    """One row of ops.raw_day.

    Attributes:
        day: the UTC day.
        archived_at: when its archive was last written and verified; None when it was not.
        archived_revision: sum of the raw revisions of its hours that the archive was written from.
        archived_rows: rows in the archive.
        archived_bytes: bytes of its Parquet files.
        pruned_at: when it was dropped from raw; None while it is there.
        restored_at: when it was restored; None when it was not, or was pruned again since.
        kept_until: a restored day is not pruned before.
        too_late_rows: rows that came after it was pruned and wait outside the database.
    """

    day: date
    archived_at: datetime | None
    archived_revision: int | None
    archived_rows: int | None
    archived_bytes: int | None
    pruned_at: datetime | None
    restored_at: datetime | None
    kept_until: datetime | None
    too_late_rows: int


def day_start(day: date) -> datetime:
    """First instant of a UTC day."""
    return datetime.combine(day, time(), tzinfo=UTC)


def lock_day(connection: psycopg.Connection, day: date) -> None:
    """Wait until nobody else archives, restores or prunes this day; held until commit."""
    advisory_lock(connection, "ops.raw_day", day.isoformat())


def raw_days(connection: psycopg.Connection, first: date, last: date) -> dict[date, RawDay]:
    """Rows of the days `first` to `last` (inclusive), by day; a day without a row is left out."""
    with connection.cursor(row_factory=class_row(RawDay)) as cursor:
        cursor.execute(_query("select_raw_days"), {"first": first, "last": last})
        return {row.day: row for row in cursor}


def unarchived_days(connection: psycopg.Connection, *, now: datetime) -> list[date]:
    """Days that are over and whose archive is missing or older than raw, oldest first.

    Days that retention dropped are not among them: their archive is what there is.
    """
    return [day for (day,) in connection.execute(_query("select_unarchived_days"), {"now": now})]


def record_archived(
    connection: psycopg.Connection,
    day: date,
    *,
    archived_at: datetime,
    revision: int,
    row_count: int,
    byte_count: int,
) -> None:
    """Store that the archive of a day holds `row_count` rows of raw's `revision`."""
    values: Mapping[str, object] = {
        "day": day,
        "archived_at": archived_at,
        "revision": revision,
        "row_count": row_count,
        "byte_count": byte_count,
    }
    connection.execute(_query("upsert_raw_day_archived"), values)


def record_pruned(connection: psycopg.Connection, day: date, *, pruned_at: datetime) -> None:
    """Store that a day was dropped from raw; call it in the transaction that drops it."""
    connection.execute(_query("upsert_raw_day_pruned"), {"day": day, "pruned_at": pruned_at})


def record_restored(
    connection: psycopg.Connection, day: date, *, restored_at: datetime, kept_until: datetime
) -> None:
    """Store that a day is back in raw until `kept_until`, or until what an earlier restore said."""
    values = {"day": day, "restored_at": restored_at, "kept_until": kept_until}
    connection.execute(_query("upsert_raw_day_restored"), values)


def add_too_late_rows(connection: psycopg.Connection, day: date, row_count: int) -> None:
    """Count rows that came for a pruned day; a negative number when they were taken in."""
    connection.execute(_query("add_too_late_rows"), {"day": day, "row_count": row_count})


def _query(name: str) -> bytes:
    """Text of sql/queries/ops/<name>.sql."""
    return load_query("ops", name).encode()
