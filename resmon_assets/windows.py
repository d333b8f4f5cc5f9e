"""Tables of computed windows: what such a table is, and how a window of it is stored.

Belongs here: what all tables have in common that are computed from raw in windows of one UTC hour
or day and recorded in the ledger (ops.window_state): reading what is stored, writing what differs,
refusing what must not be replaced or read. Knows no stage, no metric and no Dagster; what an asset
does with the windows of its run is in `window_runs.py`.

A stage computes rows in one `postgres.snapshot()`, with the revision read in the same snapshot, and
hands both to `store_window`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from resmon_assets.frames import Column, schema_of
from resmon_resources.errors import RawGone, WindowRefused
from resmon_resources.postgres import PostgresResource, Snapshot, copy_frame
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.window_ledger import (
    WindowState,
    current_revisions,
    record_window,
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

    def closed_until(self, start: datetime, *, now: datetime) -> datetime:
        """End of the window's last bucket that is over at `now`; `start` when none is."""
        passed = (now - _EPOCH) // self.width * self.width
        return max(start, min(start + self.window, _EPOCH + passed))


@dataclass(frozen=True, slots=True)
class Stored:
    """What a window's transaction did and left behind.

    Attributes:
        new: rows inserted.
        changed: rows that had other values.
        deleted: rows that the computation no longer gives.
        stored_rows: rows of the window afterwards, as PostgreSQL counts them.
        totals: further figures of these rows, from the statement that the caller gave.
    """

    new: int
    changed: int
    deleted: int
    stored_rows: int
    totals: Mapping[str, int] = field(default_factory=dict)


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
        row_count: rows that were computed.
        server_count: servers that have samples.
        stored: what was written; None when a newer state was stored, which was kept.
    """

    start: datetime
    closed_until: datetime
    is_complete: bool
    revision: int | None = None
    sample_count: int = 0
    row_count: int = 0
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
) -> Stored | None:
    """Store the rows of a window and what they were computed from, in one transaction.

    Repeatable: only rows that differ are touched. Holds the lock of the table and window, so that
    of two runs one waits; the one that computed from less than is stored leaves it alone.

    Args:
        postgres: the data database.
        table: where to.
        rows: all rows of [start, closed_until), with the table's columns in their order, unique by
            its key.
        revision: of raw, from the snapshot that the rows were computed from.
        sample_count: raw rows in that snapshot.
        start: the window's.
        closed_until: end of its last closed bucket.
        now: recorded as the time of computation.
        totals: statement on {table}, %(start)s and %(end)s that gives one row of integers by name,
            among them `stored_rows`; asked in the same transaction, after the rows were written.

    Returns:
        What was done; None when the stored state is newer, which is then kept untouched.

    Raises:
        WindowRefused: the stored rows were computed from more samples than raw has now.
    """
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
            (table.name, table.storage, start, closed_until),
        )
    with postgres.connect() as connection:
        advisory_lock(connection, table.name, start.isoformat())
        state = window_states(connection, table.name, start=start, end=start + table.window).get(
            start
        )
        _refuse_less(table, state, revision, sample_count, start=start, closed_until=closed_until)
        is_recorded = record_window(
            connection,
            table.name,
            start,
            revision=revision,
            computed_at=now,
            complete_until=closed_until,
            row_count=rows.height,
            sample_count=sample_count,
        )
        if not is_recorded:
            return None
        # Opened under the lock: it sees what the last holder committed, and nobody else writes.
        with postgres.snapshot() as snapshot:
            stored = read_stored(snapshot, table, start=start, end=closed_until)
        difference = compare_rows(stored, rows, key=table.key)
        _replace_rows(connection, table, difference, start=start, end=closed_until)
        figures = _totals(connection, table, totals, start=start, end=closed_until)
    return Stored(
        new=difference.new.height,
        changed=difference.changed.height,
        deleted=difference.vanished.height,
        stored_rows=figures.pop("stored_rows"),
        totals=figures,
    )


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
