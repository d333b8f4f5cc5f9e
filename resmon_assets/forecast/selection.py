"""Which model a series gets, and how wide its bands are: from its own rolling back-test.

Belongs here: the back-test, the choice, the width of the bands. The methods are in smoothing.py.
Pure, numpy; polars for the form in which choices are kept.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from resmon_assets.forecast import hourly, smoothing
from resmon_assets.forecast.grid import Floats, Integers, Step
from resmon_assets.forecast.smoothing import Method

DEFAULT = "combination"
SHORT = "naive_short"
CONSTANT = "naive_constant"

MODELS: dict[Step, dict[str, Method]] = {
    "1d": {
        DEFAULT: smoothing.combination,
        **smoothing.METHODS,
        SHORT: smoothing.recent_median,
        CONSTANT: smoothing.last_value,
    },
    "1h": {
        DEFAULT: hourly.combination,
        **hourly.METHODS,
        SHORT: smoothing.recent_median,
        CONSTANT: smoothing.last_value,
    },
}
"""Every model by name. A stored choice of a name that is not here is made anew."""

SINGLE: dict[Step, tuple[str, ...]] = {"1d": tuple(smoothing.METHODS), "1h": tuple(hourly.METHODS)}
"""What a series may get instead of the combination."""

MARGIN: dict[Step, float] = {"1d": 0.3, "1h": 0.15}
"""By how much a single method has to beat the combination in the back-test to be chosen.

The best of seven in the back-test of 14 to 20 days was 2 to 4 % worse than the combination on the
days after; with this margin it is neither better nor worse there, and series with a plain trend
get it. This and all constants below were found on the July part of Bitbrains GWA-T-12 (77 series of
CPU and memory, 90 of disk and network) and daily and hourly means of SMD and ASD (337 series).
"""
SHORTEST_DAYS = 4
"""Below so many days nothing is tested."""
FEWEST_DAYS_AHEAD = 3
"""With fewer, nothing is said about how errors grow."""
MOST_ORIGINS = 15
"""Of the second half of the history, evenly spread where it has more days."""
FARTHEST_DAYS = 30
"""The back-test looks ahead so far at most."""

GROWTH: dict[Step, float] = {"1d": 0.35, "1h": 0.2}
"""The error of day d is d to the power of this times that of the first day, in most series; 0 in
one that always returns, 0.5 in a random walk, 1 where a slope is wrong; mixed with its own."""
SHARE_OF_ERRORS = 0.6
"""Usual error = this share of the back-test's, and the rest of the usual change."""
WIDTHS = (1.7, 4.7)
"""80 % and 95 % band in usual errors. Errors have long tails."""
BEYOND_95 = 1.5
"""A 95 % quantile of some ten origins is too small by about so much."""
ORIGINS_OF_DOUBT = 10.0
"""The quantiles of the back-test count origins / (origins + this), the widths above the rest."""
HOURS_OF_DOUBT = 1.0
"""An hour's own spread counts as much as that of the whole day."""
SHARE_OF_LEVEL = 0.1
"""Usual error of a series of which no change is known, of its level and over its steps: a guess."""


NUMBERS = ("backtest_mase", "spread_80", "spread_95", "growth")


@dataclass(slots=True)
class Choices:
    """Choices of S series, as arrays.

    Attributes:
        model: name; None where nothing is chosen.
        backtest_mase: mean absolute scaled error of the back-test; NaN where there was none.
        history_steps: steps that the choice has seen.
        spread_80: half width of the 80 % band one step ahead.
        spread_95: half width of the 95 % band one step ahead.
        growth: the width of day d is that of the first one times d to the power of this.
    """

    COLUMNS: ClassVar = {
        "model": pl.String(),
        "backtest_mase": pl.Float64(),
        "history_steps": pl.Int32(),
        "spread_80": pl.Float64(),
        "spread_95": pl.Float64(),
        "growth": pl.Float64(),
    }
    model: list[str | None]
    backtest_mase: Floats
    history_steps: Integers
    spread_80: Floats
    spread_95: Floats
    growth: Floats

    @classmethod
    def empty(cls, count: int) -> "Choices":
        """No choice for anybody."""
        unknown = [np.full(count, np.nan) for _ in range(4)]
        return cls([None] * count, unknown[0], np.zeros(count, np.int64), *unknown[1:])

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> "Choices":
        """From columns as `as_frame` makes them; a null model is no choice."""
        numbers = {
            name: frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
            for name in NUMBERS
        }
        steps = frame["history_steps"].cast(pl.Int64).fill_null(0).to_numpy().copy()
        return cls(model=frame["model"].to_list(), history_steps=steps, **numbers)

    def as_frame(self) -> pl.DataFrame:
        """One row per series; null where nothing is known."""
        columns = {name: getattr(self, name) for name in self.COLUMNS}
        return pl.DataFrame(columns, schema=self.COLUMNS).with_columns(
            pl.col("backtest_mase").fill_nan(None)
        )

    def take(self, places: Integers) -> "Choices":
        """The choices of some series."""
        numbers = {name: getattr(self, name)[places] for name in (*NUMBERS, "history_steps")}
        return Choices(model=[self.model[i] for i in places], **numbers)

    def put(self, places: Integers, other: "Choices") -> None:
        """Set the choices of some series."""
        for place, model in zip(places, other.model, strict=True):
            self.model[place] = model
        for name in (*NUMBERS, "history_steps"):
            getattr(self, name)[places] = getattr(other, name)


