"""Statistics of file systems over a UTC day: pure, from rows of raw to rows of the tier.

Belongs here: the arithmetic. What is read and stored is in `filesystem.py`.
"""

import polars as pl

from resmon_assets.frames import FILE_SYSTEM_DAYS, FILE_SYSTEM_KEY, schema_of

_QUANTITIES = ("used_bytes", "inodes_used")
"""Of these a day has mean, extremes and the last value."""


def day_statistics(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per server, mount, organization and UTC day.

    Exact: sums are integers of 128 bits, and the mean is taken as quotient and remainder, so that
    it differs from the true one by two roundings at most. A value that was not measured is left
    out; `last` is the last that was. Device and type are those of the last row.

    Args:
        rows: schema of `frames.RAW_FILE_SYSTEMS`, in any order; unique by server, mount and time.

    Returns:
        Schema of `frames.FILE_SYSTEM_DAYS`, sorted by `frames.FILE_SYSTEM_KEY`.
    """
    days = (
        rows.with_columns(pl.col("collected_at").dt.truncate("1d").alias("bucket_start"))
        .sort(*FILE_SYSTEM_KEY, "collected_at")
        .group_by(FILE_SYSTEM_KEY, maintain_order=True)
        .agg(
            pl.len().cast(pl.Int32).alias("sample_count"),
            pl.col("used_bytes").count().cast(pl.Int32).alias("measured_count"),
            *(item for name in _QUANTITIES for item in _statistics(name)),
            pl.col("available_bytes").min().alias("available_bytes_min"),
            *(_last(name) for name in ("available_bytes", "total_bytes", "inodes_total")),
            pl.col("device").last(),
            pl.col("type").last(),
        )
    )
    return days.select(schema_of(FILE_SYSTEM_DAYS).names()).cast(schema_of(FILE_SYSTEM_DAYS))


def _statistics(name: str) -> list[pl.Expr]:
    """Mean, extremes and last value of a quantity; null when it was never measured."""
    value = pl.col(name)
    total, count = value.cast(pl.Int128).sum(), value.count()
    mean = (total // count).cast(pl.Float64) + (total % count).cast(pl.Float64) / count
    return [
        pl.when(count > 0).then(mean).alias(f"{name}_avg"),
        value.min().alias(f"{name}_min"),
        value.max().alias(f"{name}_max"),
        _last(name),
    ]


def _last(name: str) -> pl.Expr:
    """The last value that was measured."""
    return pl.col(name).drop_nulls().last().alias(f"{name}_last")
