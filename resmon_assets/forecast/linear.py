"""The straight line through the days of a series, and what it says of the days to come.

Belongs here: ordinary least squares on centred time, the test of the trend, the bands of the line.
Pure. All series at once.
"""

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit

from resmon_assets.frames import INSTANT
from resmon_resources.errors import ConfigurationInvalid

FEWEST_DAYS = 7
SIGNIFICANCE = 0.05
_DAY_MICROSECONDS = 86_400_000_000
_FEWEST_EFFECTIVE = 4.0
"""Effective values that a series has at the least: below, Student's t has no finite spread."""
_EXACT = 1e-9
"""Deviations below this share of the largest value are rounding: flat, or exactly a line."""

FIT_COLUMNS = (
    *("series", "last", "n", "slope_per_day", "intercept", "r_squared", "p_value", "trend"),
    *("effective_n", "residual_sd", "mean_day", "day_spread"),
)


def fit_lines(history: pl.DataFrame) -> pl.DataFrame:
    """Least-squares line of every series, and whether its slope is more than chance.

    The test is Student's t of the slope, with as many values as the autocorrelation of the
    residuals leaves: n (1 - r) / (1 + r), r that of neighbours (Santer et al. 2000, J. Geophys.
    Res. 105(D6), 7337-7356), without the better part of its bias in short series, (1 + 4r) / n
    (Marriott and Pope 1954, Biometrika 41). Without that, a slow wave passes for a trend.

    Args:
        history: series (text or integer), timestamp (datetime, UTC), value; null and not-a-number
            are left out, rows in any order.

    Returns:
        One row per series, in the order of first appearance:
        last: last stamp, rows without a value included; n: values;
        slope_per_day: units of the value per day; intercept: the line at `last`;
        r_squared: 0 to 1; 1 for a series that never moves: its line meets every value;
        p_value: of the slope; trend: increasing, decreasing, flat, or insufficient_data with fewer
        than 7 days that have a value. Then every number but n is null; none is ever not-a-number.
        effective_n, residual_sd, mean_day, day_spread: what `project_lines` needs: effective
        number of values, standard deviation around the line, mean (counted from `last`, so
        negative) and sum of squares of the days.

    Raises:
        ConfigurationInvalid: a column is missing.
    """
    missing = [c for c in ("series", "timestamp", "value") if c not in history.columns]
    if missing:
        msg = f"Cannot fit lines: the history has no column {', '.join(missing)}."
        raise ConfigurationInvalid(msg)
    value = pl.col("value").cast(pl.Float64)
    rows = history.select("series", pl.col("timestamp").cast(INSTANT), value)
    known = rows.group_by("series", maintain_order=True).agg(
        pl.col("timestamp").max().alias("last")
    )
    day = (pl.col("timestamp") - pl.col("last")).dt.total_microseconds() / _DAY_MICROSECONDS
    used = (
        rows.filter(pl.col("value").is_finite())
        .join(known, on="series", how="inner", nulls_equal=True)
        .select("series", "timestamp", day.alias("x"), pl.col("value").alias("y"))
        .sort("series", "x", "y")
    )
    x, y = pl.col("x") - pl.col("x").mean(), pl.col("y") - pl.col("y").mean()
    slope = (x * y).sum() / (x * x).sum()
    rest = y - slope * x
    sums = used.group_by("series", maintain_order=True).agg(
        pl.len().cast(pl.Int32).alias("n"),
        pl.col("timestamp").dt.date().n_unique().alias("days"),
        pl.col("x").mean().alias("mean_day"),
        (x * x).sum().alias("day_spread"),
        pl.col("y").mean().alias("mean"),
        pl.col("y").abs().max().alias("largest"),
        slope.alias("slope"),
        (y * y).sum().alias("total"),
        (rest * rest).sum().alias("squares"),
        (rest * rest.shift(1)).sum().alias("neighbours"),
    )
    return known.join(
        _tested(sums), on="series", how="left", maintain_order="left", nulls_equal=True
    ).select(
        *("series", "last", pl.col("n").fill_null(0)),
        *(pl.col(c) for c in FIT_COLUMNS[3:7]),
        pl.col("trend").fill_null("insufficient_data"),
        *(pl.col(c) for c in FIT_COLUMNS[8:]),
    )