def choose(values: Floats, *, step: Step, horizon: int, given: Choices) -> Choices:
    """Model and spread of each series: the given one, or by its back-test.

    Args:
        values: (series, steps), without a gap.
        step: width of a step.
        horizon: the back-test looks ahead so many steps, or as far as FARTHEST_DAYS.
        given: choices of these series; kept where the model exists and nothing is missing.
    """
    new = np.array([model not in MODELS[step] for model in given.model], dtype=bool)
    new |= np.isnan(given.spread_80 + given.spread_95 + given.growth)
    if not new.any():
        return given
    out = given.take(np.arange(len(values)))
    out.put(np.flatnonzero(new), _chosen_anew(values[new], step=step, horizon=horizon))
    return out


def outlook(values: Floats, choices: Choices, *, step: Step, horizon: int) -> Floats:
    """Value, lower_80, upper_80, lower_95, upper_95 as (5, series, horizon)."""
    middle = np.empty((len(values), horizon))
    names = np.array(choices.model, dtype=str)
    for name in np.unique(names):
        mine = names == name
        part = values[mine]
        middle[mine] = MODELS[step][str(name)](part, [part.shape[1]], horizon)[:, 0]
    width = _width(values, choices.growth, horizon, step=step)
    half_80 = choices.spread_80[:, None] * width
    half_95 = np.maximum(choices.spread_95[:, None] * width, half_80)
    return np.stack(
        [middle, middle - half_80, middle + half_80, middle - half_95, middle + half_95]
    )


def _chosen_anew(values: Floats, *, step: Step, horizon: int) -> Choices:
    """Model and spread by back-test; the naive ones where there is nothing to test."""
    count, steps = values.shape
    out = Choices.empty(count)
    out.history_steps[:] = steps
    out.growth[:] = GROWTH[step]
    change = _usual_change(values, _day(step))
    is_flat = values.max(axis=1) == values.min(axis=1)
    naive = SHARE_OF_LEVEL * np.abs(values).mean(axis=1)
    if steps < SHORTEST_DAYS * _day(step):
        out.model = [SHORT] * count
        naive = np.maximum(change, naive)
        out.spread_80[:], out.spread_95[:] = WIDTHS[0] * naive, WIDTHS[1] * naive
    else:
        _choose_by_test(values, out, change, step=step, horizon=horizon)
        out.model = [CONSTANT if f else m for f, m in zip(is_flat, out.model, strict=True)]
        out.spread_80[is_flat] = WIDTHS[0] * naive[is_flat] / steps
        out.spread_95[is_flat] = WIDTHS[1] * naive[is_flat] / steps
    return out


