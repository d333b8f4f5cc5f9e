"""Forecasts by the hour: what a day will be, and how its hours differ.

Belongs here: methods for hourly series, in the form of smoothing.Method, made of those for daily
ones. Pure, numpy only. Days are counted back from the origin; odd hours before the first whole day
are left out.
"""

from collections.abc import Callable, Sequence

import numpy as np

from resmon_assets.forecast import smoothing
from resmon_assets.forecast.smoothing import Floats, Method

DAY = 24
WEEK = 7 * DAY
RECENT_HOURS = 6
RECENT_MEMORY = 12.0
"""Hours in which the deviation of the last hours fades to 1/e. Between 6 and 24 made no difference
(July part of Bitbrains GWA-T-12, hourly means of SMD and ASD)."""


def level_of_mean(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Combination of the days' means, plus the hour's usual deviation from its day."""
    return _each(values, origins, horizon, lambda days, ahead: _level(days, ahead, np.mean))


def level_of_median(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Combination of the days' medians, plus the hour's usual deviation: deaf to single peaks."""
    return _each(values, origins, horizon, lambda days, ahead: _level(days, ahead, np.median))


def level_of_theta(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Weekly Theta of the days' means, plus the hour's usual deviation: follows a trend."""
    return _each(
        values,
        origins,
        horizon,
        lambda days, ahead: _level(days, ahead, np.mean, smoothing.weekly_theta),
    )


def level_of_week(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Weekly profile of the days' means, plus the hour's usual deviation."""
    return _each(
        values,
        origins,
        horizon,
        lambda days, ahead: _level(days, ahead, np.mean, smoothing.weekly_profile),
    )


def level_of_slope(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Robust slope of the days' means, plus the hour's usual deviation."""
    return _each(
        values,
        origins,
        horizon,
        lambda days, ahead: _level(days, ahead, np.mean, smoothing.robust_slope),
    )


def each_hour(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Combination of every hour of the day by itself."""
    return _each(values, origins, horizon, _hour_by_hour)


def recent_days(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Median of the hour over the last seven days."""
    return _each(
        values, origins, horizon, lambda days, _ahead: np.median(days[:, -7:], axis=1)[:, None]
    )


def last_day(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """The last day, repeated."""
    return _each(values, origins, horizon, lambda days, _ahead: days[:, -1:])


def last_weeks(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Median of the hour of the week over the last four weeks; below one week, the last day."""
    out = np.empty((len(values), len(origins), horizon))
    for i, o in enumerate(origins):
        length = WEEK if o >= WEEK else DAY
        count = min(o // length, 4)
        seen = values[:, o - count * length : o].reshape(len(values), count, length)
        out[:, i] = np.median(seen, axis=1)[:, np.arange(horizon) % length]
    return out


def combination(values: Floats, origins: Sequence[int], horizon: int) -> Floats:
    """Mean of seven methods without the highest and the lowest, drawn to the last hours at first.

    What the last hours differ from the same hours of the first day of the forecast (median of six)
    is added, and fades.
    """
    whole = max(horizon, DAY)
    members = [
        level_of_mean(values, origins, whole),
        level_of_median(values, origins, whole),
        level_of_week(values, origins, whole),
        level_of_theta(values, origins, whole),
        each_hour(values, origins, whole),
        recent_days(values, origins, whole),
        last_day(values, origins, whole),
    ]
    middle: Floats = np.sort(np.stack(members), axis=0)[1:-1].mean(axis=0)
    fading = np.exp(-np.arange(1, whole + 1) / RECENT_MEMORY)
    same_hours = np.arange(DAY - RECENT_HOURS, DAY)
    for i, o in enumerate(origins):
        ago = values[:, o - RECENT_HOURS : o] - middle[:, i, same_hours]
        middle[:, i] += np.median(ago, axis=1)[:, None] * fading
    return middle[:, :, :horizon]


def _each(
    values: Floats,
    origins: Sequence[int],
    horizon: int,
    method: Callable[[Floats, int], Floats],
) -> Floats:
    """Apply a method on whole days, (S, days, 24) -> (S, days ahead or 1, 24), at each origin."""
    out = np.empty((len(values), len(origins), horizon))
    ahead = -(-horizon // DAY)
    for i, o in enumerate(origins):
        days = values[:, o % DAY : o].reshape(len(values), o // DAY, DAY)
        found = np.broadcast_to(method(days, ahead), (len(values), ahead, DAY))
        out[:, i] = found.reshape(len(values), -1)[:, :horizon]
    return out


def _level(
    days: Floats,
    ahead: int,
    middle: Callable[..., Floats],
    method: Method = smoothing.combination,
) -> Floats:
    """Level by a method on the days, and the median deviation of the hours from it."""
    levels = middle(days, axis=2)
    deviation = np.median(days - levels[:, :, None], axis=1)
    expected = method(levels, [levels.shape[1]], ahead)[:, 0]
    return np.asarray(expected[:, :, None] + deviation[:, None, :])


def _hour_by_hour(days: Floats, ahead: int) -> Floats:
    """Every hour of the day as a daily series of its own."""
    series, count, _ = days.shape
    hours = days.transpose(0, 2, 1).reshape(series * DAY, count)
    found = smoothing.combination(hours, [count], ahead)[:, 0]
    return found.reshape(series, DAY, ahead).transpose(0, 2, 1)


METHODS: dict[str, Method] = {
    "hours_of_robust_slope": level_of_slope,
    "hours_of_median_level": level_of_median,
    "hours_apart": each_hour,
    "recent_days": recent_days,
    "last_weeks": last_weeks,
}
"""Single methods that a series may get instead of the combination."""
