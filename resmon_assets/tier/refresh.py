"""One window of a tier: read a snapshot of raw, compute, write what differs.

Belongs here: the shell around `statistics.py` and `expectation.py`: which statements run in which
transaction. Knows no Dagster; what is reported about a window is in `assets.py` and `checks.py`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
from psycopg import sql

from resmon_assets.frames import (
    INSTANT,
    KEY,
    RAW_SAMPLES,
    TIER_INPUT,
    TIER_ROWS,
    schema_of,
)
from resmon_assets.tier.expectation import complete, expected_counts
from resmon_assets.tier.statistics import bucket_statistics
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres import PostgresResource, Snapshot, copy_frame
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.window_ledger import (
    WindowState,
    current_revisions,
    record_window,
    window_states,
)

MAXIMUM_SLICE_ROWS = 3_000_000
"""Raw rows held at a time: a whole hour of 10,000 servers is one slice, a day of them ten."""

_INPUT = schema_of(RAW_SAMPLES, only=TIER_INPUT)
_COUNTS = pl.Schema({"server_id": pl.Int32(), "sample_count": pl.Int64()})
_PERIODS = pl.Schema(
    {
        "server_id": pl.Int32(),
        "organization_id": pl.Int32(),
        "state": pl.String(),
        "interval_seconds": pl.Int16(),
        "valid_from": INSTANT,
        "valid_to": INSTANT,
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier is.

    Attributes:
        table: `schema.table`, which also names the asset in the ledger.
        width: length of a bucket.
        window: length of a partition: what is computed and recorded at a time.
        storage: width of a physical partition: day, week, month or year.
    """

    table: str
    width: timedelta
    window: timedelta
    storage: str

    @property
    def identifier(self) -> sql.Identifier:
        """The table's name, quoted."""
        return sql.Identifier(*self.table.split("."))

    def closed_until(self, start: datetime, *, now: datetime) -> datetime:
        """End of the window's last bucket that is over at `now`; `start` when none is."""
        passed = (now - _EPOCH) // self.width * self.width
        return max(start, min(start + self.window, _EPOCH + passed))


@dataclass(frozen=True, slots=True)
class Computed:
    """A window in memory.

    Attributes:
        rows: schema `frames.TIER_ROWS`.
        revision: of raw, in the snapshot that the rows were computed from.
        sample_count: raw rows in that snapshot, counted by PostgreSQL.
        server_count: servers that have samples.
        is_gone: raw had samples of this window once and has none now.
    """

    rows: pl.DataFrame
    revision: int
    sample_count: int
    server_count: int
    is_gone: bool


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


@dataclass(frozen=True, slots=True)
class Written:
    """What a window's transaction did and left behind.

    Attributes:
        new: rows inserted.
        changed: rows that had other values.
        deleted: rows that the computation no longer gives.
        stored_rows: rows of the window afterwards, as PostgreSQL counts them.
        stored_samples: sum of their sample_count.
        expected_samples: sum of their expected_count.
        arrived_samples: of the expected ones, how many came; a surplus elsewhere does not count.
    """

    new: int
    changed: int
    deleted: int
    stored_rows: int
    stored_samples: int
    expected_samples: int
    arrived_samples: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one window.

    Attributes:
        start: its start.
        closed_until: end of its last closed bucket; `start` when none is closed, and nothing was
            done.
        is_complete: whether all of its buckets are closed.
        computed: what was computed; None when no bucket is closed.
        written: what was written; None when a newer state was stored, which was kept.
    """

    start: datetime
    closed_until: datetime
    is_complete: bool
    computed: Computed | None = None
    written: Written | None = None


def refresh_window(
    postgres: PostgresResource, tier: Tier, *, start: datetime, now: datetime
) -> Outcome:
    """Compute the closed buckets of the window at `start` and store what differs.

    Repeatable: with the same raw it changes no row. Rows and the revision that they were computed
    from are written in one transaction, under a lock of the table and window, and only when the
    stored ones are not newer.

    Raises:
        WindowRefused: raw has fewer samples than the stored rows were computed from.
        SampleUnusable: a sample holds what no probe can have measured.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    end = start + tier.window
    closed_until = tier.closed_until(start, now=now)
    if closed_until == start:
        return Outcome(start=start, closed_until=start, is_complete=False)
    with postgres.snapshot() as snapshot:
        computed = compute_window(snapshot, tier, start=start, closed_until=closed_until)
    written = write_window(
        postgres, tier, computed, start=start, closed_until=closed_until, now=now
    )
    return Outcome(
        start=start,
        closed_until=closed_until,
        is_complete=closed_until == end,
        computed=computed,
        written=written,
    )