def _choose_by_test(
    values: Floats, out: Choices, change: Floats, *, step: Step, horizon: int
) -> None:
    """Set model, error and spread of series that are long enough for a back-test."""
    steps, day = values.shape[1], _day(step)
    days = steps // day
    origins = [o * day + steps % day for o in range(max(SHORTEST_DAYS - 1, days // 2), days)][
        -MOST_ORIGINS:
    ]
    ahead = min(horizon, FARTHEST_DAYS * day)
    best = np.abs(_errors(values, origins, MODELS[step][DEFAULT], ahead))
    error = np.nanmean(best, axis=(1, 2))
    limit = error * (1 - MARGIN[step])
    chosen = np.full(len(values), DEFAULT, dtype=object)
    for name in SINGLE[step]:
        tried = np.abs(_errors(values, origins, MODELS[step][name], ahead))
        found = np.nanmean(tried, axis=(1, 2))
        better = found < limit
        chosen[better] = name
        best[better] = tried[better]
        limit[better] = error[better] = found[better]
    out.model = [str(name) for name in chosen]
    moves = change > 0
    out.backtest_mase[:] = np.where(moves, error / np.where(moves, change, 1.0), np.nan)
    trust = len(origins) / (len(origins) + ORIGINS_OF_DOUBT)
    out.growth[:] = (1 - trust) * GROWTH[step] + trust * _growth(best, day)
    relative = best / _width(values, out.growth, ahead, step=step)[:, None, :]
    relative = relative.reshape(len(values), -1)
    relative = relative[:, ~np.isnan(relative[0])]
    usual = SHARE_OF_ERRORS * relative.mean(axis=1) + (1 - SHARE_OF_ERRORS) * change
    seen_80, seen_95 = np.quantile(relative, (0.8, 0.95), axis=1)
    out.spread_80[:] = (1 - trust) * WIDTHS[0] * usual + trust * seen_80
    out.spread_95[:] = (1 - trust) * WIDTHS[1] * usual + trust * BEYOND_95 * seen_95


def _errors(values: Floats, origins: list[int], method: Method, horizon: int) -> Floats:
    """Actual minus forecast (S, origins, horizon); NaN where the actual lies after the end."""
    found = method(values, origins, horizon)
    steps = values.shape[1]
    at = np.array(origins)[:, None] + np.arange(horizon)
    actual = np.where(at < steps, values[:, np.minimum(at, steps - 1)], np.nan)
    return np.asarray(actual - found)


def _growth(errors: Floats, day: int) -> Floats:
    """Exponent with which the absolute errors (S, origins, horizon) of a series grow by the day.

    The slope through the logarithms of the mean error of each day ahead, a day weighted by the
    origins that reach it; kept within 0 and 1.
    """
    usual = np.full(len(errors), GROWTH["1h" if day > 1 else "1d"])
    ahead = errors.shape[2] // day
    if ahead < FEWEST_DAYS_AHEAD:
        return usual
    by_day = errors[:, :, : ahead * day].reshape(len(errors), errors.shape[1], ahead, day)
    reached = ~np.isnan(by_day[0]).any(axis=2)
    weight = reached.sum(axis=0).astype(np.float64)
    if np.count_nonzero(weight) < FEWEST_DAYS_AHEAD:
        return usual
    mean = np.where(reached[:, :, None], by_day, 0.0).sum(axis=(1, 3))
    mean = mean / (np.maximum(weight, 1.0) * day)
    floor = 0.05 * mean.max(axis=1, keepdims=True)
    logs = np.log(np.maximum(np.where(floor > 0, mean, 1.0), np.where(floor > 0, floor, 1.0)))
    x = np.log(np.arange(1, ahead + 1))
    x = x - np.average(x, weights=weight)
    slope = (logs * (weight * x)).sum(axis=1) / (weight * x * x).sum()
    return np.asarray(np.clip(slope, 0.0, 1.0))


def _width(values: Floats, growth: Floats, horizon: int, *, step: Step) -> Floats:
    """Width of the band at each step (S, horizon), in units of that of the first day.

    Hours differ as the values of history differ from the median of their hour.
    """
    day = _day(step)
    grown = np.power(1.0 + np.arange(horizon) // day, growth[:, None])
    days = values.shape[1] // day
    if day == 1 or days < SHORTEST_DAYS:
        return np.asarray(grown)
    by_day = values[:, -days * day :].reshape(len(values), days, day)
    by_day = by_day - by_day.mean(axis=2, keepdims=True)
    spread = np.abs(by_day - np.median(by_day, axis=1, keepdims=True)).mean(axis=1)
    usual = spread.mean(axis=1, keepdims=True)
    share = np.where(usual > 0, spread / np.where(usual > 0, usual, 1.0), 1.0)
    share = (share + HOURS_OF_DOUBT) / (1 + HOURS_OF_DOUBT)
    return np.asarray(grown * share[:, np.arange(horizon) % day])


def _usual_change(values: Floats, day: int) -> Floats:
    """Mean absolute change from step to step, hourly from day to day; 0 where there is none."""
    lag = day if values.shape[1] > day else 1
    if values.shape[1] <= lag:
        return np.zeros(len(values))
    return np.asarray(np.abs(values[:, lag:] - values[:, :-lag]).mean(axis=1))


def _day(step: Step) -> int:
    """Steps of a day."""
    return 24 if step == "1h" else 1
