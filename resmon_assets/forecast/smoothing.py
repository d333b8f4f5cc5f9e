"""Forecasts of many series of equal length at once: each method is one array in, one array out.

Belongs here: the methods, one by one; which of them a series gets is decided in selection.py. Pure,
numpy only. Every method has the same form, `Method`: values of S series at n equal steps, without a
gap, and the origins at which to look ahead; out come the forecasts of H steps from each origin,
made from what lies before it. The recursions of smoothing visit every step anyway, so that a
back-test at all origins costs one pass, each with the parameters that fit best up to there.

Exponential smoothing is that of statsmodels (SimpleExpSmoothing, Holt, ThetaModel), with the
smoothing weight from a grid instead of an optimiser and the first level solved exactly: the tests
hold the two side by side.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Method = Callable[[Floats, Sequence[int], int], Floats]
"""(values (S, n), origins, horizon) -> (S, origins, horizon); origin o has seen values[:, :o]."""

ALPHAS = np.array([0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
WEEK = 7
FEWEST_WEEKS = 2
WEEKS_OF_DOUBT = 2.0
"""A weekday's deviation counts (weeks - 1) / (weeks - 1 + this): a third after two weeks."""
SLOPE_STEPS = 60
TREND_QUANTILE = 1.96
"""Of the normal distribution: a two-sided test at 5 %."""
TREND_GRID = [(a, b, 0.9) for a in (0.1, 0.3, 0.5, 0.7, 0.9) for b in (0.05, 0.2, 0.5)]


def repeated(levels: Floats, horizon: int) -> Floats:
    """Levels (S, origins) as flat forecasts."""
    return np.repeat(levels[:, :, None], horizon, axis=2)