def compute_window(
    snapshot: Snapshot, tier: Tier, *, start: datetime, closed_until: datetime
) -> Computed:
    """Compute the rows of [start, closed_until) from raw, read in slices of servers.

    One snapshot serves all slices, so that they belong to one revision.
    """
    window = {"start": start, "end": closed_until}
    revision = sum(current_revisions(snapshot.connection, start, end=start + tier.window).values())
    counts = snapshot.read_frame(load_query("tier", "count_raw_samples"), window, _COUNTS)
    periods = read_periods(snapshot, start=start, end=closed_until)
    slices = server_slices(counts, limit=MAXIMUM_SLICE_ROWS)
    statistics = [
        bucket_statistics(
            read_slice(snapshot, start=start, end=closed_until, first=first, last=last),
            width=tier.width,
        )
        for first, last in slices
    ] or [bucket_statistics(_INPUT.to_frame(), width=tier.width)]
    expected = expected_counts(periods, start=start, end=closed_until, width=tier.width)
    is_over = closed_until == start + tier.window
    return Computed(
        rows=complete(pl.concat(statistics), expected),
        revision=revision,
        sample_count=int(counts["sample_count"].sum()),
        server_count=counts.height,
        is_gone=is_over and counts.is_empty() and _had_samples(snapshot.connection, window),
    )


def read_slice(
    snapshot: Snapshot, *, start: datetime, end: datetime, first: int, last: int
) -> pl.DataFrame:
    """Raw samples of [start, end) of the servers `first` to `last`, columns `frames.TIER_INPUT`."""
    values = {"start": start, "end": end, "first": first, "last": last}
    return snapshot.read_frame(load_query("tier", "read_raw_samples"), values, _INPUT)


def read_periods(snapshot: Snapshot, *, start: datetime, end: datetime) -> pl.DataFrame:
    """Rows of inventory.server_period that touch [start, end), cut to it."""
    values = {"start": start, "end": end}
    return snapshot.read_frame(load_query("tier", "read_server_periods"), values, _PERIODS)


def server_slices(counts: pl.DataFrame, *, limit: int) -> list[tuple[int, int]]:
    """Cut servers into ranges [first, last] of ids with at most `limit` samples each.

    Args:
        counts: server_id, sample_count; sorted by server_id.
        limit: samples per range; a single server may have more.
    """
    slices: list[tuple[int, int]] = []
    held = 0
    for server, count in counts.iter_rows():
        if slices and held + count <= limit:
            slices[-1] = (slices[-1][0], server)
            held += count
        else:
            slices.append((server, server))
            held = count
    return slices


def write_window(
    postgres: PostgresResource,
    tier: Tier,
    computed: Computed,
    *,
    start: datetime,
    closed_until: datetime,
    now: datetime,
) -> Written | None:
    """Store the rows of a window and what they were computed from, in one transaction.

    Returns:
        What was done; None when the stored state is newer, which is then kept untouched.

    Raises:
        WindowRefused: the stored rows were computed from more samples than raw has now.
    """
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
            (tier.table, tier.storage, start, closed_until),
        )
    end = start + tier.window
    with postgres.connect() as connection:
        advisory_lock(connection, tier.table, start.isoformat())
        state = window_states(connection, tier.table, start=start, end=end).get(start)
        _refuse_less(tier, computed, state, start=start, closed_until=closed_until)
        is_recorded = record_window(
            connection,
            tier.table,
            start,
            revision=computed.revision,
            computed_at=now,
            complete_until=closed_until,
            row_count=computed.rows.height,
            sample_count=computed.sample_count,
        )
        if not is_recorded:
            return None
        # Opened under the lock: it sees what the last holder committed, and nobody else writes.
        with postgres.snapshot() as snapshot:
            stored = read_window(snapshot, tier, start=start, end=closed_until)
        difference = compare_rows(stored, computed.rows)
        return _replace_rows(connection, tier, difference, start=start, end=closed_until)


