"""How we know that the forecasts of a day are right.

Belongs here: the rules that only forecasts have, and what those of `window_checks.py` are told
about them. Whether every server has its rows is judged inside the asset, in the transaction that
wrote; the rest reads the stored rows again.
"""

from itertools import pairwise

import polars as pl

from resmon_assets.forecast.capacity import CPU, INSUFFICIENT_DATA, OK
from resmon_assets.forecast.limits import REASONS
from resmon_assets.forecast.refresh import FORECAST_DAY
from resmon_assets.frames import BANDS, CAPACITY_FORECAST_KEY, HORIZON_DAYS, LIMIT_PERCENTS
from resmon_assets.reporting import Finding
from resmon_assets.window_checks import (
    COVERS_FLEET,
    FULL_PERCENT,
    HAS_UNIQUE_KEY,
    KEEPS_ORDER,
    WrittenRules,
    rows_that,
    stored_checks,
    written_totals,
)
from resmon_assets.windows import Outcome

KEEPS_BANDS = "keeps_bands_in_order"
KEEPS_BOUNDS = "keeps_within_bounds"
TELLS_LIMITS = "tells_day_or_reason"

DESCRIPTIONS = {
    COVERS_FLEET: (
        "Every active server with at least seven days of CPU in the last sixty has its rows, and "
        "no row is missing."
    ),
    HAS_UNIQUE_KEY: f"({', '.join(CAPACITY_FORECAST_KEY)}) is unique.",
    KEEPS_ORDER: (
        "Earliest, expected and latest day of a limit do not fall, nor do the days of 85, 90 and "
        "100 %."
    ),
    KEEPS_BANDS: (
        f"A forecast has {HORIZON_DAYS} finite values in each of its five arrays, with lower_95 <= "
        "lower_80 <= value <= upper_80 <= upper_95; a row without one has none of them."
    ),
    KEEPS_BOUNDS: "No value or band is negative; of CPU none is above 100.",
    TELLS_LIMITS: "Each limit has a day or one of the known reasons why none is told.",
}

_ARRAYS = ("value", *BANDS)
_CHAIN = ("lower_95", "lower_80", "value", "upper_80", "upper_95")


def judge_bands(rows: pl.DataFrame) -> Finding:
    """Look for forecasts with arrays that are incomplete, not finite or in disorder."""
    is_ok = pl.col("status") == OK
    incomplete = pl.any_horizontal(
        pl.when(is_ok)
        .then(
            pl.col(name).list.len().fill_null(0).ne(HORIZON_DAYS)
            | pl.col(name)
            .list.eval(pl.element().is_finite().fill_null(value=False))
            .list.all()
            .not_()
        )
        .otherwise(pl.col(name).is_not_null())
        for name in _ARRAYS
    )
    # Subtracted as lists, which must be of equal length: asked only of those that are.
    whole = rows.filter(is_ok & ~incomplete).with_columns(
        pl.any_horizontal(
            (pl.col(high) - pl.col(low)).list.min() < 0 for low, high in pairwise(_CHAIN)
        ).alias("is_wrong")
    )
    bad = pl.concat([rows.filter(incomplete), whole.filter("is_wrong").drop("is_wrong")])
    return Finding(
        is_good=bad.is_empty(),
        actual=bad.height,
        allowed=f"0 rows without {HORIZON_DAYS} values in order in each array",
        examples=bad.select(*CAPACITY_FORECAST_KEY, "status", *_ARRAYS),
    )


def judge_bounds(rows: pl.DataFrame) -> Finding:
    """Look for values that cannot be; how full a quota may become is not bounded."""
    low = pl.any_horizontal(pl.col(name).list.min() < 0 for name in _ARRAYS)
    high = pl.any_horizontal(pl.col(name).list.max() > FULL_PERCENT for name in _ARRAYS)
    return rows_that(
        rows,
        low.fill_null(value=False) | ((pl.col("metric") == CPU) & high.fill_null(value=False)),
        allowed="0 rows with a negative value, or CPU above 100 percent",
    )


def judge_limits(rows: pl.DataFrame) -> Finding:
    """Look for limits with neither a day nor a reason, with both, or with an unknown reason."""
    wrong = []
    for percent in LIMIT_PERCENTS:
        day, reason = pl.col(f"reach_{percent}_on"), pl.col(f"reach_{percent}_reason")
        wrong.append(day.is_null() == reason.is_null())
        wrong.append(~reason.is_in(REASONS).fill_null(value=True))
        wrong.append(day.is_null() & pl.col(f"reach_{percent}_earliest").is_not_null())
        wrong.append(day.is_not_null() & (pl.col("status") == INSUFFICIENT_DATA))
    return rows_that(
        rows,
        pl.any_horizontal(wrong),
        allowed=f"0 limits without either a day or one of {', '.join(REASONS)}",
    )


def judge_coverage(outcome: Outcome) -> Finding:
    """A server that should have a forecast and has no row, or a lost row, is wrong."""
    totals = written_totals(outcome)
    missing_rows = outcome.row_count - totals["stored_rows"]
    missing = totals["missing_servers"]
    return Finding(
        is_good=missing == 0 and missing_rows == 0,
        actual=missing,
        allowed=f"0 of {totals['due_servers']} servers without rows, and no row missing",
        figures={"missing_rows": missing_rows, "due_servers": totals["due_servers"]},
    )


RULES = WrittenRules({COVERS_FLEET: judge_coverage}, DESCRIPTIONS)
"""Of the days that were just written."""

RISING = [
    *((f"reach_{p}_earliest", f"reach_{p}_on", f"reach_{p}_latest") for p in LIMIT_PERCENTS),
    tuple(f"reach_{p}_on" for p in LIMIT_PERCENTS),
]
OWN_RULES = {
    KEEPS_BANDS: judge_bands,
    KEEPS_BOUNDS: judge_bounds,
    TELLS_LIMITS: judge_limits,
}

FORECAST_CHECKS = stored_checks(
    FORECAST_DAY, rising=RISING, descriptions=DESCRIPTIONS, own_rules=OWN_RULES
)
"""Schema, key, order and range; bands, bounds and limits."""
