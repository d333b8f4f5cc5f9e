"""Which model a series gets, and how wide its bands are: from its own rolling back-test.

Belongs here: the back-test, the choice, the width of the bands. The methods are in smoothing.py.
Pure, numpy; polars for the form in which choices are kept.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from resmon_assets.forecast import smoothing
from resmon_assets.forecast.grid import Floats, Integers, Step

DEFAULT = "combination"
SHORT = "naive_short"
CONSTANT = "naive_constant"
SHORTEST = 4
"""Below so many steps there is nothing to choose by."""


MOST_ORIGINS = 14
FARTHEST = 14
"""Days that the back-test looks ahead at most."""
SHARE_OF_LEVEL = 0.1
LEAST_SHARE = 0.001
WIDTH_80 = 2.0
WIDTH_95 = 4.0
GROWTH_DAILY = 0.4
GROWTH_HOURLY = 0.15

MODELS: dict[Step, dict[str, smoothing.Method]] = {
    "1d": {
        DEFAULT: smoothing.combination,
        SHORT: smoothing.recent_median,
        CONSTANT: smoothing.last_value,
    },
    "1h": {
        DEFAULT: smoothing.by_hour_of_day(smoothing.combination),
        SHORT: smoothing.recent_median,
        CONSTANT: smoothing.last_value,
    },
}


@dataclass(slots=True)
class Choices:
    """Choices of S series, as arrays.

    Attributes:
        model: name; None where nothing is chosen.
        backtest_mase: mean absolute scaled error of the back-test; NaN where there was none.
        history_steps: steps that the choice has seen.
        spread_80: half width of the 80 % band one step ahead.
        spread_95: half width of the 95 % band one step ahead.
    """

    COLUMNS: ClassVar = {
        "model": pl.String(),
        "backtest_mase": pl.Float64(),
        "history_steps": pl.Int32(),
        "spread_80": pl.Float64(),
        "spread_95": pl.Float64(),
    }
    model: list[str | None]
    backtest_mase: Floats
    history_steps: Integers
    spread_80: Floats
    spread_95: Floats

    @classmethod
    def empty(cls, count: int) -> "Choices":
        """No choice for anybody."""
        nan = np.full(count, np.nan)
        return cls([None] * count, nan.copy(), np.zeros(count, np.int64), nan.copy(), nan.copy())

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> "Choices":
        """From columns as `as_frame` makes them; a null model is no choice."""
        floats = [
            frame[c].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
            for c in ("backtest_mase", "spread_80", "spread_95")
        ]
        steps = frame["history_steps"].cast(pl.Int64).fill_null(0).to_numpy().copy()
        return cls(frame["model"].to_list(), floats[0], steps, floats[1], floats[2])

    def as_frame(self) -> pl.DataFrame:
        """One row per series; null where nothing is known."""
        columns = {name: getattr(self, name) for name in self.COLUMNS}
        return pl.DataFrame(columns, schema=self.COLUMNS).with_columns(
            pl.col("backtest_mase").fill_nan(None)
        )

    def take(self, places: Integers) -> "Choices":
        """The choices of some series."""
        return Choices(
            [self.model[i] for i in places],
            self.backtest_mase[places],
            self.history_steps[places],
            self.spread_80[places],
            self.spread_95[places],
        )

    def put(self, places: Integers, other: "Choices") -> None:
        """Set the choices of some series."""
        for place, model in zip(places, other.model, strict=True):
            self.model[place] = model
        for name in ("backtest_mase", "history_steps", "spread_80", "spread_95"):
            getattr(self, name)[places] = getattr(other, name)


def choose(values: Floats, *, step: Step, horizon: int, given: Choices) -> Choices:
    """Model and spread of each series: the given one, or by its back-test."""
    names = MODELS[step]
    new = np.array([model not in names for model in given.model], dtype=bool)
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
    growth = growth_of(horizon, step=step)
    half_80 = choices.spread_80[:, None] * growth
    half_95 = np.maximum(choices.spread_95[:, None] * growth, half_80)
    return np.stack(
        [middle, middle - half_80, middle + half_80, middle - half_95, middle + half_95]
    )


def growth_of(horizon: int, *, step: Step) -> Floats:
    """How many times the error of step 1 that of step 1 to `horizon` is."""
    steps = np.arange(1, horizon + 1, dtype=np.float64)
    exponent = GROWTH_DAILY
    if step == "1h":
        steps, exponent = 1 + (steps - 1) / 24, GROWTH_HOURLY
    grown: Floats = steps**exponent
    return grown


def _chosen_anew(values: Floats, *, step: Step, horizon: int) -> Choices:
    """Model and spread by back-test; the naive ones where there is nothing to test."""
    count, steps = values.shape
    day = 24 if step == "1h" else 1
    out = Choices.empty(count)
    out.history_steps[:] = steps
    change = _usual_change(values, day)
    flat = values.max(axis=1) == values.min(axis=1)
    level = np.abs(values).mean(axis=1)
    if steps < SHORTEST * day:
        out.model = [SHORT] * count
        sigma = np.maximum(change, SHARE_OF_LEVEL * level)
    else:
        origins = [
            o * day + steps % day for o in range(max(SHORTEST - 1, steps // day // 2), steps // day)
        ]
        origins = origins[-MOST_ORIGINS:]
        ahead = min(horizon, FARTHEST * day)
        errors = np.abs(_errors(values, origins, MODELS[step][DEFAULT], ahead))
        out.model = [DEFAULT] * count
        found = np.nanmean(errors, axis=(1, 2))
        out.backtest_mase[:] = np.where(
            change > 0, found / np.where(change > 0, change, 1.0), np.nan
        )
        sigma = np.nanmean(errors / growth_of(ahead, step=step), axis=(1, 2))
        sigma = 0.7 * sigma + 0.3 * change
    sigma = np.maximum(sigma, LEAST_SHARE * level)
    out.model = [CONSTANT if f and steps > 1 else m for f, m in zip(flat, out.model, strict=True)]
    out.spread_80[:], out.spread_95[:] = WIDTH_80 * sigma, WIDTH_95 * sigma
    return out


def _errors(values: Floats, origins: list[int], method: smoothing.Method, horizon: int) -> Floats:
    """Actual minus forecast (S, origins, horizon); NaN where the actual lies after the end."""
    found = method(values, origins, horizon)
    steps = values.shape[1]
    at = np.array(origins)[:, None] + np.arange(horizon)
    actual = np.where(at < steps, values[:, np.minimum(at, steps - 1)], np.nan)
    return actual - found


def _usual_change(values: Floats, day: int) -> Floats:
    """Mean absolute change from step to step, hourly from day to day; 0 where there is none."""
    lag = day if values.shape[1] > day else 1
    if values.shape[1] <= lag:
        return np.zeros(len(values))
    change: Floats = np.abs(values[:, lag:] - values[:, :-lag]).mean(axis=1)
    return change
