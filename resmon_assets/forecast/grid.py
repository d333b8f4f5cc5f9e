"""Rows of many series as arrays of equal steps, without a gap.

Belongs here: which step a row falls in, and what stands in a step without a row. Pure. Series of
one length form one panel, so that a method computes all of them at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.frames import INSTANT
from resmon_resources.errors import ConfigurationInvalid

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Step = Literal["1d", "1h"]

STEP_MICROSECONDS: dict[Step, int] = {"1d": 86_400_000_000, "1h": 3_600_000_000}
LONGEST_STEPS: dict[Step, int] = {"1d": 366, "1h": 56 * 24}
"""Steps that a forecast looks back: what is older says little of the coming month."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Series of one length.

    Attributes:
        places: number of each series in the order of first appearance, ascending.
        values: (series, steps), without a gap; the last column is the step of the last stamp.
    """

    places: Integers
    values: Floats

    def chunks(self, size: int) -> Iterator["Panel"]:
        """The same series, at most `size` at a time, so that the caches hold what is computed."""
        for start in range(0, len(self.places), size):
            stop = start + size
            yield Panel(places=self.places[start:stop], values=self.values[start:stop])


@dataclass(frozen=True, slots=True)
class Gridded:
    """A history in steps.

    Attributes:
        series: the series in the order of first appearance, one row each.
        last: their last stamps, rows without a value included.
        panels: those that have a value at all, by length.
    """

    series: pl.Series
    last: pl.Series
    panels: tuple[Panel, ...]


def gridded(history: pl.DataFrame, step: Step) -> Gridded:
    """Put rows into steps that end at the last stamp of their series.

    A row belongs to the step whose stamp is nearest; rows of one step are averaged. A step between
    two values has the value on the straight line between them, in hourly series on top of the mean
    of its hour of the day; after the last value, that value stands (again with the hour's). Null
    and not-a-number are no value, but their stamp counts: the forecast begins after it.

    Args:
        history: series (text or integer), timestamp (datetime, UTC), value (number); any order.
        step: the width of a step.

    Raises:
        ConfigurationInvalid: a column is missing, or the stamps are no instants.
    """
    _refuse_unusable(history)
    rows = history.select(
        "series",
        pl.col("timestamp").cast(INSTANT),
        pl.when(pl.col("value").cast(pl.Float64).is_finite()).then(
            pl.col("value").cast(pl.Float64)
        ),
    )
    known = rows.group_by("series", maintain_order=True).agg(
        pl.col("timestamp").max().alias("last")
    )
    numbered = known.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    width = STEP_MICROSECONDS[step]
    age = pl.col("last").dt.epoch("us") - pl.col("timestamp").dt.epoch("us")
    cells = (
        rows.filter(pl.col("value").is_not_null())
        .join(numbered, on="series", how="inner", nulls_equal=True)
        .select("place", ((age + width // 2) // width).alias("ago"), "timestamp", "value")
        .filter(pl.col("ago") < LONGEST_STEPS[step])
        .sort("place", "timestamp", "value")
        .group_by("place", "ago", maintain_order=True)
        .agg(pl.col("value").mean())
        .with_columns((pl.col("ago").max().over("place") + 1).alias("steps"))
    )
    day = 24 if step == "1h" else 1
    panels = tuple(
        _panel(part, day=day) for part in cells.partition_by("steps", maintain_order=True)
    )
    return Gridded(series=known["series"], last=known["last"], panels=panels)


def filled(values: Floats, *, day: int) -> Floats:
    """Values (series, steps) with the gaps closed; each series has at least one value.

    Args:
        values: not-a-number is a gap.
        day: steps of the season that a gap follows; 1 for none.
    """
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    profile = np.zeros_like(values)
    steps = values.shape[1]
    if day > 1 and steps >= 2 * day:
        profile = _profile(values, day)
    flat = values - profile
    at = np.arange(steps)
    before = np.maximum.accumulate(np.where(gaps, -1, at), axis=1)
    after = np.minimum.accumulate(np.where(gaps, steps, at)[:, ::-1], axis=1)[:, ::-1]
    before, after = np.where(before < 0, after, before), np.where(after == steps, before, after)
    low = np.take_along_axis(flat, before, axis=1)
    high = np.take_along_axis(flat, after, axis=1)
    share = np.where(after > before, (at - before) / np.maximum(after - before, 1), 0.0)
    return np.where(gaps, low + (high - low) * share + profile, values)


def _profile(values: Floats, day: int) -> Floats:
    """Mean of each step of the season over its measured values, as deviation, in every step."""
    steps = values.shape[1]
    hour = np.arange(steps) % day
    out = np.zeros_like(values)
    middle = np.nanmean(values, axis=1)
    for h in range(day):
        part = values[:, hour == h]
        count = (~np.isnan(part)).sum(axis=1)
        mean = np.nansum(part, axis=1) / np.maximum(count, 1)
        out[:, hour == h] = np.where(count > 0, mean - middle, 0.0)[:, None]
    return out


def _panel(cells: pl.DataFrame, *, day: int) -> Panel:
    """Cells of series of one length as an array."""
    steps = int(cells["steps"][0])
    places, row = np.unique(cells["place"].to_numpy(), return_inverse=True)
    values = np.full((len(places), steps), np.nan)
    values[row, steps - 1 - cells["ago"].to_numpy()] = cells["value"].to_numpy()
    return Panel(places=places, values=filled(values, day=day))


def _refuse_unusable(history: pl.DataFrame) -> None:
    """Raise if this is no history."""
    missing = [c for c in ("series", "timestamp", "value") if c not in history.columns]
    if missing:
        msg = (
            f"Cannot forecast: the history has no column {', '.join(missing)}. "
            "It needs series, timestamp and value."
        )
        raise ConfigurationInvalid(msg)
    dtype = history.schema["timestamp"]
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        msg = f"Cannot forecast: timestamp is {dtype}, not an instant. Give datetimes with a zone."
        raise ConfigurationInvalid(msg)
    if not history.schema["value"].is_numeric() or history["timestamp"].null_count():
        msg = "Cannot forecast: value has to be a number, and no timestamp may be null."
        raise ConfigurationInvalid(msg)
