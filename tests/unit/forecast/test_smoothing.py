"""Methods on arrays against statsmodels, and against hand-made series."""

import warnings

import numpy as np
import pytest
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.holtwinters import Holt, SimpleExpSmoothing

from resmon_assets.forecast import hourly, smoothing

RANDOM = np.random.default_rng(3)
SERIES = RANDOM.normal(size=(12, 30)).cumsum(axis=1) * 0.5 + RANDOM.normal(size=(12, 30)) + 20


def test_smoothing_is_that_of_statsmodels_with_a_weight_from_a_grid():
    """Would let back: a recursion or a first level that is not the one of the textbook."""
    levels, weights = smoothing.smoothed(SERIES, [30])
    for values, level, weight in zip(SERIES, levels[:, 0], weights[:, 0], strict=True):
        free = SimpleExpSmoothing(values, initialization_method="estimated").fit()
        same = SimpleExpSmoothing(values, initialization_method="estimated").fit(
            smoothing_level=weight, optimized=True
        )
        assert same.forecast(1)[0] == pytest.approx(level, abs=2e-3)
        assert same.sse <= free.sse * 1.02


def test_theta_below_two_weeks_is_that_of_statsmodels():
    """Would let back: half a slope too much or too little."""
    short = SERIES[:, :13]
    found = smoothing.weekly_theta(short, [13], 5)[:, 0]
    for values, forecast in zip(short, found, strict=True):
        expected = ThetaModel(values, period=1, deseasonalize=False).fit().forecast(5)
        scale = np.abs(np.diff(values)).mean()
        assert np.abs(forecast - np.asarray(expected)).max() < 0.6 * scale


def test_damped_trend_is_holts_recursion():
    """Would let back: a trend that is damped once too often."""
    found = smoothing.damped_trend(SERIES, [30], 4)[:, 0]
    for values, forecast in zip(SERIES, found, strict=True):
        fits = []
        for alpha, beta, phi in smoothing.TREND_GRID:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fits.append(
                    Holt(
                        values,
                        damped_trend=True,
                        initialization_method="known",
                        initial_level=values[0],
                        initial_trend=0.0,
                    ).fit(
                        smoothing_level=alpha,
                        smoothing_trend=beta,
                        damping_trend=phi,
                        optimized=False,
                    )
                )
        best = min(fits, key=lambda fit: fit.sse)
        np.testing.assert_allclose(forecast, best.forecast(4), rtol=1e-9)


@pytest.mark.parametrize(
    "method",
    [
        *(*smoothing.METHODS.values(), smoothing.combination),
    ],
)
def test_an_origin_sees_only_what_lies_before_it(method: smoothing.Method):
    """Would let back: a back-test that knows the answer, and a model chosen by it."""
    together = method(SERIES, [15, 22, 30], 6)
    for i, origin in enumerate([15, 22, 30]):
        alone = method(SERIES[:, :origin], [origin], 6)[:, 0]
        np.testing.assert_array_equal(together[:, i], alone)


def test_a_weekly_pattern_is_continued():
    """Would let back: busy Mondays forecast for Sundays."""
    week = np.array([9.0, 9, 9, 9, 9, 1, 1])
    found = smoothing.weekly_profile(np.tile(week, 6)[None], [42], 9)[0, 0]
    assert found[:5].min() > found[5:7].max() + 3
    np.testing.assert_allclose(found[7:], found[:2])


def test_hours_of_the_day_are_continued():
    """Would let back: a flat night, or a profile shifted by the odd hours at the beginning."""
    day = np.r_[np.zeros(12), np.full(12, 10.0)]
    values = np.r_[np.full(5, 10.0), np.tile(day, 5)][None]
    for method in (*hourly.METHODS.values(), hourly.combination):
        np.testing.assert_allclose(method(values, [125], 30)[0, 0], np.r_[day, day[:6]], atol=0.2)
