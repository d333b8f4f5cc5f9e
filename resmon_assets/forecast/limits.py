"""The day on which a limit is reached, or why no day is told.

Belongs here: the growth that a history shows now (since its last step, its last change of pace),
and the days on which a line or a forecast crosses a limit. Arrays in, arrays out; many series at
once. Pure: no database, no Dagster, no clock.

A day is told when a growth is there that a test finds and that still goes on. All else is answered
by a reason, because a date that moves by months from one day to the next helps nobody. What was
measured on seeded series is in docs/analytics.md, "Limit dates".
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Days = NDArray[np.int32]

MINIMUM_DAYS = 7
"""Fewer days with a value tell nothing about growth."""

SIGNIFICANCE = 0.05
"""Level of the test of the slope; two-sided."""

FURTHEST_DAYS = 365
"""Nobody plans further ahead by a straight line."""

SEEN_FACTOR = 6
"""A line is followed for six times as long as it was seen: 60 days of growth tell of a year. One
that was seen for less than two weeks is followed for `HORIZON_DAYS`."""

HORIZON_DAYS = 30
"""Days that a forecast itself looks ahead."""

FLOOR_RATIO, FLOOR_DAYS = 0.5, 90
"""Below half of the capacity only a growth that fills it within a quarter is told."""

STEP_DAYS = 7
"""Days on either side that a step is judged by: a week, so that its season cancels."""

FEWEST_BEHIND = 3
"""Days of the new level that make a step: two may be an outlier."""

NEW_STEP_DAYS = 14
"""A step with fewer days behind it is too new: its line would be through noise."""

STEP_SPREADS = 6.0
"""A step is larger than so many robust standard deviations of the shifts of other days."""

STEP_RATIO = 0.03
"""... and than this share of the mean level: what is smaller changes no date by much."""

PACE_DAYS = 14
"""The pace of late is that of two weeks."""

PACE_ERRORS = 4.0
"""The pace has changed when the line lies so many standard errors off it: fourteen days that
resemble each other pretend more certainty than they give."""

WALK_PACE_ERRORS = 2.5
"""The same where deviations accumulate: there the error is known better."""

STALLED_RATIO = 0.25
"""Growth has stalled when its pace of late is below a quarter of that of the whole."""

OUTLIER_SPREADS = 5.0
"""Days further from the line than so many robust standard deviations do not bend it: a dump that
was deleted the day after."""

WALK_LAGS = ((7, 21), (3, 7))
"""Days over which changes are compared with those of one day, and how long a history it takes: what
accumulates changes seven times as much in a week, in variance, as in a day; noise does not."""

LONG_LAG, LONG_DAYS = 14, 42
"""The same for two weeks: teeth of two weeks are no accumulation."""

WALK_HIDDEN = 1.25
"""A least-squares line takes this share, times lag by days, from the variance of a walk's changes:
measured on 4,000 walks of 10 to 60 days (0.63 left at 3 of 10, 0.72 at 7 of 30,
0.88 at 7 of 60)."""

BEND_FACTOR = 1.6
"""Deviations that change more in a week than those of a walk, by this factor, are a bend."""

WALK_SHARE = 0.5
"""From this share of a week's variance on, what deviates from the line is taken to accumulate."""

BAND_TAIL = 0.1
"""Of an 80 % band, at each side."""

_NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution by its median absolute deviation."""

NO_CAPACITY = "no_capacity"
INSUFFICIENT = "insufficient_data"
REACHED = "already_reached"
STEP = "recent_step_change"
STALLED = "stalled"
NOISY = "noisy"
DECREASING = "decreasing"
FLAT = "flat"
BELOW_FLOOR = "below_floor"
BEYOND = "beyond_horizon"

REASONS = (
    *(NO_CAPACITY, INSUFFICIENT, REACHED, STEP, STALLED, NOISY, DECREASING, FLAT),
    *(BELOW_FLOOR, BEYOND),
)
"""Why no day is told: nothing to compare with; fewer than 7 days; the last value is there already;
the level jumped within the last week; growth has ended; no growth is proven, but the band of the
next 30 days holds the limit; it shrinks; it stays; far below the limit and slow; too far ahead."""


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line per series, and how far it is to be trusted. Arrays of one length.

    Attributes:
        level: its value on the last day.
        slope: change per day.
        sigma: standard deviation of the values around it.
        inflation: by how much the variance of level and slope is larger than if days were
            independent, at least 1.
        count: days that it is from.
        middle: their mean, in days from the last day (negative).
        spread: their sum of squares around it, in days squared.
        p_value: probability of such a slope without a trend, 0 to 1.
        seen: days from the first of them to the last day.
        walk: variance that a day adds to the deviation from the line, where deviations accumulate
            (files that come and stay); 0: values fluctuate around the line.
    """

    level: Floats
    slope: Floats
    sigma: Floats
    inflation: Floats
    count: Floats
    middle: Floats
    spread: Floats
    p_value: Floats
    seen: Floats
    walk: Floats

    def take(self, rows: NDArray[np.intp]) -> "Line":
        """The lines of some series."""
        return Line(*(getattr(self, name)[rows] for name in self.__slots__))

    def free(self) -> Floats:
        """Degrees of freedom: of a walk the weeks, else the days without those that resemble."""
        free: Floats = np.where(
            self.walk > 0,
            np.maximum(self.count / WALK_LAGS[0][0], 3.0),
            np.maximum(self.count / self.inflation - 2.0, 1.0),
        )
        return free

    def at(self, days: Floats) -> tuple[Floats, Floats]:
        """Values on the days ahead, and half the width of their 80 % prediction band.

        Ordinary least squares (Draper and Smith, Applied Regression Analysis, section 3.1), the
        variance of the line inflated for residuals that resemble those of the day before. Where
        deviations accumulate: a random walk with drift, whose variance grows with the days ahead
        and, because the drift is estimated, with their square (Hyndman and Athanasopoulos,
        Forecasting: Principles and Practice, 3rd edition, section 5.5).

        Args:
            days: shape (days,).

        Returns:
            Two arrays of shape (series, days).
        """
        distance = days[None, :] - self.middle[:, None]
        of_line = self.inflation[:, None] * (
            1.0 / self.count[:, None] + distance**2 / self.spread[:, None]
        )
        of_walk = days[None, :] + days[None, :] ** 2 / self.count[:, None]
        is_walk = self.walk > 0
        variance = np.where(
            is_walk[:, None],
            self.walk[:, None] * of_walk,
            self.sigma[:, None] ** 2 * (1.0 + of_line),
        )
        half: Floats = stats.t.ppf(1.0 - BAND_TAIL, self.free())[:, None] * np.sqrt(variance)
        return self.level[:, None] + self.slope[:, None] * days[None, :], half


@dataclass(frozen=True, slots=True)
class Growth:
    """What a history says of its growth now.

    Attributes:
        whole: the line through all days.
        now: the line through the days since the last step or change of pace.
        count: days with a value.
        last: the last value; NaN without any.
        has_step: the level jumped within the last days: what comes after is not known yet.
        is_stalled: it grew, and of late it does not.
        has_teeth: it fell at once and grew again, without growing in all.
    """

    whole: Line
    now: Line
    count: Days
    last: Floats
    has_step: Flags
    is_stalled: Flags
    has_teeth: Flags


@dataclass(frozen=True, slots=True)
class Limits:
    """Days on which limits are reached, in days after the last one of the history.

    Attributes:
        on: expected; 0: none is told. Shape (series, limits), as all of these.
        earliest: the upper edge of the 80 % band reaches it; 0 as above.
        latest: the lower edge does; 0: none is told, or not before `FURTHEST_DAYS`.
        reason: one of `REASONS` where no day is told, else None.
    """

    on: Days
    earliest: Days
    latest: Days
    reason: NDArray[Any]  # of objects: str or None


