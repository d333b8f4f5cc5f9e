"""One window of organization metrics: read a snapshot of raw and of the tree, compute, store.

Belongs here: the shell around `tree.py` and `metrics.py`: what is read in which snapshot. Knows no
Dagster; how a window is stored is in `windows.py`.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from resmon_assets.frames import RAW_SAMPLES, ROLLUP_INPUT, schema_of
from resmon_assets.rollup.metrics import (
    expected_by_stretch,
    fold_samples,
    organization_rows,
    put_together,
)
from resmon_assets.rollup.tree import (
    TREE_PERIODS,
    Stretches,
    closure_in_time,
    cut_into_stretches,
)
from resmon_assets.tier.refresh import read_periods, server_slices
from resmon_assets.windows import Outcome, WindowTable, raw_revision, refuse_gone, store_window
from resmon_resources.postgres import PostgresResource, Snapshot
from resmon_resources.postgres_connection import load_query

MAXIMUM_SLICE_ROWS = 2_000_000
"""Raw rows held at a time: an hour of 10,000 servers is one slice, a day of them fifteen."""

_INPUT = schema_of(RAW_SAMPLES, only=ROLLUP_INPUT)
_COUNTS = pl.Schema(
    {"server_id": pl.Int32(), "organization_id": pl.Int32(), "sample_count": pl.Int64()}
)


@dataclass(frozen=True, slots=True)
class Computed:
    """A window in memory.

    Attributes:
        rows: schema `frames.ROLLUP_ROWS`.
        revision: of raw, in the snapshot that the rows were computed from.
        sample_count: raw rows in that snapshot, counted by PostgreSQL.
        server_count: servers that have samples.
    """

    rows: pl.DataFrame
    revision: int
    sample_count: int
    server_count: int


def refresh_window(
    postgres: PostgresResource, table: WindowTable, *, start: datetime, now: datetime
) -> Outcome:
    """Compute the closed buckets of the window at `start` and store what differs.

    Repeatable: with the same raw, inventory and tree it changes no row.

    Raises:
        WindowRefused: raw has fewer samples than the stored rows were computed from.
        SampleUnusable: a sample holds what no probe can have measured.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    closed_until = table.closed_until(start, now=now)
    if closed_until == start:
        return Outcome(start=start, closed_until=start, is_complete=False)
    with postgres.snapshot() as snapshot:
        computed = compute_window(snapshot, table, start=start, closed_until=closed_until)
    stored = store_window(
        postgres,
        table,
        computed.rows,
        revision=computed.revision,
        sample_count=computed.sample_count,
        start=start,
        closed_until=closed_until,
        now=now,
        totals=load_query("rollup", "sum_stored_rows"),
    )
    return Outcome(
        start=start,
        closed_until=closed_until,
        is_complete=closed_until == start + table.window,
        revision=computed.revision,
        sample_count=computed.sample_count,
        row_count=computed.rows.height,
        server_count=computed.server_count,
        stored=stored,
    )


def compute_window(
    snapshot: Snapshot, table: WindowTable, *, start: datetime, closed_until: datetime
) -> Computed:
    """Compute the rows of [start, closed_until) from raw, read in slices of servers.

    One snapshot serves the tree, the inventory and all slices, so that they belong together.

    Raises:
        WindowRefused: raw had samples of this window once and has none now.
    """
    window = {"start": start, "end": closed_until}
    end = start + table.window
    revision = raw_revision(snapshot.connection, start=start, end=end)
    counts = snapshot.read_frame(load_query("rollup", "count_raw_samples"), window, _COUNTS)
    if counts.is_empty() and closed_until == end:
        refuse_gone(snapshot.connection, table, start=start, end=end)
    periods = read_periods(snapshot, start=start, end=closed_until)
    owners = pl.concat([counts["organization_id"], periods["organization_id"]]).unique()
    cut = read_stretches(snapshot, owners, start=start, end=closed_until)
    by_server = counts.group_by("server_id", maintain_order=True).agg(pl.col("sample_count").sum())
    folded = [
        fold_samples(
            read_slice(snapshot, start=start, end=closed_until, first=first, last=last),
            cut,
            start=start,
            width=table.width,
        )
        for first, last in server_slices(by_server, limit=MAXIMUM_SLICE_ROWS)
    ] or [fold_samples(_INPUT.to_frame(), cut, start=start, width=table.width)]
    expected = expected_by_stretch(periods, cut, start=start, end=closed_until, width=table.width)
    return Computed(
        rows=organization_rows(put_together(folded), expected, cut, start=start, width=table.width),
        revision=revision,
        sample_count=int(counts["sample_count"].sum()),
        server_count=by_server.height,
    )


def read_slice(
    snapshot: Snapshot, *, start: datetime, end: datetime, first: int, last: int
) -> pl.DataFrame:
    """Raw samples of [start, end) of the servers `first` to `last`, `frames.ROLLUP_INPUT`."""
    values = {"start": start, "end": end, "first": first, "last": last}
    return snapshot.read_frame(load_query("rollup", "read_raw_samples"), values, _INPUT)


def read_stretches(
    snapshot: Snapshot, organizations: pl.Series, *, start: datetime, end: datetime
) -> Stretches:
    """The tree above `organizations` during [start, end), cut where it changes."""
    query = load_query("rollup", "read_organization_periods")
    tree = snapshot.read_frame(query, {"start": start, "end": end}, TREE_PERIODS)
    return cut_into_stretches(closure_in_time(tree, organizations, start=start, end=end))
