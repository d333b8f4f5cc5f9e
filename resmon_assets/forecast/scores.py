"""How good forecasts were: rows of past forecasts against what was measured, and their summary.

Belongs here: pure arithmetic on frames: errors, whether the bands held, and the figures of a day by
method and age. Reads nothing; which forecasts are how old is said by the caller.
"""

import polars as pl

from resmon_assets.frames import FORECAST_SCORE_ROWS, INSTANT, schema_of

AGES_DAYS = (1, 7, 30)
"""Forecasts are scored when they are this old: tomorrow, a week, the end of the horizon."""

SUBJECT = ("organization_id", "server_id", "mount", "metric")
"""What a forecast is about; `server_id` 0 is the organization itself, `mount` '' no file system."""

MADE = pl.Schema(
    {
        "age_days": pl.Int16(),
        "organization_id": pl.Int32(),
        "server_id": pl.Int32(),
        "mount": pl.String(),
        "metric": pl.String(),
        "method": pl.String(),
        "value": pl.Float32(),
        "lower_80": pl.Float32(),
        "upper_80": pl.Float32(),
        "lower_95": pl.Float32(),
        "upper_95": pl.Float32(),
        "scale": pl.Float64(),
    }
)
"""What was said of a day, `age_days` before it, in the unit of the metric."""

MEASURED = pl.Schema(
    {
        "bucket_start": INSTANT,
        "organization_id": pl.Int32(),
        "server_id": pl.Int32(),
        "mount": pl.String(),
        "metric": pl.String(),
        "actual": pl.Float64(),
    }
)
"""What was measured on a day, in the unit of the metric."""

SUMMARY = pl.Schema(
    {
        "method": pl.String(),
        "age_days": pl.Int16(),
        "forecasts": pl.UInt32(),
        "mase_mean": pl.Float64(),
        "mase_median": pl.Float64(),
        "coverage_80": pl.Float64(),
        "coverage_95": pl.Float64(),
    }
)

_ROWS = schema_of(FORECAST_SCORE_ROWS)


def score_rows(made: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Compare what was said of a day with what was measured on it.

    Numbers are compared as they are stored, as Float32: a band that is as wide as nothing, of a
    value that never moves, must not miss it by a rounding.

    A server is the same after it moved to another organization; its row has the one of the day.

    Args:
        made: columns of `MADE`, unique by subject, method and age. A null value is no forecast
            (insufficient data), and gives no row.
        truth: columns of `MEASURED`, unique by subject. A null is "not measured", and gives no row.

    Returns:
        Schema `frames.FORECAST_SCORE_ROWS`, ordered by its key; a row for every forecast of what
        was measured. `scale` is the mean absolute change from one day to the next in the history
        that the forecast knew; null where it was not known.
    """
    measured = truth.filter(pl.col("actual").is_not_null()).select(
        "bucket_start",
        *SUBJECT,
        _owner(),
        pl.col("actual").cast(pl.Float32),
    )
    joined = (
        made.filter(pl.col("value").is_not_null())
        .with_columns(_owner())
        .drop("organization_id")
        .join(measured, on=[*SUBJECT[1:], "owner"], how="inner", validate="m:1")
    )
    actual = pl.col("actual")
    return (
        joined.with_columns(
            (pl.col("value") - actual).abs().alias("absolute_error"),
            pl.col("scale").cast(pl.Float32),
            *(
                actual.is_between(pl.col(f"lower_{level}"), pl.col(f"upper_{level}")).alias(
                    f"is_inside_{level}"
                )
                for level in (80, 95)
            ),
        )
        .select(_ROWS.names())
        .cast(_ROWS)
        .sort(*SUBJECT, "method", "age_days")
    )


def summarise(rows: pl.DataFrame) -> pl.DataFrame:
    """The figures of a day by method and age, over all subjects alike.

    MASE is the absolute error divided by the mean absolute change from day to day of the history
    (Hyndman and Koehler 2006): 1 is as wrong as "tomorrow is like today" was. A value that never
    moved has no such scale and is left out of it, not out of the coverage. The mean is ruled by a
    few restless series; the median says what is usual.

    Args:
        rows: schema `frames.FORECAST_SCORE_ROWS`.

    Returns:
        Schema `SUMMARY`, ordered by method and age. MASE is null where no row has a scale.
    """
    has_scale = pl.col("scale").is_not_null() & (pl.col("scale") > 0)
    scaled = (
        pl.when(has_scale)
        .then(pl.col("absolute_error").cast(pl.Float64) / pl.col("scale"))
        .otherwise(None)
    )
    return (
        rows.group_by("method", "age_days")
        .agg(
            pl.len().alias("forecasts"),
            scaled.mean().alias("mase_mean"),
            scaled.median().alias("mase_median"),
            pl.col("is_inside_80").mean().alias("coverage_80"),
            pl.col("is_inside_95").mean().alias("coverage_95"),
        )
        .cast(SUMMARY)
        .sort("method", "age_days")
    )


def _owner() -> pl.Expr:
    """The organization where it is what was forecast, 0 for what a server has."""
    is_organization = pl.col("server_id") == 0
    return pl.when(is_organization).then("organization_id").otherwise(0).alias("owner")
