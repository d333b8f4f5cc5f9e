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
DAY = 24
WEEK = 7
FEWEST_WEEKS = 2
WEEKS_OF_DOUBT = 2.0
"""A weekday's deviation counts (weeks - 1) / (weeks - 1 + this): a third after two weeks."""
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


def theta(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Theta: simple smoothing that rises with half the slope of the straight line.

    Assimakopoulos and Nikolopoulos (2000), International Journal of Forecasting 16(4), in the form
    of Hyndman and Billah (2003), 19(2).
    """
    levels, weights = smoothed(values, origins)
    out = np.empty((len(values), len(origins), horizon))
    for i, o in enumerate(origins):
        x = np.arange(o) - (o - 1) / 2
        spread = float(x @ x)
        slope = values[:, :o] @ x / spread if spread else np.zeros(len(values))
        weight = weights[:, i]
        ahead = np.arange(horizon)[None, :] + ((1 - (1 - weight) ** o) / weight)[:, None]
        out[:, i] = levels[:, i, None] + 0.5 * slope[:, None] * ahead
    return out


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
    out = np.empty((len(values), len(origins), horizon))
    for i, o in enumerate(origins):
        weeks = o // WEEK
        if weeks < FEWEST_WEEKS:
            out[:, i] = simple_smoothing(values[:, :o], [o], horizon)[:, 0]
            continue
        by_week = values[:, o - WEEK * weeks : o].reshape(len(values), weeks, WEEK)
        deviation = (by_week - by_week.mean(axis=2, keepdims=True)).mean(axis=1)
        deviation *= (weeks - 1) / (weeks - 1 + WEEKS_OF_DOUBT)
        before = np.tile(deviation, (1, weeks + 1))[:, -o:]
        level = simple_smoothing(values[:, :o] - before, [o], horizon)[:, 0]
        out[:, i] = level + deviation[:, np.arange(horizon) % WEEK]
    return out


def combination(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Median of simple smoothing, the weekly profile, and the last 3 and 7 values' medians."""
    members = [
        simple_smoothing(values, origins, horizon),
        weekly_profile(values, origins, horizon),
        recent_median(values, origins, horizon, steps=3),
        recent_median(values, origins, horizon),
    ]
    return np.median(np.stack(members), axis=0)


def by_hour_of_day(level: Method) -> Method:
    """A method for hours from one for days: what it says of the day, plus the hour's deviation.

    Days are counted back from the origin; an hour's deviation from its day is the median over them.
    """

    def method(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
        out = np.empty((len(values), len(origins), horizon))
        ahead = -(-horizon // DAY)
        for i, o in enumerate(origins):
            days = o // DAY
            by_day = values[:, o - DAY * days : o].reshape(len(values), days, DAY)
            means = by_day.mean(axis=2)
            deviation = np.median(by_day - means[:, :, None], axis=1)
            expected = level(means, [days], ahead)[:, 0]
            hours = expected[:, :, None] + deviation[:, None, :]
            out[:, i] = hours.reshape(len(values), -1)[:, :horizon]
        return out

    return method
