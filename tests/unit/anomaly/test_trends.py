"""Trends over 7 and 30 days."""

from datetime import timedelta

import numpy as np
import pytest

from benchmarks._daily_series import FIRST
from resmon_assets.anomaly.daily import Days
from resmon_assets.anomaly.trends import COLUMNS, HISTORY_DAYS, trend_rows
from resmon_assets.frames import METRICS, UTILIZATION_TREND_ROWS, schema_of

LAST = FIRST + timedelta(days=HISTORY_DAYS - 1)
DAY = np.arange(HISTORY_DAYS, dtype=float)


def cpu_row(values):
    """The row of CPU of one server whose other metrics are level."""
    level = np.full((1, HISTORY_DAYS), 1000.0)
    matrices = dict.fromkeys(COLUMNS, level) | {"cpu_pct_avg": np.atleast_2d(values)}
    servers = np.array([3], dtype=np.int32)
    rows = trend_rows(Days(servers, servers + 1, FIRST, matrices), day=LAST)
    assert rows.schema == schema_of(UTILIZATION_TREND_ROWS)
    assert rows["metric"].to_list() == list(METRICS)
    return rows.row(0, named=True)


def test_steady_rise_is_told_with_its_slope_and_change():
    """Lets back: a slope per something else than a day, or a change against the wrong week."""
    row = cpu_row(10 + 0.5 * DAY)
    assert (row["server_id"], row["organization_id"], row["bucket_start"]) == (3, 4, LAST)
    assert (row["direction_7d"], row["direction_30d"]) == ("increasing", "increasing")
    assert row["slope_per_day_7d"] == pytest.approx(0.5)
    assert row["slope_per_day_30d"] == pytest.approx(0.5)
    # Days 53 to 59 against 46 to 52, 30 to 59 against 0 to 29, by hand.
    assert row["mean_7d"] == pytest.approx(38.0)
    assert row["change_percent_7d"] == pytest.approx(100 * (38.0 / 34.5 - 1))
    assert row["mean_30d"] == pytest.approx(32.25)
    assert row["change_percent_30d"] == pytest.approx(100 * (32.25 / 17.25 - 1))
    assert (row["measured_days_7d"], row["measured_days_30d"]) == (7, 30)


def test_weekend_at_the_end_of_a_week_is_no_fall():
    """Lets back: a trend of every server that turns with the day of the week."""
    week = np.array([5.0, 5.0, 4.0, 5.0, 3.0, -11.0, -11.0])
    values = 40 + np.roll(week, HISTORY_DAYS % 7)[np.arange(HISTORY_DAYS) % 7]
    row = cpu_row(values)
    assert values[-2:].max() < values[-7:-2].min(), "the span ends on the two low days"
    assert row["is_deseasonalised"]
    assert (row["direction_7d"], row["direction_30d"]) == ("flat", "flat")
    assert row["slope_per_day_7d"] == pytest.approx(0, abs=1e-6)


def test_too_few_days_give_null_and_not_a_guess():
    """Lets back: a month told from nineteen days, or zero for not known."""
    values = 10 + DAY
    values[:41] = np.nan
    row = cpu_row(values)
    assert row["measured_days_30d"] == 19
    assert row["mean_30d"] is row["slope_per_day_30d"] is row["direction_30d"] is None
    assert row["p_value_30d"] is row["change_percent_30d"] is None
    assert row["direction_7d"] == "increasing"
    assert row["change_percent_7d"] is not None
    values[46:53] = np.nan
    assert cpu_row(values)["change_percent_7d"] is None


def test_idle_before_gives_no_change_in_percent():
    """Lets back: infinity in a column of percents."""
    row = cpu_row(np.where(DAY < 53, 0.0, 4.0))
    assert row["mean_7d"] == pytest.approx(4.0)
    assert row["change_percent_7d"] is None