def growth_of(values: Floats) -> Growth:
    """Find the growth that still goes on.

    A step is a shift of the median level from one week to the next, beyond the usual growth, that
    stands out from the shifts at other days and happened within a day; the line begins after the
    last one. Steps down are the teeth of a saw (logs that are rotated, a cleanup): what was emptied
    once is emptied again, so the line goes through all of them. When the pace of the last two weeks
    differs from that line's, growth has stalled, or the line is that of these two weeks.

    Args:
        values: shape (series, days), a column per day, the last one is the newest; NaN: not
            measured.
    """
    measured = np.isfinite(values)
    count = measured.sum(axis=1).astype(np.int32)
    days = values.shape[1]
    whole = fit_line(values, measured)
    begin, has_step, has_fallen = _last_step(values)
    inside = measured & (np.arange(days)[None, :] >= begin[:, None])
    now = fit_line(values, inside)
    late = measured & (np.arange(days)[None, :] >= days - PACE_DAYS)
    pace = fit_line(values, late)
    walking = with_walk(values, inside, now)
    error = (
        PACE_ERRORS * pace.sigma * np.sqrt(pace.inflation / np.maximum(pace.spread, 1.0)) + 1e-12
    )
    is_longer = ~has_fallen & (now.count >= PACE_DAYS + MINIMUM_DAYS) & (pace.count >= MINIMUM_DAYS)
    slower = walking.slope - pace.slope
    grew = (walking.slope > 0) & (np.minimum(walking.p_value, now.p_value) < SIGNIFICANCE)
    is_stalled = is_longer & grew & (slower > error) & (pace.slope < STALLED_RATIO * walking.slope)
    # What accumulates has fast and slow weeks by chance.
    chance = WALK_PACE_ERRORS * np.sqrt(walking.walk / PACE_DAYS)
    differs = is_longer & (np.abs(slower) > np.where(walking.walk > 0, chance, error))
    # Slower or faster, but it goes on: the two weeks say how.
    changed = differs & ~is_stalled & (pace.slope > 0) & (pace.p_value < SIGNIFICANCE)
    rises = (now.slope > 0) & (now.p_value < SIGNIFICANCE)
    has_teeth = has_fallen & rises & ~((whole.slope > 0) & (whole.p_value < SIGNIFICANCE))
    # Teeth are no walk, and neither is what two weeks say.
    line = _either(changed, pace, _either(has_fallen, whole, walking))
    whole = _either(has_fallen, whole, with_walk(values, measured, whole))
    rows = np.arange(len(values))
    last_day = np.where(measured, np.arange(days)[None, :], -1).max(axis=1, initial=-1)
    last = np.where(last_day >= 0, values[rows, last_day], np.nan)
    return Growth(whole, line, count, last, has_step, is_stalled, has_teeth)


def fit_line(values: Floats, inside: Flags) -> Line:
    """Ordinary least squares through the days `inside`, those far off it left out once.

    The test of the slope is Student's t with the number of days divided by (1 + r) / (1 - r), where
    r is the correlation of the residuals of neighbouring days, at least 0 (Bayley and Hammersley,
    Journal of the Royal Statistical Society, Supplement 8, 1946: the effective number of
    observations of a first-order autoregression).

    Args:
        values: shape (series, days).
        inside: same shape; False wherever a value is NaN.
    """
    _, residuals = _least_squares(values, inside)
    spread = _NORMAL_MAD * _nan_median(np.abs(np.where(inside, residuals, np.nan)))
    kept = inside & (np.abs(residuals) <= OUTLIER_SPREADS * spread[:, None] + 1e-12)
    # Half of the days of a constant series lie on it exactly: the spread is 0 and says nothing.
    kept = np.where(
        (spread > 0)[:, None] & (kept.sum(axis=1) >= MINIMUM_DAYS)[:, None], kept, inside
    )
    line, residuals = _least_squares(values, kept)
    pairs = kept[:, 1:] & kept[:, :-1]
    product = np.where(pairs, residuals[:, 1:] * residuals[:, :-1], 0.0).sum(axis=1)
    squares = np.where(kept, residuals, 0.0) ** 2
    total = squares.sum(axis=1)
    share = np.divide(product, total, out=np.zeros_like(total), where=total > 0)
    correlation = np.clip(share + 1.0 / np.maximum(line.count, 1.0), 0.0, 0.9)
    inflation = np.minimum((1 + correlation) / (1 - correlation), np.maximum(line.count / 3.0, 1.0))
    sigma = np.sqrt(total / np.maximum(line.count - 2.0, 1.0))
    error = sigma * np.sqrt(inflation / np.maximum(line.spread, 1e-9))
    size = np.abs(line.slope)
    ratio = np.divide(size, error, out=np.where(size > 0, np.inf, 0.0), where=error > 0)
    free = np.maximum(line.count / inflation - 2.0, 1.0)
    p_value = np.where(line.count >= MINIMUM_DAYS, 2.0 * stats.t.sf(ratio, free), 1.0)
    return Line(
        line.level,
        line.slope,
        sigma,
        inflation,
        line.count,
        line.middle,
        line.spread,
        p_value,
        line.seen,
        np.zeros_like(line.level),
    )


