"""How many samples each server owed in each bucket, and the rows of buckets in which none came.

Belongs here: counting scheduled instants (they are computed in `raw/schedule.py`). Pure: no
database, no clock.
"""

from datetime import datetime, timedelta

import polars as pl

from resmon_assets.frames import INSTANT, KEY, TIER_ROWS, schema_of
from resmon_assets.raw.schedule import phase_ms


def expected_counts(
    periods: pl.DataFrame, *, start: datetime, end: datetime, width: timedelta
) -> pl.DataFrame:
    """Count the scheduled instants of active servers in each bucket of [start, end).

    An instant is `k * interval + phase` after the epoch; it belongs to the bucket and to the period
    that contain it, both half-open. Integers in microseconds throughout, so that no instant is lost
    to rounding.

    Args:
        periods: rows of inventory.server_period: server_id, organization_id (Int32), state
            (String), interval_seconds (Int16), valid_from, valid_to (UTC; may reach beyond [start,
            end)).
        start: first bucket's start, aware UTC, a multiple of `width`.
        end: end of the last bucket, a multiple of `width`.
        width: length of a bucket.

    Returns:
        server_id, organization_id, bucket_start, expected_count (Int32, > 0), sorted by
        `frames.KEY`. A server that moved, or changed its interval, within a bucket has one row per
        organization.
    """
    active = periods.filter(pl.col("state") == "active")
    phases = active.select("server_id", "interval_seconds").unique(maintain_order=True)
    phases = phases.with_columns(
        pl.Series(
            "phase",
            [phase_ms(server, interval) * 1000 for server, interval in phases.iter_rows()],
            dtype=pl.Int64,
        )
    )
    buckets = pl.DataFrame(
        {"bucket_start": [start + k * width for k in range((end - start) // width)]},
        schema={"bucket_start": INSTANT},
    )
    interval = pl.col("interval_seconds").cast(pl.Int64) * 1_000_000
    first = pl.max_horizontal("valid_from", "bucket_start").dt.epoch("us")
    last = pl.min_horizontal("valid_to", pl.col("bucket_start") + width).dt.epoch("us")
    counted = (
        active.join(phases, on=["server_id", "interval_seconds"], how="left")
        .join(buckets, how="cross")
        .filter(first < last)
        .with_columns(
            # Instants before t: those of k * interval + phase < t, that is ceil((t - phase) /
            # interval) of them.
            expected_count=-((pl.col("phase") - last) // interval)
            + (pl.col("phase") - first) // interval
        )
    )
    return (
        counted.group_by(KEY)
        .agg(pl.col("expected_count").sum().cast(pl.Int32))
        .filter(pl.col("expected_count") > 0)
        .select("server_id", "organization_id", "bucket_start", "expected_count")
        .sort(KEY)
    )


def complete(statistics: pl.DataFrame, expected: pl.DataFrame) -> pl.DataFrame:
    """Join what came with what was expected, so that gaps become rows.

    Args:
        statistics: from `statistics.bucket_statistics`.
        expected: from `expected_counts`, over the same buckets.

    Returns:
        Rows of a tier table (schema `frames.TIER_ROWS`), sorted by `frames.KEY`: `sample_count` 0
        and null statistics where samples were expected and none came; `expected_count` 0 where one
        came that was not.
    """
    schema = schema_of(TIER_ROWS)
    return (
        statistics.join(expected, on=KEY, how="full", coalesce=True)
        .with_columns(pl.col("sample_count", "expected_count").fill_null(0))
        .select(schema.names())
        .cast(schema)
        .sort(KEY)
    )
