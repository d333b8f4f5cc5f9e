"""What of a tier's row is stored, and how the rest is worked out again.

Belongs here: the rule by which rows of one minute leave out what their minimum and maximum already
tell, and its reverse. Pure: no database, no Dagster, no clock. The same reverse in SQL is the
function tier.derived (sql/repeatable/functions/), used by what reads the table; a test compares the
two bit by bit. Why: docs/decisions/0008-compact-rows.md.
"""

from datetime import timedelta
from itertools import product

import polars as pl

from resmon_assets.frames import METRICS, PERCENTILES

COMPACT_WIDTH = timedelta(minutes=1)
"""Buckets up to this width are stored compactly: at 30 s they hold two samples. Of the values of
wider ones an eighth could be left out, which the bitmap of nulls would eat up again."""


def stored_form(rows: pl.DataFrame, *, width: timedelta) -> pl.DataFrame:
    """The rows as the table of buckets of `width` stores them; equal rows give equal rows."""
    return encode(rows) if width <= COMPACT_WIDTH else rows


def encode(rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out every statistic that `decode` works out from the others of its metric.

    A value is left out only when what `decode` gives is that very Float32, whatever the number of
    samples, so that nothing is lost: of a bucket with three different samples most values stay.

    Args:
        rows: schema `frames.TIER_ROWS`, all six statistics of a metric there or none.

    Returns:
        The same columns. A null is "follows from the others" where the metric's minimum is not
        null, and "not measured" where it is.
    """
    kept = []
    for metric in METRICS:
        low, high = _double(f"{metric}_min"), _double(f"{metric}_max")
        known = {name: _between(low, high, share) for name, share in PERCENTILES.items()}
        known |= {"max": pl.col(f"{metric}_min"), "avg": pl.col(f"{metric}_p50")}
        for name, expression in known.items():
            value = pl.col(f"{metric}_{name}")
            kept.append(pl.when(value != expression).then(value).alias(value.meta.output_name()))
    return rows.with_columns(kept)


def decode(rows: pl.DataFrame) -> pl.DataFrame:
    """Work out what `encode` left out; rows that hold all values stay as they are.

    Args:
        rows: schema `frames.TIER_ROWS`, as stored.

    Returns:
        The same columns; a metric's six statistics are null together, when nothing was measured.
    """
    extremes = (pl.coalesce(f"{m}_max", f"{m}_min").alias(f"{m}_max") for m in METRICS)
    percentiles = (
        pl.coalesce(
            f"{metric}_{name}", _between(_double(f"{metric}_min"), _double(f"{metric}_max"), share)
        )
        for metric, (name, share) in product(METRICS, PERCENTILES.items())
    )
    means = (pl.coalesce(f"{m}_avg", f"{m}_p50").alias(f"{m}_avg") for m in METRICS)
    return rows.with_columns(extremes).with_columns(percentiles).with_columns(means)


def _double(name: str) -> pl.Expr:
    """A stored value as PostgreSQL calculates with it."""
    return pl.col(name).cast(pl.Float64)


def _between(low: pl.Expr, high: pl.Expr, share: float) -> pl.Expr:
    """The percentile of two values; the operations and their order are those of tier.derived."""
    return (low + (high - low) * share).cast(pl.Float32)
