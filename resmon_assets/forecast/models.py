"""Forecasts of many series, each by the model that has served it best, with bands.

Belongs here: the way from rows to rows. How rows become arrays is in grid.py, the methods are in
smoothing.py, which one a series gets and how wide its bands are is in selection.py. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from resmon_assets.forecast.grid import STEP_MICROSECONDS, Floats, Gridded, Step, gridded
from resmon_assets.forecast.selection import Choices, choose, outlook
from resmon_resources.errors import ConfigurationInvalid

CHOICES = pl.Schema({"series": pl.Int64(), **Choices.COLUMNS})
"""Schema of `Forecasts.choices` where series are integers; with names, series is a string."""

CHUNK = 1000
"""Series computed at once."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What is expected, and how it was chosen.

    Attributes:
        points: series, timestamp, step (i32, 1 to the horizon), value, lower_80, upper_80,
            lower_95, upper_95 (f64, the unit of the history, never null), model; ordered by series
            (in the order in which the history first names them) and step.
        choices: series, model, backtest_mase (mean absolute error of the back-test in units of the
            mean change from step to step; null where there was nothing to test), history_steps,
            spread_80, spread_95 (half width of the bands one step ahead, in the unit of the
            history); one row per series, in the same order. Good as `chosen` of a later call.
    """

    points: pl.DataFrame
    choices: pl.DataFrame


def forecast_rows(
    history: pl.DataFrame,
    *,
    horizon: int,
    step: Step,
    bounds: pl.DataFrame | None = None,
    chosen: pl.DataFrame | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Forecasts:
    """Forecast each series from its own rows.

    A series that has no value at all is in neither result. The same rows give the same result, in
    whatever order they stand, and whichever other series stand beside them.

    Args:
        history: series (text or integer), timestamp (datetime, UTC), value (null or not-a-number:
            not measured).
        horizon: steps to look ahead, at least 1.
        step: width of a step; step k is stamped k steps after the last row of the series.
        bounds: series, lower, upper (null: none): values and bands stay within.
        chosen: `choices` of an earlier call: the model and the spread are taken from there, and
            only series that are not in it are chosen for anew.
        on_progress: called with series done and series in all.

    Raises:
        ConfigurationInvalid: a column is missing or of a wrong type, or the horizon is below 1.
    """
    if horizon < 1:
        msg = f"Cannot forecast {horizon} steps ahead. Give a horizon of at least 1."
        raise ConfigurationInvalid(msg)
    grid = gridded(history, step)
    given = _given(grid, chosen)
    count = len(grid.series)
    numbers = np.full((5, count, horizon), np.nan)
    choices = Choices.empty(count)
    done = 0
    for panel in grid.panels:
        for chunk in panel.chunks(CHUNK):
            mine = choose(chunk.values, step=step, horizon=horizon, given=given.take(chunk.places))
            numbers[:, chunk.places] = outlook(chunk.values, mine, step=step, horizon=horizon)
            choices.put(chunk.places, mine)
            done += len(chunk.places)
            if on_progress is not None:
                on_progress(done, count)
    _keep_within(numbers, grid, bounds)
    return _as_frames(grid, numbers, choices, step=step)


def _given(grid: Gridded, chosen: pl.DataFrame | None) -> Choices:
    """The earlier choices in the order of the grid; a series without one has no model."""
    if chosen is None:
        return Choices.empty(len(grid.series))
    columns = ["series", *Choices.COLUMNS]
    missing = [c for c in columns if c not in chosen.columns]
    if missing:
        msg = f"Cannot use earlier choices: they have no column {', '.join(missing)}."
        raise ConfigurationInvalid(msg)
    one_each = chosen.select(columns).unique("series", keep="last", maintain_order=True)
    joined = (
        grid.series.alias("series")
        .to_frame()
        .join(one_each, on="series", how="left", maintain_order="left")
    )
    return Choices.from_frame(joined)


def _keep_within(numbers: Floats, grid: Gridded, bounds: pl.DataFrame | None) -> None:
    """Clip values and bands of every series to its bounds, in place."""
    if bounds is None:
        return
    joined = (
        grid.series.alias("series")
        .to_frame()
        .join(
            bounds.select("series", pl.col("lower", "upper").cast(pl.Float64)).unique(
                "series", keep="last", maintain_order=True
            ),
            on="series",
            how="left",
            maintain_order="left",
        )
    )
    lower = joined["lower"].fill_null(-np.inf).to_numpy()
    upper = joined["upper"].fill_null(np.inf).to_numpy()
    np.clip(numbers, lower[None, :, None], upper[None, :, None], out=numbers)


def _as_frames(grid: Gridded, numbers: Floats, choices: Choices, *, step: Step) -> Forecasts:
    """Arrays over all series as the two frames; series without any value are left out."""
    known = np.array([model is not None for model in choices.model], dtype=bool)
    series = grid.series.filter(pl.Series(known))
    frame = choices.as_frame().filter(pl.Series(known))
    horizon = numbers.shape[2]
    places = np.repeat(np.arange(len(series)), horizon)
    steps = np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(series))
    flat = numbers[:, known].reshape(5, -1)
    last = grid.last.filter(pl.Series(known)).dt.epoch("us").to_numpy()
    stamps = last[places] + steps * np.int64(STEP_MICROSECONDS[step])
    named = dict(zip(("value", "lower_80", "upper_80", "lower_95", "upper_95"), flat, strict=True))
    points = pl.DataFrame(
        {
            "series": series.gather(places),
            "timestamp": pl.Series(stamps).cast(pl.Datetime("us", "UTC")),
            "step": steps,
            **named,
            "model": frame["model"].gather(places),
        }
    )
    return Forecasts(points=points, choices=frame.insert_column(0, series.alias("series")))
