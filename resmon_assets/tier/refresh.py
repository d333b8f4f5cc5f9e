"""One window of a tier: read a snapshot of raw, compute, write what differs.

Belongs here: the shell around `statistics.py` and `expectation.py`: which statements run in which
transaction. Knows no Dagster; what is reported about a window is in `assets.py` and `checks.py`.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from resmon_assets.frames import INSTANT, RAW_SAMPLES, TIER_INPUT, schema_of
from resmon_assets.tier.expectation import complete, expected_counts
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.storage import stored_form
from resmon_assets.windows import Outcome, WindowTable, raw_revision, refuse_gone, store_window
from resmon_resources.postgres import PostgresResource, Snapshot
from resmon_resources.postgres_connection import load_query

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


@dataclass(frozen=True, slots=True)
class Computed:
    """A window in memory.

    Attributes:
        rows: schema `frames.TIER_ROWS`.
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

    Repeatable: with the same raw it changes no row.

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
        stored_form(computed.rows, width=table.width),
        revision=computed.revision,
        sample_count=computed.sample_count,
        start=start,
        closed_until=closed_until,
        now=now,
        totals=load_query("tier", "sum_stored_rows"),
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

    One snapshot serves all slices, so that they belong to one revision.

    Raises:
        WindowRefused: raw had samples of this window once and has none now.
    """
    window = {"start": start, "end": closed_until}
    end = start + table.window
    revision = raw_revision(snapshot.connection, start=start, end=end)
    counts = snapshot.read_frame(load_query("tier", "count_raw_samples"), window, _COUNTS)
    if counts.is_empty() and closed_until == end:
        refuse_gone(snapshot.connection, table, start=start, end=end)
    periods = read_periods(snapshot, start=start, end=closed_until)
    slices = server_slices(counts, limit=MAXIMUM_SLICE_ROWS)
    statistics = [
        bucket_statistics(
            read_slice(snapshot, start=start, end=closed_until, first=first, last=last),
            width=table.width,
        )
        for first, last in slices
    ] or [bucket_statistics(_INPUT.to_frame(), width=table.width)]
    expected = expected_counts(periods, start=start, end=closed_until, width=table.width)
    return Computed(
        rows=complete(pl.concat(statistics), expected),
        revision=revision,
        sample_count=int(counts["sample_count"].sum()),
        server_count=counts.height,
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