def last_value(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """The last value, repeated."""
    return repeated(values[:, [o - 1 for o in origins]], horizon)


def recent_median(
    values: Floats, origins: Sequence[int], horizon: int, *, steps: int = 7
) -> Floats:
    """Median of the last `steps` values, or of as many as there are."""
    levels = [np.median(values[:, max(0, o - steps) : o], axis=1) for o in origins]
    return repeated(np.stack(levels, axis=1), horizon)


def overall_mean(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Mean of everything seen."""
    sums = np.cumsum(values, axis=1)
    return repeated(np.stack([sums[:, o - 1] / o for o in origins], axis=1), horizon)


def simple_smoothing(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Simple exponential smoothing; weight and first level have the least squared error so far."""
    levels, _ = smoothed(values, origins)
    return repeated(levels, horizon)


def damped_trend(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Holt's smoothing with a damped trend that begins at zero; parameters from a grid."""
    grid = np.array(TREND_GRID)
    alpha, beta, phi = grid.T
    level = np.repeat(values[:, :1], len(grid), axis=1)
    trend = np.zeros_like(level)
    squares = np.zeros_like(level)
    out = np.empty((len(values), len(origins), horizon))
    places = {o: i for i, o in enumerate(origins)}
    rows = np.arange(len(values))
    for t in range(max(origins)):
        y = values[:, t, None]
        expected = level + phi * trend
        squares += (y - expected) ** 2
        before = level
        level = alpha * y + (1 - alpha) * expected
        trend = beta * (level - before) + (1 - beta) * phi * trend
        if t + 1 in places:
            best = squares.argmin(axis=1)
            damping = np.cumsum(phi[best][:, None] ** np.arange(1, horizon + 1), axis=1)
            out[:, places[t + 1]] = level[rows, best, None] + trend[rows, best, None] * damping
    return out


def smoothed(values: Floats, origins: Sequence[int]) -> tuple[Floats, Floats]:
    """Level and weight of simple smoothing at each origin, both (S, origins).

    The error of a step is `a - b * first` with `b = (1 - alpha)^t`: linear in the first level,
    which therefore has a closed form, and only the weight needs the grid.
    """
    count = len(values)
    shift = values[:, :1]
    level = np.zeros((count, len(ALPHAS)))
    decay = np.ones(len(ALPHAS))
    aa, ab, bb = np.zeros_like(level), np.zeros_like(level), np.zeros(len(ALPHAS))
    out, weights = np.empty((count, len(origins))), np.empty((count, len(origins)))
    places = {o: i for i, o in enumerate(origins)}
    rows = np.arange(count)
    for t in range(max(origins)):
        a = (values[:, t, None] - shift) - level
        aa += a * a
        ab += a * decay
        bb += decay * decay
        level += ALPHAS * a
        decay = decay * (1 - ALPHAS)
        if t + 1 in places:
            i = places[t + 1]
            first = ab / bb
            best = (aa - ab * first).argmin(axis=1)
            weights[:, i] = ALPHAS[best]
            out[:, i] = shift[:, 0] + level[rows, best] + decay[best] * first[rows, best]
    return out, weights


def weekly_profile(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Simple smoothing on top of the weekday's usual deviation from its week.

    The deviation is a mean over the weeks seen, drawn towards zero as long as they are few; below
    two weeks it is simple smoothing.
    """
    return _weekly(values, origins, horizon)[0]


def weekly_theta(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Theta on top of the weekday's usual deviation from its week; below two weeks, plain Theta.

    Theta is simple smoothing that rises with half the slope of the straight line: Assimakopoulos
    and Nikolopoulos (2000), International Journal of Forecasting 16(4), in the form of Hyndman and
    Billah (2003), 19(2).
    """
    return _weekly(values, origins, horizon)[1]


def straight_line(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Least-squares line through the last 60 values, continued."""
    out = np.empty((len(values), len(origins), horizon))
    for i, o in enumerate(origins):
        seen = values[:, max(0, o - SLOPE_STEPS) : o]
        n = seen.shape[1]
        x = np.arange(n) - (n - 1) / 2
        slope = (seen * x).sum(axis=1) / max(float(x @ x), 1.0)
        ahead = np.arange(1, horizon + 1) + (n - 1) / 2
        out[:, i] = seen.mean(axis=1)[:, None] + slope[:, None] * ahead
    return out


def robust_slope(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Theil and Sen's slope from the last week's level on; flat where no trend is found."""
    return _sloped(values, origins, horizon, WEEK)


def robust_drift(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Theil and Sen's slope from the last value on: what a disk does that only fills up."""
    return _sloped(values, origins, horizon, 1)


def combination(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Mean of five methods without the highest and the lowest of them, step by step.

    The last value, the medians of the last 3 and 7, and smoothing on the weekly profile, flat and
    with half the slope.
    """
    members = [
        last_value(values, origins, horizon),
        recent_median(values, origins, horizon, steps=3),
        recent_median(values, origins, horizon),
        *_weekly(values, origins, horizon),
    ]
    middle: Floats = np.sort(np.stack(members), axis=0)[1:-1].mean(axis=0)
    return middle


def _weekly(values: Floats, origins: Sequence[int], horizon: int) -> tuple[Floats, Floats]:
    """Smoothing on the weekly profile, flat and with half the slope."""
    flat = np.empty((len(values), len(origins), horizon))
    rises = np.empty_like(flat)
    for i, o in enumerate(origins):
        deviation = _by_weekday(values[:, :o])
        before = np.tile(deviation, (1, o // WEEK + 1))[:, -o:]
        plain = values[:, :o] - before
        level, weight = smoothed(plain, [o])
        flat[:, i] = level + deviation[:, np.arange(horizon) % WEEK]
        rises[:, i] = _half_slope(plain, weight[:, 0], horizon)
    return flat, flat + rises


def _sloped(values: Floats, origins: Sequence[int], horizon: int, recent: int) -> Floats:
    """Theil and Sen's slope from the median of the last `recent` values on.

    The slope is the median over all pairs of the last 60 values (Sen 1968, Journal of the American
    Statistical Association 63), and zero unless Kendall's test finds a trend at 5 % (Mann 1945,
    Econometrica 13), without correction for ties.
    """
    out = np.empty((len(values), len(origins), horizon))
    for i, o in enumerate(origins):
        seen = values[:, max(0, o - SLOPE_STEPS) : o]
        n = seen.shape[1]
        first, second = np.triu_indices(n, 1)
        differences = seen[:, second] - seen[:, first]
        balance = np.abs(np.sign(differences).sum(axis=1))
        is_trend = (balance - 1) / np.sqrt(n * (n - 1) * (2 * n + 5) / 18) > TREND_QUANTILE
        slope = np.zeros(len(values))
        slope[is_trend] = np.median(differences[is_trend] / (second - first), axis=1)
        to_now = seen[:, -recent:] + slope[:, None] * np.arange(min(n, recent))[::-1]
        level = np.median(to_now, axis=1)
        out[:, i] = level[:, None] + slope[:, None] * np.arange(1, horizon + 1)
    return out


def _by_weekday(values: Floats) -> Floats:
    """Usual deviation of the seven weekdays (S, 7), the one that follows the last value first."""
    weeks = values.shape[1] // WEEK
    if weeks < FEWEST_WEEKS:
        return np.zeros((len(values), WEEK))
    by_week = values[:, -WEEK * weeks :].reshape(len(values), weeks, WEEK)
    deviation: Floats = (by_week - by_week.mean(axis=2, keepdims=True)).mean(axis=1)
    deviation *= (weeks - 1) / (weeks - 1 + WEEKS_OF_DOUBT)
    return deviation


def _half_slope(values: Floats, weight: Floats, horizon: int) -> Floats:
    """What Theta adds to the level of smoothing with `weight` (S,): (S, horizon)."""
    steps = values.shape[1]
    x = np.arange(steps) - (steps - 1) / 2
    slope = (values * x).sum(axis=1) / max(float(x @ x), 1.0)
    ahead = np.arange(horizon)[None, :] + ((1 - (1 - weight) ** steps) / weight)[:, None]
    return np.asarray(0.5 * slope[:, None] * ahead)


METHODS: dict[str, Method] = {
    "simple_smoothing": simple_smoothing,
    "weekly_profile": weekly_profile,
    "weekly_theta": weekly_theta,
    "damped_trend": damped_trend,
    "robust_slope": robust_slope,
    "straight_line": straight_line,
    "robust_drift": robust_drift,
    "overall_mean": overall_mean,
}
"""Single methods that a series may get instead of the combination."""