def read_window(snapshot: Snapshot, tier: Tier, *, start: datetime, end: datetime) -> pl.DataFrame:
    """Stored rows of [start, end), schema `frames.TIER_ROWS`, in no order."""
    query = _statement("read_rows", tier).as_string(snapshot.connection)
    return snapshot.read_frame(query, {"start": start, "end": end}, schema_of(TIER_ROWS))


def compare_rows(stored: pl.DataFrame, computed: pl.DataFrame) -> Difference:
    """Find what must be written so that `stored` becomes `computed`; a null equals a null.

    Compared here and not in PostgreSQL: refreshing the running hour of 10,000 servers would COPY
    all its 600,000 rows to find that 550,000 of them are the same (5 times as long, 2 cores).

    Args:
        stored: rows with the schema `frames.TIER_ROWS`, unique by `frames.KEY`.
        computed: the same.
    """
    names = [name for name in computed.columns if name not in KEY]
    paired = computed.join(
        stored.with_columns(pl.lit(value=True).alias("is_stored")),
        on=KEY,
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
        vanished=stored.join(computed, on=KEY, how="anti").select(KEY),
    )


def _replace_rows(
    connection: psycopg.Connection,
    tier: Tier,
    difference: Difference,
    *,
    start: datetime,
    end: datetime,
) -> Written:
    """Delete what is outdated, append what is new; only rows that differ are touched."""
    window = {"start": start, "end": end}
    outdated = pl.concat([difference.changed.select(KEY), difference.vanished])
    if outdated.height:
        connection.execute(_statement("create_outdated_keys", tier))
        copy_frame(connection, "pg_temp.outdated_keys", outdated)
        connection.execute("analyze pg_temp.outdated_keys")
        connection.execute(_statement("delete_outdated_rows", tier), window)
    copy_frame(connection, tier.table, pl.concat([difference.new, difference.changed]))
    sums = connection.execute(_statement("sum_stored_rows", tier), window).fetchone()
    return Written(
        difference.new.height,
        difference.changed.height,
        difference.vanished.height,
        *(sums or (0, 0, 0, 0)),
    )


def _had_samples(connection: psycopg.Connection, window: dict[str, datetime]) -> bool:
    """Whether coverage says that samples were stored in the window."""
    row = connection.execute(load_query("tier", "had_raw_samples").encode(), window).fetchone()
    return row is not None and bool(row[0])


def _refuse_less(
    tier: Tier,
    computed: Computed,
    stored: WindowState | None,
    *,
    start: datetime,
    closed_until: datetime,
) -> None:
    """Raise when less would replace more; an older computation is not judged here."""
    known = 0
    if stored is not None and stored.revision <= computed.revision:
        is_comparable = stored.complete_until <= closed_until or computed.sample_count == 0
        known = stored.sample_count if is_comparable else 0
    if computed.sample_count >= known and not computed.is_gone:
        return
    what = (
        f"its stored rows come from {known} samples"
        if known
        else "coverage says that samples were stored"
    )
    msg = (
        f"Computing {tier.table} for {start:%Y-%m-%d %H:%M} UTC: raw.server_resource_metrics has "
        f"{computed.sample_count} samples of {start:%Y-%m-%d}, but {what}. Raw of that day was "
        "dropped by retention or by hand; the stored rows were kept. Restore the day from the "
        "archive and compute again, or leave the window out of the range."
    )
    raise WindowRefused(msg)


def _statement(name: str, tier: Tier) -> sql.Composed:
    """Statement sql/queries/tier/<name>.sql on the tier's table, with its columns in order."""
    columns = sql.SQL(", ").join(map(sql.Identifier, schema_of(TIER_ROWS).names()))
    return sql.SQL(load_query("tier", name)).format(table=tier.identifier, columns=columns)
