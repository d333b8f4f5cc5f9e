"""Forecasts against what was measured: rows, and the figures of a day."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from resmon_assets.forecast.scores import MADE, MEASURED, SUMMARY, score_rows, summarise
from resmon_assets.frames import FORECAST_SCORE_ROWS, schema_of

DAY = datetime(2026, 3, 10, tzinfo=UTC)


def made(**changes: Any) -> dict[str, Any]:
    """A forecast of server 1's CPU, a day old: 40, usually 36 to 44."""
    return {
        "age_days": 1,
        "organization_id": 1,
        "server_id": 1,
        "mount": "",
        "metric": "cpu_pct",
        "method": "best",
        "value": 40.0,
        "lower_80": 36.0,
        "upper_80": 44.0,
        "lower_95": 30.0,
        "upper_95": 50.0,
        "scale": 4.0,
    } | changes


def measured(**changes: Any) -> dict[str, Any]:
    """Server 1's CPU was 42."""
    subject = {"organization_id": 1, "server_id": 1, "mount": "", "metric": "cpu_pct"}
    return {"bucket_start": DAY, **subject, "actual": 42.0} | changes


def scored(forecasts: list[dict[str, Any]], truth: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows of these."""
    return score_rows(pl.DataFrame(forecasts, schema=MADE), pl.DataFrame(truth, schema=MEASURED))


@pytest.mark.parametrize(
    ("actual", "error", "inside_80", "inside_95"),
    [
        (42.0, 2.0, True, True),
        (36.0, 4.0, True, True),
        (44.5, 4.5, False, True),
        (50.0, 10.0, False, True),
        (29.5, 10.5, False, False),
        (0.0, 40.0, False, False),
    ],
)
def test_error_and_bands(*, actual: float, error: float, inside_80: bool, inside_95: bool) -> None:
    """Would let back: an edge that counts as a miss, or a value of zero taken for missing."""
    (row,) = scored([made()], [measured(actual=actual)]).rows(named=True)
    assert row["absolute_error"] == error
    assert (row["is_inside_80"], row["is_inside_95"]) == (inside_80, inside_95)
    assert row["scale"] == 4.0


def test_schema_and_order_are_those_of_the_table() -> None:
    """Would let back: a frame that COPY writes into the wrong columns."""
    rows = scored([made(age_days=7), made(), made(method="linear")], [measured()])
    assert rows.schema == schema_of(FORECAST_SCORE_ROWS)
    assert rows.select("method", "age_days").rows() == [("best", 1), ("best", 7), ("linear", 1)]
    assert scored([], []).schema == rows.schema


def test_only_what_was_forecast_and_measured_is_scored() -> None:
    """Would let back: a gap that counts as an error, or another mount's value as the truth."""
    forecasts = [
        made(),
        made(server_id=2),
        made(server_id=3, value=None),
        made(mount="/var"),
        made(metric="memory_used_bytes"),
    ]
    truth = [measured(), measured(server_id=2, actual=None), measured(server_id=3)]
    rows = scored(forecasts, [*truth, measured(mount="/home")])
    assert rows.select("server_id", "mount", "metric").rows() == [(1, "", "cpu_pct")]


def test_server_that_moved_is_scored_and_organizations_are_told_apart() -> None:
    """Would let back: a move that hides how good the forecasts were, or another tenant's truth."""
    truth = [
        measured(organization_id=9),
        measured(organization_id=1, server_id=0, actual=10.0),
        measured(organization_id=2, server_id=0, actual=90.0),
    ]
    rows = scored([made(), made(server_id=0), made(server_id=0, organization_id=2)], truth)
    assert rows.select("organization_id", "server_id", "actual").rows() == [
        (1, 0, 10.0),
        (2, 0, 90.0),
        (9, 1, 42.0),
    ]


def test_constant_value_is_inside_its_band_of_no_width() -> None:
    """Would let back: a miss by the rounding to four bytes, on every idle file system."""
    third = 100 / 3
    band = dict.fromkeys(("value", "lower_80", "upper_80", "lower_95", "upper_95"), third)
    (row,) = scored([made(**band, scale=0.0)], [measured(actual=third)]).rows(named=True)
    assert (row["absolute_error"], row["is_inside_80"], row["is_inside_95"]) == (0.0, True, True)


def test_summary_by_hand() -> None:
    """Would let back: a division by a scale of zero, or means over the wrong groups."""
    forecasts = [
        made(server_id=1),  # error 2, scale 4: 0.5
        made(server_id=2, value=50.0, upper_80=60.0, lower_80=45.0),  # error 8: 2.0, outside 80
        made(server_id=3, scale=0.0),  # no MASE; inside
        made(server_id=4, scale=None),  # no MASE; inside
        made(server_id=1, age_days=7, value=46.0),  # error 4: 1.0
        made(server_id=3, method="linear", scale=0.0),
    ]
    truth = [measured(server_id=number) for number in (1, 2, 3, 4)]
    summary = summarise(scored(forecasts, truth))
    assert summary.schema == pl.Schema(SUMMARY)
    assert summary.rows() == [
        ("best", 1, 4, 1.25, 1.25, 0.75, 1.0),
        ("best", 7, 1, 1.0, 1.0, 1.0, 1.0),
        ("linear", 1, 1, None, None, 1.0, 1.0),
    ]
    assert summarise(scored([], [])).is_empty()
