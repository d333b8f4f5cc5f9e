"""Small histories: a test states the values, the builder the rest."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

START = datetime(2026, 1, 5, tzinfo=UTC)


def history(
    *series: Iterable[Any], names: list[str] | None = None, hours: int = 24
) -> pl.DataFrame:
    """Series of values at equal steps from START on, named s0, s1, ..., in long form."""
    rows = [
        (names[i] if names else f"s{i}", START + timedelta(hours=hours) * k, value)
        for i, values in enumerate(series)
        for k, value in enumerate(values)
    ]
    schema = pl.Schema(
        {"series": pl.String(), "timestamp": pl.Datetime("us", "UTC"), "value": pl.Float64()}
    )
    return pl.DataFrame(rows, schema=schema, orient="row")


BANDS = ("lower_95", "lower_80", "value", "upper_80", "upper_95")


def disorder(points: pl.DataFrame) -> int:
    """Rows whose bands are not in order, or hold no finite number."""
    in_order = pl.all_horizontal(pl.col(low) <= pl.col(high) for low, high in pairwise(BANDS))
    finite = pl.all_horizontal(pl.col(c).is_finite().fill_null(value=False) for c in BANDS)
    return points.filter(~(in_order & finite)).height
