"""Trends of utilization over 7 and 30 days.

Belongs here: the arithmetic of `anomaly/utilization_trends`. Pure: no database, no Dagster, no
clock.
"""

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from resmon_assets.anomaly.daily import Days, Matrix, mann_kendall, theil_sen, without_week
from resmon_assets.frames import INSTANT, METRICS, UTILIZATION_TREND_ROWS, schema_of

SPANS = {7: 5, 30: 20}
"""Days that a trend looks at, and how many of them must be measured: a week with a weekend away is
still a week; of a month a third may be missing."""

HISTORY_DAYS = 60
"""Two times the longer span: the month, and the one before it that it is compared with."""

SIGNIFICANCE = 0.05
"""Highest p-value at which a trend is called increasing or decreasing."""

COLUMNS = tuple(f"{metric}_avg" for metric in METRICS)
"""Columns of the daily tier that are read: the mean of each day."""


def trend_rows(days: Days, *, day: datetime) -> pl.DataFrame:
    """Trends of every server and metric at the end of a day.

    The slope is that of Theil and Sen, its significance that of Mann and Kendall, both on values
    without their days of the week where eight weeks tell them; mean and change are those of the
    values as they are. The change is the mean of the span against the mean of the span before it.

    Args:
        days: `HISTORY_DAYS` days up to and including `day`, with `COLUMNS`.
        day: start of the UTC day.

    Returns:
        Schema `frames.UTILIZATION_TREND_ROWS`, by server and metric in the order of `METRICS`.
        Figures of a span are null where too few of its days are measured; a change is null where
        that holds for the span before, or its mean is 0.
    """
    frames = []
    for metric in METRICS:
        values = days.values[f"{metric}_avg"]
        adjusted, has_profile = without_week(values)
        columns: dict[str, object] = {
            "server_id": days.server_ids,
            "organization_id": days.organization_ids,
            "is_deseasonalised": has_profile,
        }
        for span, least in SPANS.items():
            columns |= _span(values, adjusted, span=span, least=least)
        frame = pl.DataFrame(columns).with_columns(
            metric=pl.lit(metric), bucket_start=pl.lit(day, dtype=INSTANT)
        )
        frames.append(frame)
    schema = schema_of(UTILIZATION_TREND_ROWS)
    order = {metric: number for number, metric in enumerate(METRICS)}
    return (
        pl.concat(frames)
        .sort("server_id", pl.col("metric").replace_strict(order, return_dtype=pl.Int8))
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    )


def _span(values: Matrix, adjusted: Matrix, *, span: int, least: int) -> dict[str, object]:
    """The columns of one span."""
    mean, measured = _mean(values[:, -span:])
    before, measured_before = _mean(values[:, -2 * span : -span])
    is_known = measured >= least
    stretch = adjusted[:, -span:]
    slope = np.full(mean.size, np.nan)
    p = np.full(mean.size, np.nan)
    slope[is_known], p[is_known] = theil_sen(stretch[is_known]), mann_kendall(stretch[is_known])
    comparable = is_known & (measured_before >= least) & (before > 0)
    change = np.full(mean.size, np.nan)
    change[comparable] = 100 * (mean[comparable] / before[comparable] - 1)
    return {
        f"measured_days_{span}d": measured,
        f"mean_{span}d": _nulls(np.where(is_known, mean, np.nan)),
        f"slope_per_day_{span}d": _nulls(slope),
        f"p_value_{span}d": _nulls(p),
        f"change_percent_{span}d": _nulls(change),
        f"direction_{span}d": _direction(slope, p),
    }


def _mean(values: Matrix) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of the measured days of each row, and their number; NaN without any."""
    count = np.isfinite(values).sum(axis=1)
    total = np.nansum(values, axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def _nulls(values: NDArray[np.float64]) -> pl.Series:
    """NaN as null."""
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)


def _direction(slope: NDArray[np.float64], p: NDArray[np.float64]) -> pl.Series:
    """The trend in a word; null where there is no slope."""
    words = np.where(slope > 0, "increasing", "decreasing").astype(object)
    words[(p >= SIGNIFICANCE) | (slope == 0)] = "flat"
    words[np.isnan(slope)] = None
    return pl.Series(words.tolist(), dtype=pl.String)
