"""Raw samples -> exact statistics per server, organization and time bucket.

Belongs here: the arithmetic of the tiers. Pure: no database, no Dagster, no clock. What was
expected is counted in `expectation.py`.
"""

from datetime import timedelta
from itertools import product

import polars as pl

from resmon_assets.frames import KEY, METRICS, PERCENTILES, STATISTICS, TIER_INPUT
from resmon_resources.errors import SampleUnusable

TINY = 2
"""Up to so many values, min and max are all there is, and percentiles lie on the line between them.

polars 2.1 on 2 cores, 1.2 M rows in 600,000 one-minute buckets: 1.1 s of quantile, never called.
"""


def bucket_statistics(raw: pl.DataFrame, *, width: timedelta) -> pl.DataFrame:
    """Compute count, mean, extremes and exact percentiles of each metric in each bucket.

    Percentiles are PostgreSQL's `percentile_cont` (linear interpolation between order statistics).
    All arithmetic is Float64 on the samples of one bucket in the order of their instants, so that
    the order of arrival and the cutting into slices leave no trace; results are rounded once, to
    the nearest Float32. Rounding keeps order, so min <= p50 <= p95 <= p99 <= max and
    min <= avg <= max hold in the result without tolerance.

    Args:
        raw: samples with the columns of `frames.TIER_INPUT`, in any order, unique by (server_id,
            collected_at). A null is "not measured" and ignored; a network rate is null when
            `elapsed_ms` is null or not positive.
        width: length of the half-open buckets [start, start + width) in UTC; divides a day.

    Returns:
        One row per (server_id, bucket_start, organization_id) that has samples, sorted by that key,
        with `sample_count` (Int32) and `<metric>_<statistic>` (Float32; null when nothing was
        measured).

    Raises:
        SampleUnusable: a CPU reading is infinite or not a number; names server and instant.
    """
    _refuse_not_finite(raw)
    rows = _grouped(raw, width)
    counted = rows.group_by("group", maintain_order=True).agg(
        pl.first(*KEY),
        pl.len().cast(pl.Int32).alias("sample_count"),
        *(
            aggregate
            for metric in METRICS
            for aggregate in (
                pl.col(metric).count().alias(f"{metric}_n"),
                pl.col(metric).mean().alias(f"{metric}_avg"),
                pl.col(metric).min().alias(f"{metric}_min"),
                pl.col(metric).max().alias(f"{metric}_max"),
            )
        ),
    )
    return (
        counted.join(_quantiles(rows, counted), on="group", how="left", maintain_order="left")
        .with_columns(*(_mean(metric) for metric in METRICS))
        .with_columns(
            *(_percentile(m, p, q) for m, (p, q) in product(METRICS, PERCENTILES.items()))
        )
        .select(
            *KEY,
            "sample_count",
            *(pl.col(f"{m}_{s}").cast(pl.Float32) for m, s in product(METRICS, STATISTICS)),
        )
        .sort(KEY)
    )


def _refuse_not_finite(raw: pl.DataFrame) -> None:
    """Integers are always finite; a float column could hold what no probe can have measured."""
    wrong = raw.filter(~pl.col("cpu_pct").is_finite())
    if wrong.height:
        first = wrong.sort("server_id", "collected_at").row(0, named=True)
        msg = (
            f"Computing statistics, the sample of server {first['server_id']} at "
            f"{first['collected_at'].isoformat()} has cpu_pct {first['cpu_pct']} ({wrong.height} "
            "such samples). No probe measures that: the row was written by something else. Correct "
            "it in raw.server_resource_metrics, then compute the window again."
        )
        raise SampleUnusable(msg)


def _grouped(raw: pl.DataFrame, width: timedelta) -> pl.DataFrame:
    """Samples in the one order that counts, as Float64, with a dense number per bucket."""
    elapsed = pl.when(pl.col("elapsed_ms") > 0).then(pl.col("elapsed_ms")).cast(pl.Float64) / 1000
    measured = {
        "cpu_pct": pl.col("cpu_pct").cast(pl.Float64),
        "memory_used_bytes": pl.col("memory_used_bytes").cast(pl.Float64),
        "disk_used_bytes": pl.col("disk_used_bytes").cast(pl.Float64),
        "network_in_bytes_per_second": pl.col("network_in_bytes").cast(pl.Float64) / elapsed,
        "network_out_bytes_per_second": pl.col("network_out_bytes").cast(pl.Float64) / elapsed,
    }
    every = f"{width // timedelta(microseconds=1)}us"
    return (
        raw.select(TIER_INPUT)
        .with_columns(pl.col("collected_at").dt.truncate(every).alias("bucket_start"))
        # Not by the instant alone: a server can move within a bucket and back, and equal keys must
        # stand together.
        .sort(*KEY, "collected_at")
        .select(*KEY, **measured)
        .with_columns(pl.struct(KEY).rle_id().set_sorted().alias("group"))
        .rechunk()
    )


def _quantiles(rows: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    """Percentiles of the buckets with more than `TINY` samples; no row for the others."""
    large = (counted["sample_count"] > TINY).gather(rows["group"])
    return (
        rows.filter(large)
        .with_columns(pl.col("group").set_sorted())
        .group_by("group", maintain_order=True)
        .agg(
            pl.col(metric).quantile(q, interpolation="linear").alias(f"{metric}_{name}_large")
            for metric, (name, q) in product(METRICS, PERCENTILES.items())
        )
    )


def _mean(metric: str) -> pl.Expr:
    """The mean, held between the extremes, which the last bit of sum/n may leave."""
    name = f"{metric}_avg"
    return pl.col(name).clip(pl.col(f"{metric}_min"), pl.col(f"{metric}_max"))


def _percentile(metric: str, name: str, q: float) -> pl.Expr:
    """A percentile: on the line from min to max for up to two values, else by order statistics."""
    low, high = pl.col(f"{metric}_min"), pl.col(f"{metric}_max")
    return (
        pl.when(pl.col(f"{metric}_n") <= TINY)
        .then(low + (high - low) * q)
        .otherwise(pl.col(f"{metric}_{name}_large"))
        .alias(f"{metric}_{name}")
    )
