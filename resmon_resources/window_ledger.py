"""The window ledger: revisions of raw hours, and what each computed window was computed from.

Belongs here: the statements over ops.raw_hour and ops.window_state, for windows of one UTC hour or
one UTC day. Decides nothing about when to compute. All times are aware UTC; windows are half-open;
nothing here commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg
from psycopg.rows import class_row

from resmon_resources.postgres_connection import load_query

Reach = Literal["window", "month"]
"""Which raw a window is computed from: that of its own hours, or all since the UTC month began."""

Reason = Literal["requested", "changed", "unfinished"]
"""Why a window is stale: a person asked for it, raw was written since, buckets closed since."""

SLOTS = 12
"""Slots of an hour that have a revision of their own in ops.raw_hour."""

SLOT = timedelta(minutes=5)
"""Length of a slot; a slot starts at a multiple of it in UTC."""


@dataclass(frozen=True, slots=True)
class WindowState:
    """One row of ops.window_state.

    Attributes:
        asset: asset key as schema.table.
        window_start: start of the window.
        revision: sum of the raw revisions of its hours that the rows were computed from.
        computed_at: when.
        complete_until: end of the last closed bucket that was written.
        is_red: a blocking check failed on it.
        row_count: rows written.
        sample_count: raw rows they were computed from.
        slot_revisions: of each five-minute slot of the hour, that the rows were computed from; None
            when the window is not computed by slots.
        slot_samples: raw rows of each slot; None together with the former.
    """

    asset: str
    window_start: datetime
    revision: int
    computed_at: datetime
    complete_until: datetime
    is_red: bool
    row_count: int
    sample_count: int
    slot_revisions: list[int] | None = None
    slot_samples: list[int] | None = None


@dataclass(frozen=True, slots=True)
class StaleWindow:
    """A window that is not held in its current form.

    Attributes:
        start: its start.
        reason: why it is stale.
        revision: of raw in its reach, now; 0 when raw was never written to.
        computed_at: when it was computed last; None if never.
        attempts: runs that left it stale: requested since then, or at this revision.
        attempted_at: when the last of them was requested.
        is_refused: its raw was pruned, or a run refused it for that and raw was not written since.
    """

    start: datetime
    reason: Reason
    revision: int
    computed_at: datetime | None = None
    attempts: int = 0
    attempted_at: datetime | None = None
    is_refused: bool = False


def current_revisions(
    connection: psycopg.Connection, start: datetime, end: datetime
) -> dict[datetime, int]:
    """Revision of each UTC hour in [start, end) that was ever written, summed over its shards.

    Call it in the snapshot that the raw rows are read in.
    """
    rows = connection.execute(
        _query("select_current_revisions"), {"start": start, "end": end}
    ).fetchall()
    return dict(rows)


def slot_revisions(connection: psycopg.Connection, hour: datetime) -> list[int]:
    """Revision of each five-minute slot of a UTC hour, summed over its shards; 0 if never written.

    Call it in the snapshot that the raw rows are read in.
    """
    row = connection.execute(_query("select_slot_revisions"), {"hour": hour}).fetchone()
    return [0] * SLOTS if row is None else list(row[0])


def window_states(
    connection: psycopg.Connection, asset: str, start: datetime, end: datetime
) -> dict[datetime, WindowState]:
    """State of each computed window of `asset` that starts in [start, end), by its start."""
    with connection.cursor(row_factory=class_row(WindowState)) as cursor:
        cursor.execute(_query("select_window_states"), {"asset": asset, "start": start, "end": end})
        return {state.window_start: state for state in cursor}


def has_later_window(connection: psycopg.Connection, asset: str, window_start: datetime) -> bool:
    """Whether a window of `asset` after this one is recorded."""
    values = {"asset": asset, "start": window_start}
    row = connection.execute(_query("has_later_window"), values).fetchone()
    return row is not None and bool(row[0])


def record_window(
    connection: psycopg.Connection,
    asset: str,
    window_start: datetime,
    *,
    revision: int,
    computed_at: datetime,
    complete_until: datetime,
    row_count: int,
    sample_count: int,
    slot_revisions: Sequence[int] | None = None,
    slot_samples: Sequence[int] | None = None,
) -> bool:
    """Store what a window was computed from; False when a newer state is stored: keep its rows.

    Newer means: a higher revision, or more closed buckets. Call it before the rows are replaced, in
    the same transaction, under `advisory_lock(connection, asset, <window>)`. A recorded window is
    green until marked red.
    """
    values: Mapping[str, object] = {
        "asset": asset,
        "window_start": window_start,
        "revision": revision,
        "computed_at": computed_at,
        "complete_until": complete_until,
        "row_count": row_count,
        "sample_count": sample_count,
        "slot_revisions": None if slot_revisions is None else list(slot_revisions),
        "slot_samples": None if slot_samples is None else list(slot_samples),
    }
    return connection.execute(_query("upsert_window_state"), values).fetchone() is not None


def mark_red(
    connection: psycopg.Connection, asset: str, window_start: datetime, *, is_red: bool
) -> bool:
    """Mark a window red (assets downstream refuse it) or green; False if never computed."""
    values = {"asset": asset, "window_start": window_start, "is_red": is_red}
    return connection.execute(_query("update_window_red"), values).rowcount == 1


def stale_windows(
    connection: psycopg.Connection,
    asset: str,
    start: datetime,
    end: datetime,
    *,
    closed_until: datetime,
    window: timedelta,
    reach: Reach = "window",
    source: str | None = None,
    is_from_samples: bool = True,
) -> list[StaleWindow]:
    """Windows starting in [start, end) that `asset` must compute (again), oldest first.

    Windows without raw count while a server was active in them, so that their empty buckets get
    rows. Windows that begin at or after `closed_until` have nothing to compute.

    Args:
        connection: to the data database.
        asset: asset key as schema.table.
        start: aware UTC.
        end: aware UTC.
        closed_until: end of the asset's last closed bucket.
        window: length of its windows, an hour or a day.
        reach: which raw a window is computed from: its own hours, or all from the start of the UTC
            month to its end.
        source: asset whose windows, of an hour, it is computed from; None means from raw.
        is_from_samples: it is computed from raw samples, so that days without them are refused.
    """
    values = {
        "asset": asset,
        "start": start,
        "end": end,
        "closed_until": closed_until,
        "width": window,
        "is_month": reach == "month",
        "source": source,
        "is_from_samples": is_from_samples,
    }
    with connection.cursor(row_factory=class_row(StaleWindow)) as cursor:
        return cursor.execute(_query("select_stale_windows"), values).fetchall()


def _query(name: str) -> bytes:
    """Text of sql/queries/ops/<name>.sql."""
    return load_query("ops", name).encode()
