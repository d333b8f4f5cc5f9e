"""The straight line: against a second method, its edge cases, and its bands."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from resmon_assets.forecast.linear import fit_lines, project_lines
from tests.unit.forecast.builders import disorder, history

RANDOM = np.random.default_rng(11)


def test_slope_intercept_and_r_squared_are_those_of_scipy():
    """Would let back: a wrong sum somewhere in the closed form."""
    values = RANDOM.normal(size=(5, 23)).cumsum(axis=1) + 1e6
    found = fit_lines(history(*values)).to_dicts()
    for row, series in zip(found, values, strict=True):
        expected = stats.linregress(np.arange(-22, 1), series)
        assert row["slope_per_day"] == pytest.approx(expected.slope, rel=1e-6)
        assert row["intercept"] == pytest.approx(expected.intercept)
        assert row["r_squared"] == pytest.approx(expected.rvalue**2, rel=1e-6)


def test_without_autocorrelation_the_test_is_students():
    """Would let back: a p-value that is not the textbook's where the textbook is right."""
    values = 0.05 * np.arange(40) + np.tile([1.0, -1.0], 20)
    found = fit_lines(history(values)).row(0, named=True)
    assert found["p_value"] == pytest.approx(stats.linregress(np.arange(40), values).pvalue)
    assert found["trend"] == "increasing"


def test_a_slow_wave_is_less_of_a_trend_than_independent_values():
    """Would let back: alarm over the rising half of every random walk."""
    steps = RANDOM.normal(size=(400, 40))
    walk = np.zeros((400, 40))
    for t in range(1, 40):
        walk[:, t] = 0.6 * walk[:, t - 1] + steps[:, t]
    textbook = np.mean([stats.linregress(np.arange(40), w).pvalue < 0.05 for w in walk])
    found = np.mean((fit_lines(history(*walk))["trend"] != "flat").to_numpy())
    assert textbook > 0.25
    assert found < 0.12


def test_a_flat_series_has_a_defined_confidence():
    """Would let back: not-a-number where a user looks for a confidence."""
    found = fit_lines(history([5.0] * 10, [0.0] * 10, [0.1 + 0.2] * 10))
    assert found["r_squared"].to_list() == [1.0] * 3
    assert found["slope_per_day"].to_list() == [0.0] * 3
    assert found["p_value"].to_list() == [1.0] * 3
    assert found["trend"].to_list() == ["flat"] * 3


def test_an_exact_line_is_a_trend_beyond_doubt():
    """Would let back: a division by a spread of nothing."""
    found = fit_lines(history(np.arange(10.0), 9 - np.arange(10.0)))
    assert found["trend"].to_list() == ["increasing", "decreasing"]
    assert found["p_value"].to_list() == [0.0, 0.0]
    assert found["intercept"].to_list() == pytest.approx([9.0, 0.0])


def test_fewer_than_seven_days_are_not_enough():
    """Would let back: the trend of a weekend; or of an hour with seven readings."""
    many_a_day = history(np.arange(12.0), hours=6)
    found = fit_lines(
        pl.concat(
            [
                history([1.0, 2, 3, 4, 5, 6], [1.0, 2, 3, 4, 5, 6, 7], [None] * 9),
                many_a_day.with_columns(pl.lit("often").alias("series")),
            ]
        )
    )
    assert found["n"].to_list() == [6, 7, 0, 12]
    assert found["trend"].to_list() == [
        *("insufficient_data", "increasing"),
        *("insufficient_data", "insufficient_data"),
    ]
    assert found["slope_per_day"].null_count() == 3
    assert found["r_squared"].null_count() == 3
    assert project_lines(found, 3)["series"].unique().to_list() == ["s1"]


def test_the_intercept_is_the_line_at_the_last_stamp_also_without_a_value_there():
    """Would let back: a projection that is off by the days that were not measured."""
    rows = history([*np.arange(10.0), None, None])
    found = fit_lines(rows)
    assert found["intercept"].to_list() == pytest.approx([11.0])
    assert project_lines(found, 2)["value"].to_list() == pytest.approx([12.0, 13.0])


def test_the_band_is_the_textbooks_prediction_interval():
    """Would let back: a band of the line instead of one of the values around it."""
    y = np.tile([1.0, -1.0], 10) + np.arange(20)
    found = project_lines(fit_lines(history(y)), 5)
    x = np.arange(20)
    slope, intercept = np.polyfit(x, y, 1)
    sd = np.sqrt(((y - intercept - slope * x) ** 2).sum() / 18)
    new = np.arange(20, 25)
    se = sd * np.sqrt(1 + 1 / 20 + (new - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    for part, p in ((80, 0.9), (95, 0.975)):
        half = se * stats.t.ppf(p, 18)
        np.testing.assert_allclose(found[f"upper_{part}"], intercept + slope * new + half)
        np.testing.assert_allclose(found[f"lower_{part}"], intercept + slope * new - half)


def test_the_line_stays_within_its_bounds():
    """Would let back: a disk of 110 %."""
    rows = history(np.arange(20.0) * 5 + RANDOM.normal(size=20), 20 - np.arange(20.0))
    bounds = pl.DataFrame({"series": ["s0", "s1"], "lower": [0.0, 0.0], "upper": [100.0, None]})
    found = project_lines(fit_lines(rows), 30, bounds)
    assert disorder(found) == 0
    assert found.filter(series="s0")["value"].max() == 100
    assert found.filter(series="s1")["value"].min() == 0
