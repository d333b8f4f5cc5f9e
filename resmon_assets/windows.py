"""Tables of computed windows: what such a table is, and how a window of it is stored.

Belongs here: what all tables have in common that are computed from raw in windows of one UTC hour
or day and recorded in the ledger (ops.window_state): reading what is stored, writing what differs,
refusing what must not be replaced or read. Knows no stage, no metric and no Dagster; what an asset
does with the windows of its run is in `window_runs.py`.

A stage computes rows in one `postgres.snapshot()`, with the revision read in the same snapshot, and
hands both to `store_window`. A table whose buckets lie within five-minute slots may be computed in
part: `plan_window` says which slots changed or closed since the stored rows were computed, and
`store_window` is given a `Part` then. Why, and what was measured: docs/decisions/0007-windows.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from resmon_assets.frames import Column, schema_of
from resmon_resources.catch_up_ledger import is_requested
from resmon_resources.errors import RawGone, WindowChanged, WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.postgres_frames import Snapshot, copy_frame
from resmon_resources.window_ledger import (
    SLOT,
    SLOTS,
    WindowState,
    current_revisions,
    has_later_window,
    record_window,
    slot_revisions,
    window_states,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WindowTable:
    """A table whose rows are computed and recorded by windows.

    Attributes:
        name: `schema.table`, which also names the asset in the ledger.
        columns: as in the database, in its order; the time column is `bucket_start` (UTC).
        key: names of the primary key.
        width: length of the half-open buckets [start, start + width); divides `window`.
        window: length of a partition: what is computed and recorded at a time, an hour or a day.
        storage: width of a physical partition: day, week, month or year.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    width: timedelta
    window: timedelta
    storage: str

    @property
    def identifier(self) -> sql.Identifier:
        """The table's name, quoted."""
        return sql.Identifier(*self.name.split("."))

    @property
    def schema(self) -> pl.Schema:
        """Schema of its rows in polars."""
        return schema_of(self.columns)

    @property
    def has_slots(self) -> bool:
        """Whether each bucket lies within one five-minute slot of the window, an hour."""
        return self.window == SLOTS * SLOT and SLOT % self.width == timedelta(0)

    def closed_until(self, start: datetime, *, now: datetime) -> datetime:
        """End of the window's last bucket that is over at `now`; `start` when none is."""
        passed = (now - _EPOCH) // self.width * self.width
        return max(start, min(start + self.window, _EPOCH + passed))


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a window is to be computed, and from which state of raw.

    Attributes:
        revision: of raw, in the snapshot that the plan was made in.
        ranges: half-open stretches of time to compute, in order, apart from each other.
        slots: numbers of the slots that these are; None when the window is not computed by slots.
        slot_revisions: of all slots of the hour, in that snapshot; empty without slots.
        slot_samples: raw rows that the stored rows of each slot were computed from.
    """

    revision: int
    ranges: tuple[tuple[datetime, datetime], ...]
    slots: tuple[int, ...] | None = None
    slot_revisions: tuple[int, ...] = ()
    slot_samples: tuple[int, ...] = ()

    def part(self, counted: Mapping[int, int]) -> "Part | None":
        """What `store_window` needs to know of the slots; None without slots.

        Args:
            counted: raw rows by number of the slot, in the ranges.
        """
        if self.slots is None:
            return None
        samples = list(self.slot_samples)
        for slot in self.slots:
            samples[slot] = counted.get(slot, 0)
        return Part(self.slots, self.slot_revisions, tuple(samples))


@dataclass(frozen=True, slots=True)
class Part:
    """Slots of a window whose rows were computed; those of the others stay as stored.

    Attributes:
        slots: their numbers.
        revisions: of all slots of the hour, in the snapshot of the computation.
        samples: raw rows of all slots: counted there, and for the others as stored.
    """

    slots: tuple[int, ...]
    revisions: tuple[int, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a window's transaction did and left behind.

    Attributes:
        new: rows inserted.
        changed: rows that had other values.
        deleted: rows that the computation no longer gives.
        stored_rows: rows of the window afterwards, as PostgreSQL counts them.
        totals: further figures of these rows, from the statement that the caller gave.
        row_count: rows that it should have: those computed, and those of the other slots.
    """

    new: int
    changed: int
    deleted: int
    stored_rows: int
    totals: Mapping[str, int] = field(default_factory=dict)
    row_count: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one window. Holds figures only, so that a run may keep hundreds of them.

    Attributes:
        start: its start.
        closed_until: end of its last closed bucket; `start` when none is closed, and nothing was
            done.
        is_complete: whether all of its buckets are closed.
        revision: of raw, that it was computed from; None when no bucket is closed.
        sample_count: raw rows that it was computed from.
        row_count: rows that the window should have then.
        buckets_computed: buckets that were computed; fewer than are closed when only a part was.
        samples_read: raw rows that these were computed from.
        server_count: servers that have samples in these.
        stored: what was written; None when a newer state was stored, which was kept.
    """

    start: datetime
    closed_until: datetime
    is_complete: bool
    revision: int | None = None
    sample_count: int = 0
    row_count: int = 0
    buckets_computed: int = 0
    samples_read: int = 0
    server_count: int = 0
    stored: Stored | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What must be written so that a window's stored rows become the computed ones.

    Attributes:
        new: computed rows whose key is not stored.
        changed: computed rows whose key is stored with other values.
        vanished: keys of stored rows that were not computed.
    """

    new: pl.DataFrame
    changed: pl.DataFrame
    vanished: pl.DataFrame


