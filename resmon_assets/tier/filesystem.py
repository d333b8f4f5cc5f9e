"""One UTC day of file systems: read a snapshot of raw, compute, write what differs.

Belongs here: the table, and the shell around `filesystem_statistics.py`. Knows no Dagster run; the
asset is in `filesystem_assets.py`. The revision is that of the hours of raw samples: file systems
are written by the same commits, and a commit that stores only file systems counts as well.
"""

from datetime import datetime, timedelta

import polars as pl

from resmon_assets.frames import (
    FILE_SYSTEM_DAYS,
    FILE_SYSTEM_KEY,
    RAW_FILE_SYSTEMS,
    schema_of,
)
from resmon_assets.naming import RAW_FILE_SYSTEMS as RAW_KEY
from resmon_assets.naming import TIER_FILESYSTEM_1DAY, table_of
from resmon_assets.tier.filesystem_statistics import day_statistics
from resmon_assets.tier.refresh import server_slices
from resmon_assets.window_refresh import store_rows
from resmon_assets.window_runs import day_asset
from resmon_assets.windows import Outcome, WindowTable, raw_revision
from resmon_resources.errors import RawGone
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot

MAXIMUM_SLICE_ROWS = 2_000_000
"""Rows of raw held at a time, about 0.4 GiB: a day of 2,300 servers with three mounts."""

_DAY = timedelta(days=1)
_COUNTS = pl.Schema({"server_id": pl.Int32(), "sample_count": pl.Int64()})
_INPUT = schema_of(RAW_FILE_SYSTEMS)

FILE_SYSTEM_DAY = day_asset(
    TIER_FILESYSTEM_1DAY, columns=FILE_SYSTEM_DAYS, row_key=FILE_SYSTEM_KEY, storage="year"
)


def refresh_file_systems(postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
    """Compute the UTC day that begins at `start` and store what differs.

    Repeatable: with the same raw it changes no row. A day that is not over is left alone.

    Raises:
        RawGone: retention dropped the day from raw.filesystem_usage, or raw has fewer rows than the
            stored ones were computed from.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    table = FILE_SYSTEM_DAY.table
    end = table.closed_until(start, now=now)
    if end == start:
        return Outcome(start=start, closed_until=start, is_complete=False)
    with postgres.snapshot() as snapshot:
        revision = raw_revision(snapshot.connection, start=start, end=end)
        counts = snapshot.read_frame(
            load_query("tier", "count_file_systems"), {"start": start, "end": end}, _COUNTS
        )
        if counts.is_empty():
            refuse_pruned(snapshot, table, start=start, revision=revision)
        parts = [
            day_statistics(read_rows(snapshot, start=start, end=end, first=first, last=last))
            for first, last in server_slices(counts, limit=MAXIMUM_SLICE_ROWS)
        ]
    rows = pl.concat(parts or [day_statistics(_INPUT.to_frame())])
    return store_rows(
        postgres,
        table,
        rows,
        revision=revision,
        sample_count=int(counts["sample_count"].sum()),
        server_count=counts.height,
        start=start,
        closed_until=end,
        now=now,
        totals=load_query("tier", "sum_stored_file_systems"),
    )


def read_rows(
    snapshot: Snapshot, *, start: datetime, end: datetime, first: int, last: int
) -> pl.DataFrame:
    """Rows of raw.filesystem_usage of [start, end) of the servers `first` to `last`."""
    values = {"start": start, "end": end, "first": first, "last": last}
    return snapshot.read_frame(load_query("tier", "read_file_systems"), values, _INPUT)


def refuse_pruned(
    snapshot: Snapshot, table: WindowTable, *, start: datetime, revision: int
) -> None:
    """Refuse to compute a day as one without file systems that retention dropped.

    Raises:
        RawGone: names the day.
    """
    source = table_of(RAW_KEY)
    row = snapshot.connection.execute(
        load_query("retention", "is_pruned").encode(), {"table_name": source, "start": start}
    ).fetchone()
    if row is not None and row[0]:
        msg = (
            f"Computing {table.name} for {start:%Y-%m-%d}: retention has dropped that day from "
            f"{source}, which is not archived; the stored rows were kept. Leave the day out of the "
            "range."
        )
        raise RawGone(msg, revision=revision)