def _tested(sums: pl.DataFrame) -> pl.DataFrame:
    """Sums of each series as its line with the test of the slope."""
    n = sums["n"].to_numpy().astype(np.float64)
    few = (sums["days"].to_numpy() < FEWEST_DAYS) | ~(sums["day_spread"].to_numpy() > 0)
    least = n * (_EXACT * sums["largest"].to_numpy()) ** 2
    total, squares = sums["total"].to_numpy(), sums["squares"].to_numpy()
    is_still = total <= least
    is_exact = squares <= least
    slope = np.where(is_still | few, 0.0, sums["slope"].to_numpy())
    squares = np.where(is_exact | few, 0.0, squares)
    r_squared = np.where(is_still, 1.0, 1 - squares / np.where(is_still, 1.0, total))
    likeness = np.where(is_exact | few, 0.0, sums["neighbours"].to_numpy())
    likeness = likeness / np.where(squares > 0, squares, 1.0)
    likeness = np.clip(likeness + (1 + 4 * likeness) / n, 0.0, 0.99)
    effective = np.clip(n * (1 - likeness) / (1 + likeness), _FEWEST_EFFECTIVE, np.maximum(n, 4))
    spread = np.where(few, 1.0, sums["day_spread"].to_numpy())
    sd = np.sqrt(squares / (effective - 2))
    t = np.abs(slope) * np.sqrt(spread) / np.where(sd > 0, sd, 1.0)
    p = 2 * stdtr(effective - 2, -t)
    p = np.where(sd > 0, p, np.where(slope == 0, 1.0, 0.0))
    trend = np.where(p >= SIGNIFICANCE, "flat", np.where(slope > 0, "increasing", "decreasing"))
    numbers = {
        "slope_per_day": slope,
        "intercept": sums["mean"].to_numpy() - slope * sums["mean_day"].to_numpy(),
        "r_squared": np.clip(r_squared, 0.0, 1.0),
        "p_value": p,
        "trend": trend,
        "effective_n": effective,
        "residual_sd": sd,
        "mean_day": sums["mean_day"].to_numpy(),
        "day_spread": spread,
    }
    columns = pl.DataFrame(numbers).with_columns(pl.Series("few", few))
    null_if_few = [pl.when(~pl.col("few")).then(pl.col(c)).alias(c) for c in numbers]
    return sums.select("series", "n").hstack(columns.select(null_if_few))


def project_lines(
    fits: pl.DataFrame, horizon: int, bounds: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Continue the lines, with the bands in which a new value of a day falls.

    Args:
        fits: from `fit_lines`; series without a line are left out.
        horizon: days to look ahead, at least 1.
        bounds: series, lower, upper (null: none): values and bands stay within.

    Returns:
        series, timestamp (`last` plus `step` days), step (i32, 1 to the horizon), value, lower_80,
        upper_80, lower_95, upper_95 (f64, never null), model ("linear"); in the order of `fits`.
    """
    lines = fits.filter(pl.col("slope_per_day").is_not_null())
    if bounds is None:
        lines = lines.with_columns(lower=pl.lit(None, pl.Float64), upper=pl.lit(None, pl.Float64))
    else:
        limits = bounds.select("series", pl.col("lower", "upper").cast(pl.Float64))
        lines = lines.join(
            limits.unique("series", keep="last", maintain_order=True),
            on="series",
            how="left",
            maintain_order="left",
        )
    column = {
        c: lines[c].to_numpy()[:, None] for c in ("slope_per_day", "intercept", *FIT_COLUMNS[8:])
    }
    days = np.arange(1, horizon + 1, dtype=np.float64)[None, :]
    middle = column["intercept"] + column["slope_per_day"] * days
    effective = column["effective_n"]
    away = (days - column["mean_day"]) ** 2 / column["day_spread"]
    deviation = column["residual_sd"] * np.sqrt(1 + 1 / effective + away)
    half_80 = deviation * stdtrit(effective - 2, 0.9)
    half_95 = deviation * stdtrit(effective - 2, 0.975)
    low = lines["lower"].fill_null(-np.inf).to_numpy()[:, None]
    high = lines["upper"].fill_null(np.inf).to_numpy()[:, None]
    arrays = {
        "value": middle,
        "lower_80": middle - half_80,
        "upper_80": middle + half_80,
        "lower_95": middle - half_95,
        "upper_95": middle + half_95,
    }
    places = np.repeat(np.arange(lines.height), horizon)
    steps = np.tile(np.arange(1, horizon + 1, dtype=np.int32), lines.height)
    return pl.DataFrame(
        {
            "series": lines["series"].gather(places),
            "timestamp": lines["last"].gather(places),
            "step": steps,
            **{name: np.clip(array, low, high).ravel() for name, array in arrays.items()},
        }
    ).with_columns(
        pl.col("timestamp") + pl.duration(days=pl.col("step")), pl.lit("linear").alias("model")
    )