def with_walk(values: Floats, inside: Flags, line: Line) -> Line:
    """The line with the variance of its deviations where these accumulate.

    Deviations from the line that come and go have differences as large from day to day as from week
    to week; those that accumulate differ more the longer it takes, and with a bend of the whole
    series more than that. Where they accumulate, growth goes on from the last value, its pace is
    that from the first day to the last, and its test is that of the drift of a random walk.

    Args:
        values: shape (series, days).
        inside: the days that the line is from.
        line: from `fit_line` of the same.
    """
    days = values.shape[1]
    time = np.arange(days, dtype=np.float64) - (days - 1)
    rest = values - line.level[:, None] - line.slope[:, None] * time[None, :]
    rest = np.where(inside, rest, np.nan)
    of_day = _change(rest, 1)
    (long, enough), (short, _) = WALK_LAGS
    lag = np.where(line.count >= enough, long, short).astype(np.float64)
    of_lag = np.where(lag == long, _change(rest, long), _change(rest, short))
    walk = (of_lag - of_day) / (lag - 1.0)
    # Teeth of two weeks are gone after two weeks: then it is no walk.
    of_long = (_change(rest, LONG_LAG) - of_day) / (LONG_LAG - 1.0)
    walk = np.where(line.count >= LONG_DAYS, (walk + of_long) / 2 * (of_long > 0), walk)
    is_walk = (
        (line.count >= MINIMUM_DAYS)
        & (walk * lag > WALK_SHARE * of_lag)
        & (of_lag < BEND_FACTOR * lag * of_day)
    )
    known = np.isfinite(rest)
    first, last = known.argmax(axis=1), days - 1 - known[:, ::-1].argmax(axis=1)
    rows = np.arange(len(values))
    span = np.maximum((last - first).astype(np.float64), 1.0)
    drift = (values[rows, last] - values[rows, first]) / span
    # A line follows a walk and so hides a part of it.
    hidden = WALK_HIDDEN * np.where(line.count >= LONG_DAYS, (lag + LONG_LAG) / 2, lag) / line.count
    walk = np.where(is_walk, walk / np.maximum(1.0 - hidden, 0.25), 0.0)
    error = np.sqrt(walk / span)
    ratio = np.divide(np.abs(drift), error, out=np.zeros_like(drift), where=error > 0)
    moved = replace(
        line,
        level=values[rows, last] + drift * -time[last],
        slope=drift,
        walk=walk,
        count=span,
    )
    moved = replace(moved, p_value=2.0 * stats.t.sf(ratio, moved.free()))
    return _either(is_walk, moved, line)


