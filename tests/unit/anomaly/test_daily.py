"""Matrices of days, the profile of the week, and the two rank statistics."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau, theilslopes

from resmon_assets.anomaly.daily import days_of, mann_kendall, theil_sen, without_week
from resmon_assets.frames import TIER_ROWS, schema_of

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
COLUMNS = ("cpu_pct_avg",)
SCHEMA = schema_of(
    TIER_ROWS,
    only=(
        "server_id",
        "organization_id",
        "bucket_start",
        "sample_count",
        "expected_count",
        *COLUMNS,
    ),
)


def row(server, day, value, *, organization=1, samples=2880, expected=2880):
    return (server, organization, FIRST + timedelta(days=day), samples, expected, value)


def matrix(*rows, day_count=3):
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return days_of(frame, COLUMNS, first=FIRST, day_count=day_count)


def test_rows_stand_at_their_server_and_day():
    """Lets back: values of one server or day in the place of another."""
    days = matrix(row(9, 2, 30.0), row(4, 0, 10.0), row(9, 0, 20.0))
    assert days.server_ids.tolist() == [4, 9]
    np.testing.assert_array_equal(
        days.values["cpu_pct_avg"], [[10.0, np.nan, np.nan], [20.0, np.nan, 30.0]]
    )


def test_server_that_moved_has_one_value_weighted_by_samples_and_its_last_owner():
    """Lets back: a day counted twice, or an hour at the new owner weighing as much as 23."""
    days = matrix(
        row(1, 0, 10.0, organization=5, samples=2160, expected=2160),
        row(1, 0, 50.0, organization=6, samples=720, expected=720),
    )
    assert days.values["cpu_pct_avg"][0, 0] == pytest.approx(20.0)
    assert days.organization_ids.tolist() == [6]


def test_day_with_less_than_half_of_its_samples_is_not_measured():
    """Lets back: a morning that counts as a day."""
    days = matrix(row(1, 0, 10.0, samples=1439), row(1, 1, 10.0, samples=1440))
    np.testing.assert_array_equal(days.values["cpu_pct_avg"], [[np.nan, 10.0, np.nan]])


def test_rank_statistics_are_those_of_scipy():
    """Lets back: formulas that only agree with themselves; ties and gaps are among the series."""
    random = np.random.default_rng(3)
    values = random.normal(size=(40, 30)).round(1) + np.linspace(0, 2, 30)
    values[random.random(values.shape) < 0.1] = np.nan
    slopes, p = theil_sen(values), mann_kendall(values)
    for series, slope, p_value in zip(values, slopes, p, strict=True):
        known = np.isfinite(series)
        day = np.flatnonzero(known)
        assert slope == pytest.approx(theilslopes(series[known], day)[0])
        # The test of tau without the correction by one: never less sure of itself than ours.
        reference = kendalltau(day, series[known], method="asymptotic").pvalue
        assert reference <= p_value <= reference + 0.03


def test_equal_values_and_too_few_have_no_trend():
    """Lets back: a division by the variance of a constant."""
    assert mann_kendall(np.full((1, 7), 5.0)).tolist() == [1.0]
    assert np.isnan(mann_kendall(np.array([[1.0, 2.0, 3.0, np.nan]]))[0])
    assert np.isnan(theil_sen(np.array([[1.0, np.nan]]))[0])


def test_week_is_taken_out_and_a_steady_rise_is_not():
    """Lets back: a profile that swallows the trend, or weekends that count as one."""
    day = np.arange(56)
    week = np.array([3.0, 2.0, 2.0, 2.0, 1.0, -5.0, -5.0])
    adjusted, has_profile = without_week((20 + 0.5 * day + week[day % 7])[None, :])
    assert has_profile.tolist() == [True]
    np.testing.assert_allclose(adjusted[0], 20 + 0.5 * day)


def test_short_history_stays_as_it_is():
    """Lets back: a profile made of two weeks, one odd day of which is half."""
    values = np.random.default_rng(1).normal(size=(2, 27))
    adjusted, has_profile = without_week(values)
    np.testing.assert_array_equal(adjusted, values)
    assert not has_profile.any()