def raw_revision(connection: psycopg.Connection, *, start: datetime, end: datetime) -> int:
    """Revision of raw in [start, end): the sum over its hours, 0 if never written.

    Call it in the snapshot that the rows are computed from.
    """
    return sum(current_revisions(connection, start, end).values())


def plan_window(
    connection: psycopg.Connection,
    table: WindowTable,
    *,
    start: datetime,
    closed_until: datetime,
    is_whole: bool = False,
) -> Plan:
    """Find out what of a window must be computed: the slots that changed or closed since.

    All of it when the table has no slots, when the stored state knows none or is red, when a person
    asked for it, and when it is current: whoever runs a window that is not stale wants it again.

    Args:
        connection: the one of the snapshot that raw will be read in.
        table: what is computed.
        start: the window's.
        closed_until: end of its last closed bucket.
        is_whole: ask for all of it.
    """
    revision = raw_revision(connection, start=start, end=start + table.window)
    if not table.has_slots:
        return Plan(revision, ranges=((start, closed_until),))
    revisions = slot_revisions(connection, start)
    state = _state(connection, table, start)
    slots = stale_slots(state, revisions, start=start, closed_until=closed_until)
    known = None if state is None else state.slot_samples
    if is_whole or not slots or known is None or is_requested(connection, table.name, start):
        slots = list(range(-((start - closed_until) // SLOT)))
        known = [0] * SLOTS
    return Plan(
        revision,
        ranges=slot_ranges(slots, start=start, closed_until=closed_until),
        slots=tuple(slots),
        slot_revisions=tuple(revisions),
        slot_samples=tuple(known),
    )


def stale_slots(
    state: WindowState | None, revisions: Sequence[int], *, start: datetime, closed_until: datetime
) -> list[int]:
    """Slots of an hour with closed buckets that the stored rows do not hold in their current form.

    Args:
        state: what the stored rows were computed from.
        revisions: of the slots now.
        start: the hour's.
        closed_until: end of the last closed bucket.

    Returns:
        Their numbers in order; none when nothing is known of the slots, or the rows are red.
    """
    if state is None or state.slot_revisions is None or state.is_red:
        return []
    return [
        slot
        for slot in range(SLOTS)
        if start + slot * SLOT < closed_until
        and (
            revisions[slot] != state.slot_revisions[slot]
            or state.complete_until < min(start + (slot + 1) * SLOT, closed_until)
        )
    ]


def slot_ranges(
    slots: Sequence[int], *, start: datetime, closed_until: datetime
) -> tuple[tuple[datetime, datetime], ...]:
    """Fold slots (in order) into half-open stretches of time, cut at `closed_until`."""
    ranges: list[tuple[datetime, datetime]] = []
    for slot in slots:
        begin, end = start + slot * SLOT, min(start + (slot + 1) * SLOT, closed_until)
        if ranges and ranges[-1][1] == begin:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((begin, end))
    return tuple(ranges)


def store_window(
    postgres: PostgresResource,
    table: WindowTable,
    rows: pl.DataFrame,
    *,
    revision: int,
    sample_count: int,
    start: datetime,
    closed_until: datetime,
    now: datetime,
    totals: str | None = None,
    part: Part | None = None,
    on_newest: Callable[[psycopg.Connection, Stored], object] | None = None,
) -> Stored | None:
    """Store the rows of a window and what they were computed from, in one transaction.

    Repeatable: only rows that differ are touched. Holds the lock of the table and window, so that
    of two runs one waits; the one that computed from less than is stored leaves it alone.

    Args:
        postgres: the data database.
        table: where to.
        rows: all rows of [start, closed_until), with the table's columns in their order, unique by
            its key; with a `part`, all rows of its slots.
        revision: of raw, from the snapshot that the rows were computed from.
        sample_count: raw rows in that snapshot, of the whole window.
        start: the window's.
        closed_until: end of its last closed bucket.
        now: recorded as the time of computation.
        totals: statement on {table}, %(start)s and %(end)s that gives one row of integers by name,
            among them `stored_rows`; asked in the same transaction, after the rows were written.
        part: which slots were computed; None when all of the window was, and slots are not kept.
        on_newest: called in the same transaction, after the rows were written, when the table has
            no later window: what its rows say is what holds now. Is given what was done.

    Returns:
        What was done; None when the stored state is newer, which is then kept untouched.

    Raises:
        WindowRefused: the stored rows were computed from more samples than raw has now.
        WindowChanged: the rows of the other slots are not those that the part goes with.
    """
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
            (table.name, table.storage, start, closed_until),
        )
    ranges: tuple[tuple[datetime, datetime], ...] = ((start, closed_until),)
    if part is not None:
        ranges = slot_ranges(part.slots, start=start, closed_until=closed_until)
    with postgres.connect() as connection:
        advisory_lock(connection, table.name, start.isoformat())
        state = _state(connection, table, start)
        _refuse_less(table, state, revision, sample_count, start=start, closed_until=closed_until)
        if part is not None:
            _refuse_other_basis(table, state, part, start=start, closed_until=closed_until)
        # Opened under the lock: it sees what the last holder committed, and nobody else writes.
        with postgres.snapshot() as snapshot:
            stored = pl.concat(read_stored(snapshot, table, start=a, end=b) for a, b in ranges)
        is_all = ranges == ((start, closed_until),)
        others = 0 if is_all or state is None else state.row_count - stored.height
        is_recorded = record_window(
            connection,
            table.name,
            start,
            revision=revision,
            computed_at=now,
            complete_until=closed_until,
            row_count=others + rows.height,
            sample_count=sample_count,
            slot_revisions=None if part is None else part.revisions,
            slot_samples=None if part is None else part.samples,
        )
        if not is_recorded:
            return None
        difference = compare_rows(stored, rows, key=table.key)
        _replace_rows(connection, table, difference, start=start, end=closed_until)
        figures = _totals(connection, table, totals, start=start, end=closed_until)
        done = Stored(
            new=difference.new.height,
            changed=difference.changed.height,
            deleted=difference.vanished.height,
            stored_rows=figures.pop("stored_rows"),
            row_count=others + rows.height,
            totals=figures,
        )
        if on_newest is not None and not has_later_window(connection, table.name, start):
            on_newest(connection, done)
    return done


def read_stored(
    snapshot: Snapshot, table: WindowTable, *, start: datetime, end: datetime
) -> pl.DataFrame:
    """Stored rows of [start, end), with the table's schema, in no order."""
    query = _statement(load_query("window", "read_rows"), table).as_string(snapshot.connection)
    return snapshot.read_frame(query, {"start": start, "end": end}, table.schema)


def compare_rows(stored: pl.DataFrame, computed: pl.DataFrame, *, key: Sequence[str]) -> Difference:
    """Find what must be written so that `stored` becomes `computed`; a null equals a null.

    Compared here and not in PostgreSQL: refreshing the running hour of 10,000 servers would COPY
    all its 600,000 rows to find that 550,000 of them are the same (5 times as long, 2 cores).

    Args:
        stored: rows of a table, unique by `key`.
        computed: the same columns.
        key: names of columns that are never null.
    """
    names = [name for name in computed.columns if name not in key]
    paired = computed.join(
        stored.with_columns(pl.lit(value=True).alias("is_stored")),
        on=list(key),
        how="left",
        suffix="_stored",
        maintain_order="left",
    )
    is_stored = pl.col("is_stored").is_not_null()
    differs = pl.any_horizontal(pl.col(n).ne_missing(pl.col(f"{n}_stored")) for n in names)
    changed = paired.filter(is_stored & differs)
    return Difference(
        new=paired.filter(~is_stored).select(computed.columns),
        changed=changed.select(computed.columns),
        vanished=stored.join(computed, on=list(key), how="anti").select(key),
    )


def refuse_red(
    connection: psycopg.Connection, table_name: str, *, start: datetime, end: datetime
) -> None:
    """Refuse to read from a window that a blocking check found wrong.

    Args:
        connection: the one of the snapshot that the rows are read in.
        table_name: `schema.table` that is going to be read.
        start: aware UTC; windows of the table that start in [start, end) are looked at.
        end: aware UTC.

    Raises:
        WindowRefused: names the red windows.
    """
    states = window_states(connection, table_name, start=start, end=end)
    red = [window for window, state in sorted(states.items()) if state.is_red]
    if red:
        windows = ", ".join(f"{window:%Y-%m-%d %H:%M} UTC" for window in red)
        msg = (
            f"Reading {table_name} from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: a "
            f"blocking check marked {windows} red. Look at the failed checks of {table_name} in "
            "Dagster's UI, then compute these windows again: that clears the mark."
        )
        raise WindowRefused(msg)


def refuse_gone(
    connection: psycopg.Connection, table: WindowTable, *, start: datetime, end: datetime
) -> None:
    """Refuse to compute a whole window without samples in which samples were stored once.

    Call it when raw has no row in [start, end), the whole window, in the snapshot of the
    computation.

    Raises:
        WindowRefused: names the day that is missing.
    """
    values = {"start": start, "end": end}
    row = connection.execute(load_query("window", "had_raw_samples").encode(), values).fetchone()
    if row is not None and row[0]:
        revision = raw_revision(connection, start=start, end=end)
        raise _refusal(table, start, 0, "coverage says that samples were stored", revision)


def _state(
    connection: psycopg.Connection, table: WindowTable, start: datetime
) -> WindowState | None:
    """What the stored rows of the window at `start` were computed from, if it ever was."""
    return window_states(connection, table.name, start=start, end=start + table.window).get(start)


def _refuse_other_basis(
    table: WindowTable,
    stored: WindowState | None,
    part: Part,
    *,
    start: datetime,
    closed_until: datetime,
) -> None:
    """Raise when a part would stand beside rows of other slots that are not up to its snapshot.

    Those that another run computed meanwhile from the same revision of the slot are as good.
    """
    kept = set(range(-((start - closed_until) // SLOT))) - set(part.slots)
    if not kept:
        return
    is_same = (
        stored is not None
        and stored.slot_revisions is not None
        and kept.isdisjoint(
            stale_slots(stored, part.revisions, start=start, closed_until=closed_until)
        )
        and not stored.is_red
    )
    if not is_same:
        msg = (
            f"Storing a part of {table.name} for {start:%Y-%m-%d %H:%M} UTC: the stored rows of "
            "its other buckets were replaced, removed or marked red since the part was computed. "
            "Compute all of the window."
        )
        raise WindowChanged(msg)


def _refuse_less(
    table: WindowTable,
    stored: WindowState | None,
    revision: int,
    sample_count: int,
    *,
    start: datetime,
    closed_until: datetime,
) -> None:
    """Raise when less would replace more; an older computation is not judged here."""
    if stored is None or stored.revision > revision:
        return
    is_comparable = stored.complete_until <= closed_until or sample_count == 0
    if is_comparable and sample_count < stored.sample_count:
        what = f"its stored rows come from {stored.sample_count} samples"
        raise _refusal(table, start, sample_count, what, revision)


def _refusal(
    table: WindowTable, start: datetime, sample_count: int, what: str, revision: int
) -> RawGone:
    """The error for a window whose raw is gone or has become less."""
    return RawGone(
        f"Computing {table.name} for {start:%Y-%m-%d %H:%M} UTC: raw.server_resource_metrics has "
        f"{sample_count} samples of {start:%Y-%m-%d}, but {what}. Raw of that day was "
        "dropped by retention or by hand; the stored rows were kept. Restore the day from the "
        "archive and compute again, or leave the window out of the range.",
        revision=revision,
    )


def _replace_rows(
    connection: psycopg.Connection,
    table: WindowTable,
    difference: Difference,
    *,
    start: datetime,
    end: datetime,
) -> None:
    """Delete what is outdated, append what is new; only rows that differ are touched."""
    outdated = pl.concat([difference.changed.select(table.key), difference.vanished])
    if outdated.height:
        create = load_query("window", "create_outdated_keys")
        connection.execute(_statement(create, table))
        copy_frame(connection, "pg_temp.outdated_keys", outdated)
        connection.execute("analyze pg_temp.outdated_keys")
        delete = load_query("window", "delete_outdated_rows")
        connection.execute(_statement(delete, table), {"start": start, "end": end})
    copy_frame(connection, table.name, pl.concat([difference.new, difference.changed]))


def _totals(
    connection: psycopg.Connection,
    table: WindowTable,
    totals: str | None,
    *,
    start: datetime,
    end: datetime,
) -> dict[str, int]:
    """The figures of the rows stored in [start, end), by name."""
    query = totals or load_query("window", "count_rows")
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_statement(query, table), {"start": start, "end": end})
        return cursor.fetchone() or {}


def _statement(query: str, table: WindowTable) -> sql.Composed:
    """A statement with the table's name, columns and key in place of {table}, {columns}, {key}."""
    names = [sql.Identifier(column.name) for column in table.columns]
    keys = [sql.Identifier(name) for name in table.key]
    return sql.SQL(query).format(
        table=table.identifier,
        columns=sql.SQL(", ").join(names),
        key=sql.SQL(", ").join(keys),
        match=sql.SQL(" and ").join(
            sql.SQL("stored.{0} = outdated.{0}").format(name) for name in keys
        ),
    )