def _change(values: Floats, lag: int) -> Floats:
    """Mean square of the differences over `lag` days; 0 where there is none."""
    if values.shape[1] <= lag:
        return np.zeros(len(values))
    squares = (values[:, lag:] - values[:, :-lag]) ** 2
    known = np.isfinite(squares)
    total: Floats = np.where(known, squares, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return total


def limit_days(
    growth: Growth,
    line: Line,
    limits: Floats,
    *,
    capacity: Floats,
    path: tuple[Floats, Floats, Floats] | None = None,
) -> Limits:
    """The day on which each limit is reached, or why none is told.

    Growth that is proven and goes on: the line and its 80 % prediction band, up to `FURTHEST_DAYS`
    and `SEEN_FACTOR` times the days that the line was seen. Without it: the forecast of the next
    days, if that itself reaches the limit (a level near it, with a season).

    Args:
        growth: of the histories.
        line: which line is followed: `growth.now`, or `growth.whole`.
        limits: shape (series, limits), in the unit of the values; NaN: no capacity is known.
        capacity: shape (series,); NaN: none.
        path: value, lower and upper edge of the 80 % band, each of shape (series, days), of the
            next days; None: not looked at.
    """
    columns = [
        _one_limit(growth, line, limits[:, column], capacity=capacity, path=path)
        for column in range(limits.shape[1])
    ]
    reasons = np.array([None, *REASONS], dtype=object)
    on, earliest, latest, told = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
    return Limits(on, earliest, latest, reasons[told])


def _one_limit(
    growth: Growth,
    line: Line,
    limit: Floats,
    *,
    capacity: Floats,
    path: tuple[Floats, Floats, Floats] | None,
) -> tuple[Days, Days, Days, Days]:
    """Days of one limit: expected, earliest, latest, and the number of the reason, from 1."""
    is_low = growth.last < FLOOR_RATIO * capacity
    told = np.zeros(len(limit), dtype=np.int32)
    for reason, applies in (
        (NO_CAPACITY, ~np.isfinite(limit)),
        (INSUFFICIENT, growth.count < MINIMUM_DAYS),
        (REACHED, growth.last >= limit),
        (STEP, growth.has_step),
        (STALLED, growth.is_stalled),
        (NOISY, growth.has_teeth),
    ):
        told[(told == 0) & applies] = _number(reason)
    is_open = told == 0
    is_proven = line.p_value < SIGNIFICANCE
    grows, shrinks = is_open & is_proven & (line.slope > 0), is_proven & (line.slope < 0)
    on, earliest, latest = _crossings(line, limit, np.flatnonzero(grows))
    furthest = np.where(line.seen >= PACE_DAYS, SEEN_FACTOR * line.seen, HORIZON_DAYS)
    is_near = (on > 0) & (on <= furthest)
    told[grows & ~is_near] = _number(BEYOND)
    told[grows & is_low & (~is_near | (on > FLOOR_DAYS))] = _number(BELOW_FLOOR)
    rest = is_open & ~grows
    if path is None:
        middle, half = line.at(np.arange(1.0, HORIZON_DAYS + 1.0))
        is_uncertain = rest & (_first_day(middle + half, limit) > 0)
    else:
        value, lower, upper = (_first_day(edge, limit) for edge in path)
        by_path = rest & (value > 0)
        on, earliest, latest = (
            np.where(by_path, found, other).astype(np.int32)
            for found, other in ((value, on), (upper, earliest), (lower, latest))
        )
        rest &= ~by_path
        is_uncertain = rest & (upper > 0)
    told[rest] = _number(FLAT)
    told[is_uncertain] = _number(NOISY)
    told[rest & shrinks] = _number(DECREASING)
    is_told = told == 0
    # A mean of a day does not say when in the day: never narrower than a day to either side.
    earliest = np.maximum(np.minimum(earliest, on - 1), 1)
    latest = np.where(latest > 0, np.maximum(latest, on + 1), 0)
    return (
        np.where(is_told, on, 0).astype(np.int32),
        np.where(is_told, earliest, 0).astype(np.int32),
        np.where(is_told, latest, 0).astype(np.int32),
        told,
    )


def _number(reason: str) -> int:
    """Number of a reason, from 1; 0 is a day that is told."""
    return REASONS.index(reason) + 1


def _crossings(line: Line, limit: Floats, rows: NDArray[np.intp]) -> tuple[Days, Days, Days]:
    """First days on which line, upper and lower edge are at the limit; 0: never, or not asked."""
    found = [np.zeros(len(limit), dtype=np.int32) for _ in range(3)]
    ahead = np.arange(1.0, FURTHEST_DAYS + 1.0)
    for part in np.array_split(rows, max(1, -(-len(rows) // 4000))):
        middle, half = line.take(part).at(ahead)
        for days, edge in zip(found, (middle, middle + half, middle - half), strict=True):
            days[part] = _first_day(edge, limit[part])
    return found[0], found[1], found[2]


def _first_day(path: Floats, limit: Floats) -> Days:
    """Number of the first day, from 1, on which the path is at the limit; 0: on none."""
    is_there = path >= limit[:, None]
    return np.where(is_there.any(axis=1), is_there.argmax(axis=1) + 1, 0).astype(np.int32)


def _last_step(values: Floats) -> tuple[NDArray[np.intp], Flags, Flags]:
    """Where the last stretch without a step begins; whether a step is too new; whether one fell."""
    series, days = values.shape
    begin = np.zeros(series, dtype=np.intp)
    none = np.zeros(series, dtype=np.bool_)
    if days < 2 * STEP_DAYS:
        return begin, none, none
    lag = 2 * STEP_DAYS if days >= 4 * STEP_DAYS else STEP_DAYS
    pace = np.nan_to_num(_nan_median((values[:, lag:] - values[:, :-lag]) / lag))
    level = values - pace[:, None] * np.arange(days)[None, :]
    padded = np.concatenate([level, np.full((series, STEP_DAYS - 1), np.nan)], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, STEP_DAYS, axis=1)
    medians = np.stack([_nan_median(windows[:, at, :]) for at in range(days)], axis=1)
    shifts = np.full((series, days), np.nan)
    shifts[:, STEP_DAYS:] = medians[:, STEP_DAYS:] - medians[:, :-STEP_DAYS]
    behind = np.isfinite(level)[:, ::-1].cumsum(axis=1)[:, ::-1]
    shifts = np.where(behind >= FEWEST_BEHIND, shifts, np.nan)
    shifts -= _nan_median(shifts)[:, None]
    size = np.nan_to_num(np.abs(shifts))
    spread = _NORMAL_MAD * _nan_median(np.abs(shifts))
    enough = np.maximum(STEP_SPREADS * spread, STEP_RATIO * _nan_median(np.abs(values)))
    # Of the days around a step the one with the largest shift is it.
    peaks = (size > np.nan_to_num(enough)[:, None]) & (size >= _around(size, STEP_DAYS).max(axis=2))
    # The level may be told a day late or early: the jump itself is the largest change near it. A
    # bend has a shift and no jump.
    jumps = np.zeros((series, days))
    jumps[:, 1:] = np.nan_to_num(np.diff(_filled(level), axis=1))
    near = _around(jumps, STEP_DAYS // 2)
    where = np.abs(near).argmax(axis=2)
    jump = np.take_along_axis(near, where[:, :, None], axis=2)[:, :, 0]
    is_jump = (np.abs(jump) >= size / 2) & (np.sign(jump) == np.sign(np.nan_to_num(shifts)))
    peaks &= is_jump
    falls = (peaks & (np.nan_to_num(shifts) < 0)).any(axis=1)
    number = np.arange(days)[None, :] + where - STEP_DAYS // 2
    at = np.where(peaks, number, 0).max(axis=1)
    is_new = (at > 0) & (at > days - NEW_STEP_DAYS)
    return np.where(is_new, 0, at).astype(np.intp), is_new & ~falls, falls


def _filled(values: Floats) -> Floats:
    """Gaps closed by the value before them; NaN stays before the first."""
    at = np.where(np.isfinite(values), np.arange(values.shape[1])[None, :], 0)
    filled: Floats = np.take_along_axis(values, np.maximum.accumulate(at, axis=1), axis=1)
    return filled


def _around(values: Floats, reach: int) -> Floats:
    """The values up to `reach` days to either side of each day, in a third axis; 0 outside."""
    padded = np.pad(values, ((0, 0), (reach, reach)))
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)


def _least_squares(values: Floats, inside: Flags) -> tuple[Line, Floats]:
    """The line through the days `inside` without its test, and all residuals."""
    days = values.shape[1]
    time = np.arange(days, dtype=np.float64) - (days - 1)
    count = inside.sum(axis=1).astype(np.float64)
    divisor = np.maximum(count, 1.0)
    known = np.where(inside, values, 0.0)
    middle = (inside * time[None, :]).sum(axis=1) / divisor
    mean = known.sum(axis=1) / divisor
    distance = np.where(inside, time[None, :] - middle[:, None], 0.0)
    spread = (distance**2).sum(axis=1)
    # Around the mean: bytes of a large disk squared would lose the last digits.
    centred = np.where(inside, values - mean[:, None], 0.0)
    slope = (distance * centred).sum(axis=1) / np.maximum(spread, 1e-9)
    level = mean - slope * middle
    residuals = np.where(
        np.isfinite(values), values - level[:, None] - slope[:, None] * time[None, :], 0.0
    )
    first = np.where(inside.any(axis=1), inside.argmax(axis=1), days - 1)
    zero = np.zeros_like(level)
    line = Line(
        level,
        slope,
        zero,
        zero + 1.0,
        divisor,
        middle,
        np.maximum(spread, 1e-9),
        zero + 1.0,
        (days - first).astype(np.float64),
        zero,
    )
    return line, residuals


def _either(first: Flags, one: Line, other: Line) -> Line:
    """`one` where `first`, else `other`."""
    return Line(*(np.where(first, getattr(one, n), getattr(other, n)) for n in Line.__slots__))


def _nan_median(values: Floats) -> Floats:
    """Median over the last axis of what is not NaN; NaN where nothing is."""
    counted = np.isfinite(values).sum(axis=-1)
    ordered = np.sort(values, axis=-1)  # NaN last
    low, high = np.maximum(counted - 1, 0) // 2, counted // 2
    high = np.minimum(high, values.shape[-1] - 1)
    pairs = np.take_along_axis(ordered, np.stack([low, high], axis=-1), axis=-1)
    return np.where(counted > 0, pairs.mean(axis=-1), np.nan)
