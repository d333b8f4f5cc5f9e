"""One window of organization metrics: read a snapshot of raw and of the tree, compute, store.

Belongs here: the shell around `tree.py` and `metrics.py`: what is read in which snapshot. Knows no
Dagster; how a window is stored is in `windows.py`.
"""

from datetime import datetime, timedelta

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
from resmon_assets.window_refresh import Computed, refresh_planned
from resmon_assets.windows import Outcome, Plan, WindowTable, refuse_gone
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import SLOT

MAXIMUM_SLICE_ROWS = 2_000_000
"""Raw rows held at a time: an hour of 10,000 servers is one slice, a day of them fifteen."""

_INPUT = schema_of(RAW_SAMPLES, only=ROLLUP_INPUT)
_COUNTS = pl.Schema(
    {
        "server_id": pl.Int32(),
        "organization_id": pl.Int32(),
        "slot": pl.Int32(),
        "sample_count": pl.Int64(),
    }
)


def refresh_window(
    postgres: PostgresResource, table: WindowTable, *, start: datetime, now: datetime
) -> Outcome:
    """Compute the closed buckets of the window at `start` and store what differs.

    Repeatable: with the same raw, inventory and tree it changes no row. Of a window that is stale
    in some of its five-minute slots only these are computed (see `windows.plan_window`).

    Raises:
        WindowRefused: raw has fewer samples than the stored rows were computed from.
        SampleUnusable: a sample holds what no probe can have measured.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    return refresh_planned(
        postgres,
        table,
        lambda snapshot, plan: compute_window(snapshot, table, plan, start=start),
        start=start,
        now=now,
        totals=load_query("rollup", "sum_stored_rows"),
    )


def compute_window(
    snapshot: Snapshot, table: WindowTable, plan: Plan, *, start: datetime
) -> Computed:
    """Compute the rows that the plan asks for from raw, read in slices of servers.

    One snapshot, the plan's, serves the tree, the inventory and all slices, so that they belong
    together.

    Raises:
        WindowRefused: raw had samples of this window once and has none now.
    """
    slot = SLOT if table.has_slots else table.window
    counts = pl.concat(
        _count_samples(snapshot, start=start, begin=begin, end=end, slot=slot)
        for begin, end in plan.ranges
    )
    if counts.is_empty() and plan.ranges == ((start, start + table.window),):
        refuse_gone(snapshot.connection, table, start=start, end=start + table.window)
    rows = [
        _compute_range(
            snapshot,
            table,
            counts,
            start=begin,
            end=end,
        )
        for begin, end in plan.ranges
    ]
    by_slot = counts.group_by("slot").agg(pl.col("sample_count").sum())
    return Computed(
        plan=plan,
        rows=pl.concat(rows),
        counted=dict(by_slot.iter_rows()),
        server_count=counts["server_id"].n_unique(),
    )


def _count_samples(
    snapshot: Snapshot, *, start: datetime, begin: datetime, end: datetime, slot: timedelta
) -> pl.DataFrame:
    """Raw rows of [begin, end) per server, organization and slot, counted from `start`."""
    values = {"start": start, "begin": begin, "end": end, "width": slot}
    return snapshot.read_frame(load_query("rollup", "count_raw_samples"), values, _COUNTS)


def _compute_range(
    snapshot: Snapshot,
    table: WindowTable,
    counts: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Compute the rows of all buckets of [start, end).

    Args:
        snapshot: of raw.
        table: whose rows.
        counts: schema `_COUNTS`; holds at least all servers and organizations of the range.
        start: aware UTC, a multiple of the table's width.
        end: the same.
    """
    periods = read_periods(snapshot, start=start, end=end)
    owners = pl.concat([counts["organization_id"], periods["organization_id"]]).unique()
    cut = read_stretches(snapshot, owners, start=start, end=end)
    by_server = counts.group_by("server_id").agg(pl.col("sample_count").sum()).sort("server_id")
    folded = [
        fold_samples(
            read_slice(snapshot, start=start, end=end, first=first, last=last),
            cut,
            start=start,
            width=table.width,
        )
        for first, last in server_slices(by_server, limit=MAXIMUM_SLICE_ROWS)
    ] or [fold_samples(_INPUT.to_frame(), cut, start=start, width=table.width)]
    expected = expected_by_stretch(periods, cut, start=start, end=end, width=table.width)
    return organization_rows(put_together(folded), expected, cut, start=start, width=table.width)


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
