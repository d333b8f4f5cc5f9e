"""One window of a tier: read a snapshot of raw, compute, write what differs.

Belongs here: the shell around `statistics.py` and `expectation.py`: which statements run in which
transaction. Knows no Dagster; what is reported about a window is in `assets.py` and `checks.py`.
"""

from dataclasses import replace
from datetime import datetime

import polars as pl

from resmon_assets.frames import INSTANT, RAW_SAMPLES, TIER_INPUT, schema_of
from resmon_assets.tier.expectation import complete, expected_counts
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.storage import stored_form
from resmon_assets.window_refresh import Computed, refresh_planned
from resmon_assets.windows import Outcome, Plan, WindowTable, refuse_gone
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import SLOT

MAXIMUM_SLICE_ROWS = 3_000_000
"""Raw rows held at a time: a whole hour of 10,000 servers is one slice, a day of them ten."""

_INPUT = schema_of(RAW_SAMPLES, only=TIER_INPUT)
_COUNTS = pl.Schema({"server_id": pl.Int32(), "slot": pl.Int32(), "sample_count": pl.Int64()})
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


def refresh_window(
    postgres: PostgresResource, table: WindowTable, *, start: datetime, now: datetime
) -> Outcome:
    """Compute the closed buckets of the window at `start` and store what differs.

    Repeatable: with the same raw it changes no row. Of a window that is stale in some of its
    five-minute slots only these are computed (see `windows.plan_window`).

    Raises:
        WindowRefused: raw has fewer samples than the stored rows were computed from.
        SampleUnusable: a sample holds what no probe can have measured.
        DatabaseError: PostgreSQL could not be reached or refused.
    """

    def compute(snapshot: Snapshot, plan: Plan) -> Computed:
        computed = compute_window(snapshot, table, plan, start=start)
        return replace(computed, rows=stored_form(computed.rows, width=table.width))

    totals = load_query("tier", "sum_stored_rows")
    return refresh_planned(postgres, table, compute, start=start, now=now, totals=totals)


def compute_window(
    snapshot: Snapshot, table: WindowTable, plan: Plan, *, start: datetime
) -> Computed:
    """Compute the rows that the plan asks for from raw, read in slices of servers.

    One snapshot, the plan's, serves all slices, so that they belong to one revision.

    Raises:
        WindowRefused: raw had samples of this window once and has none now.
    """
    counted: dict[int, int] = {}
    rows = []
    for begin, end in plan.ranges:
        counts = _count_samples(snapshot, table, start=start, begin=begin, end=end)
        counted |= dict(counts.group_by("slot").agg(pl.sum("sample_count")).iter_rows())
        rows.append(compute_range(snapshot, table, counts, start=begin, end=end))
    if not any(counted.values()) and plan.ranges == ((start, start + table.window),):
        refuse_gone(snapshot.connection, table, start=start, end=start + table.window)
    computed = pl.concat(rows)
    return Computed(
        plan=plan,
        rows=computed,
        counted=counted,
        server_count=computed.filter(pl.col("sample_count") > 0)["server_id"].n_unique(),
    )


def compute_range(
    snapshot: Snapshot,
    table: WindowTable,
    counts: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Compute the rows of all buckets of [start, end), sorted by `frames.KEY`.

    Args:
        snapshot: of raw.
        table: whose rows.
        counts: server_id, sample_count of raw in [start, end); raw is read in slices by them.
        start: aware UTC, a multiple of the table's width.
        end: the same.
    """
    by_server = counts.group_by("server_id").agg(pl.sum("sample_count")).sort("server_id")
    statistics = [
        bucket_statistics(
            read_slice(snapshot, start=start, end=end, first=first, last=last), width=table.width
        )
        for first, last in server_slices(by_server, limit=MAXIMUM_SLICE_ROWS)
    ] or [bucket_statistics(_INPUT.to_frame(), width=table.width)]
    periods = read_periods(snapshot, start=start, end=end)
    expected = expected_counts(periods, start=start, end=end, width=table.width)
    return complete(pl.concat(statistics), expected)


def _count_samples(
    snapshot: Snapshot, table: WindowTable, *, start: datetime, begin: datetime, end: datetime
) -> pl.DataFrame:
    """Raw rows of [begin, end) by server and number of the slot, counted from `start`.

    Of a table without slots the whole window is slot 0.
    """
    width = SLOT if table.has_slots else table.window
    values = {"start": start, "begin": begin, "end": end, "width": width}
    return snapshot.read_frame(load_query("tier", "count_raw_samples"), values, _COUNTS)


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
