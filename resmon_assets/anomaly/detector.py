"""Judges a single metric by its own past, one row of every series at a time.

Belongs here: the default detector of single series. Pure: what it knows is in the state that it is
given. Several metrics of a server together are judged in `combined.py`.

How it works, with the figures, is in docs/analytics.md, "Detection: a single metric".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.anomaly import ratio
from resmon_assets.anomaly.state import SeriesState, Verdicts, joined

STATE_VERSION = 1
"""Changes when stored states can not be read any more."""

HOUR = 3600
SLOT_SECONDS = 1200
SLOTS = 24 * HOUR // SLOT_SECONDS
HOURS = 24
NEVER = np.iinfo(np.int64).min // 2
LARGEST = np.finfo(np.float32).max

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the detector can be told; times in hours, the same for every series and step width."""

    learn_hours: float = 24.0
    block_hours: float = 6.0
    margin: float = 1.1
    cap: float = 2.0
    back_ratio: float = 0.5
    back_hours: float = 1.0
    adopt_hours: float = 3.0
    floor: float = 0.01
    profile_days: float = 7.0


DEFAULT = Settings()
BLOCKS = 56


@dataclass(frozen=True)
class State(SeriesState):
    """What is remembered of each series; first axis is the series."""

    kind: ClassVar[str] = "default"
    version: ClassVar[int] = STATE_VERSION

    clock: Integers
    hours: Singles
    ring: Singles
    slot: Integers
    place: npt.NDArray[np.int16]
    level: Singles
    hour: Integers
    hour_sum: Singles
    hour_count: Singles
    hour_low: Singles
    hour_high: Singles
    profile: Singles
    profile_low: Singles
    profile_high: Singles
    profile_days: npt.NDArray[np.int16]
    block: Integers
    block_up: Singles
    block_down: Singles
    ups: Singles
    downs: Singles
    is_open: Flags
    opened: Singles
    calm: Singles
    told: Singles


def empty_state(series_count: int) -> State:
    """Begin with series of which nothing is known."""
    n = series_count

    def unknown(*shape: int) -> Singles:
        return np.full((n, *shape), np.nan, np.float32)

    def zeros(*shape: int) -> Singles:
        return np.zeros((n, *shape), np.float32)

    return State(
        clock=np.full(n, NEVER),
        hours=zeros(),
        ring=unknown(SLOTS),
        slot=np.full(n, NEVER),
        place=np.zeros(n, np.int16),
        level=unknown(),
        hour=np.full(n, NEVER),
        hour_sum=zeros(),
        hour_count=zeros(),
        hour_low=zeros(),
        hour_high=zeros(),
        profile=unknown(HOURS),
        profile_low=unknown(HOURS),
        profile_high=unknown(HOURS),
        profile_days=np.zeros((n, HOURS), np.int16),
        block=np.full(n, NEVER),
        block_up=zeros(),
        block_down=zeros(),
        ups=unknown(BLOCKS),
        downs=unknown(BLOCKS),
        is_open=np.zeros(n, np.bool_),
        opened=zeros(),
        calm=zeros(),
        told=zeros(),
    )


def concat_states(states: Sequence[State]) -> State:
    """Put the series of several states behind each other."""
    return joined(states)


def state_from_bytes(content: bytes) -> State:
    """Read a stored state.

    Raises:
        DetectorStateUnusable: damaged, or of another detector or version.
    """
    return State.from_bytes(content)


def advance(
    state: State, at: Integers, values: Floats, *, settings: Settings = DEFAULT
) -> tuple[State, Verdicts]:
    """Judge one row of every series, then learn from it.

    Args:
        state: what is known from earlier rows; it is not changed.
        at: epoch seconds, one per series. A stamp that repeats or goes back is judged at its own
            time of day and does not move the series' clock.
        values: NaN, infinite or beyond 3.4e38 is "not measured": no verdict, nothing learned.
        settings: for research; the default is what the product uses.

    Returns:
        The state after the row, and the verdicts.
    """
    n = len(state)
    with np.errstate(invalid="ignore", over="ignore"):
        measured = np.abs(values) < LARGEST
    row = np.flatnonzero(measured)
    verdicts = Verdicts(
        score=np.zeros(n),
        is_anomaly=np.zeros(n, np.bool_),
        is_open=state.is_open.copy(),
        baseline=np.full(n, np.nan),
        lower=np.full(n, np.nan),
        upper=np.full(n, np.nan),
    )
    if not len(row):
        return state, verdicts
    is_all = len(row) == n
    new = _copied(state if is_all else state.take(row))
    _judge_and_learn(new, at[row], values[row].astype(np.float32), verdicts, row, settings)
    if is_all:
        return new, verdicts
    whole = _copied(state)
    for f in fields(State):
        getattr(whole, f.name)[row] = getattr(new, f.name)
    return whole, verdicts


def _copied(state: State) -> State:
    return State(**{f.name: getattr(state, f.name).copy() for f in fields(State)})


def _judge_and_learn(  # noqa: PLR0917
    s: State, at: Integers, x: Singles, out: Verdicts, row: Integers, p: Settings
) -> None:
    """Judge measured rows with what `s` knows, write to `out` at `row`, then change `s`."""
    is_first = s.clock == NEVER
    step = np.where(is_first, 0, np.maximum(at - s.clock, 0))
    seconds = np.minimum(step, HOUR)
    step_hours = (seconds / HOUR).astype(np.float32)
    now = np.where(is_first, at, np.maximum(at, s.clock))
    s.clock[:] = now
    s.hours[:] += step_hours
    _close_blocks(s, now, p)
    _close_hours(s, now, p)

    of_day = (at // HOUR) % HOURS
    index = np.arange(len(x))
    level = s.level
    residual = np.where(np.isfinite(level), x - level, 0).astype(np.float32)
    floor = p.floor * np.abs(level)
    up_level = np.maximum(p.margin * _highest(s.ups), floor)
    down_level = np.maximum(p.margin * _highest(s.downs), floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(residual > 0, residual / up_level, 0)
        down = np.where(residual < 0, -residual / down_level, 0)
    ratio = np.nan_to_num(np.maximum(up, down), nan=0.0, posinf=1e6).astype(np.float64)
    is_known = s.hours >= p.learn_hours
    ratio = np.where(is_known, np.minimum(ratio, 1e6), 0)

    is_high = ratio > 1
    begins = is_high & (~s.is_open | (ratio > 2 * s.told))
    s.told[:] = np.where(begins, ratio, s.told)
    was_open = s.is_open.copy()
    s.calm[:] = np.where(ratio < p.back_ratio, s.calm + step_hours, 0)
    s.opened[:] = np.where(was_open, s.opened + step_hours, 0)
    ends = was_open & ~is_high & (s.calm >= p.back_hours)
    adopts = was_open & ~ends & (s.opened >= p.adopt_hours)
    s.is_open[:] = (was_open & ~ends & ~adopts) | begins

    out.score[row] = ratio / (1 + ratio)
    out.is_anomaly[row] = begins
    out.is_open[row] = s.is_open
    with np.errstate(invalid="ignore"):
        usual = np.where(np.isfinite(s.profile[index, of_day]), s.profile[index, of_day], 0)
        low = np.where(
            np.isfinite(s.profile_low[index, of_day]), s.profile_low[index, of_day], np.nan
        )
        high = np.where(
            np.isfinite(s.profile_high[index, of_day]), s.profile_high[index, of_day], np.nan
        )
    out.baseline[row] = np.where(is_known, level + usual, np.nan)
    out.lower[row] = np.where(is_known, level + low, np.nan)
    out.upper[row] = np.where(is_known, level + high, np.nan)

    # Learn.
    s.block_up[:] = np.maximum(
        s.block_up,
        np.minimum(residual, np.where(is_known & (up_level > 0), p.cap * up_level, np.inf)),
    )
    s.block_down[:] = np.maximum(
        s.block_down,
        np.minimum(-residual, np.where(is_known & (down_level > 0), p.cap * down_level, np.inf)),
    )
    s.hour_sum[:] += residual
    s.hour_count[:] += 1
    s.hour_low[:] = np.where(s.hour_count > 1, np.minimum(s.hour_low, residual), residual)
    s.hour_high[:] = np.where(s.hour_count > 1, np.maximum(s.hour_high, residual), residual)
    _learn_level(s, now, x)
    _adopt(s, np.flatnonzero(adopts), p)


def _highest(blocks: Singles) -> Singles:
    """Highest of the remembered blocks; 0 where there is none."""
    highest: Singles = np.nan_to_num(np.fmax.reduce(blocks, axis=1), nan=0.0)
    return highest


def _close_blocks(s: State, now: Integers, p: Settings) -> None:
    """Move finished blocks' maxima to the rings."""
    block = now // int(p.block_hours * HOUR)
    changed = np.flatnonzero(block != s.block)
    old = changed[s.block[changed] != NEVER]
    if len(old):
        s.ups[old, 1:] = s.ups[old, :-1]
        s.downs[old, 1:] = s.downs[old, :-1]
        s.ups[old, 0] = s.block_up[old]
        s.downs[old, 0] = s.block_down[old]
    s.block_up[changed] = 0
    s.block_down[changed] = 0
    s.block[:] = block


def _close_hours(s: State, now: Integers, p: Settings) -> None:
    """Move finished hours into the profile of the day."""
    hour = now // HOUR
    changed = np.flatnonzero(hour != s.hour)
    if not len(changed):
        return
    old = changed[s.hour_count[changed] > 0]
    of_day = s.hour[old] % HOURS
    days = s.profile_days[old, of_day] + 1
    weight = np.maximum(1 / days, 1 / p.profile_days).astype(np.float32)
    for profile, value in (
        (s.profile, s.hour_sum[old] / s.hour_count[old]),
        (s.profile_low, s.hour_low[old]),
        (s.profile_high, s.hour_high[old]),
    ):
        before = np.where(days > 1, profile[old, of_day], value)
        profile[old, of_day] = before + weight * (value - before)
    s.profile_days[old, of_day] = np.minimum(days, 10_000)
    s.hour_sum[changed] = 0
    s.hour_count[changed] = 0
    s.hour[changed] = hour[changed]


def _learn_level(s: State, now: Integers, x: Singles) -> None:
    """Keep one value per slot of the last day, and their median."""
    slot = now // SLOT_SECONDS
    steps = np.where(s.slot == NEVER, 1, slot - s.slot)
    changed = np.flatnonzero(steps > 0)
    if not len(changed):
        return
    steps = steps[changed]
    steps = np.where(steps > SLOTS // 8, 1, steps)
    ring = s.ring[changed]
    place = s.place[changed].astype(np.int64)
    for k in range(1, int(steps.max())):
        skipped = np.flatnonzero(steps > k)
        ring[skipped, (place[skipped] + k) % SLOTS] = np.nan
    place = (place + steps) % SLOTS
    ring[np.arange(len(changed)), place] = x[changed]
    s.ring[changed] = ring
    s.place[changed] = place
    s.slot[changed] = slot[changed]
    s.level[changed] = _median(ring)


def _median(ring: Singles) -> Singles:
    """Median of each row's measured values."""
    ordered = np.sort(ring, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    index = np.arange(len(ring))
    low = ordered[index, np.maximum((count - 1) // 2, 0)]
    high = ordered[index, np.minimum(count // 2, SLOTS - 1)]
    median: Singles = ((low + high) / 2).astype(np.float32)
    return median


def _adopt(s: State, who: Integers, p: Settings) -> None:
    """Take the last hours as the new level."""
    if not len(who):
        return
    keep = int(p.adopt_hours * HOUR / SLOT_SECONDS)
    age = (s.place[who][:, None].astype(np.int64) - np.arange(SLOTS)) % SLOTS
    ring = np.where(age < keep, s.ring[who], np.float32(np.nan))
    s.ring[who] = ring
    s.level[who] = _median(ring)


def detect_rows(
    frame: pl.DataFrame,
    *,
    detector: Literal["default", "ratio"] = "default",
    on_progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Judge every row of a table by the earlier rows of its series and metric.

    Args:
        frame: series, timestamp (microseconds, UTC), metric, value; rows of one series and metric
            in the order in which they are to be judged. A null value is "not measured".
        detector: "default", or "ratio", the plain rule.
        on_progress: called now and then with rows done and rows in all.

    Returns:
        One row per row, in the same order: series, timestamp, metric, anomaly_score (0 to 1),
        is_anomaly; and `row`, if the frame has it.

    Raises:
        ValueError: a detector of another name.
    """
    rules: dict[str, tuple[Any, Any]] = {
        "default": (empty_state, advance),
        "ratio": (ratio.empty_state, ratio.advance),
    }
    if detector not in rules:
        message = f"detect with {detector!r}: there is no such detector; use {' or '.join(rules)}"
        raise ValueError(message)
    empty, step = rules[detector]
    rows = frame.height
    pairs = (
        frame.select(pl.struct("series", "metric").rank("dense").cast(pl.Int64).alias("pair") - 1)[
            "pair"
        ].to_numpy()
        if rows
        else np.zeros(0, np.int64)
    )
    lengths = np.bincount(pairs)
    longest_first = np.argsort(-lengths, kind="stable")
    rank = np.empty_like(longest_first)
    rank[longest_first] = np.arange(len(longest_first))
    ordinal = _ordinals(pairs, lengths)
    order = np.lexsort((rank[pairs], ordinal))
    at = frame["timestamp"].dt.epoch("s").to_numpy()
    values = frame["value"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    score, alarm = np.zeros(rows), np.zeros(rows, np.bool_)
    state = empty(len(lengths))
    done = 0
    for active in np.bincount(ordinal):
        which = order[done : done + active]
        if active < len(state):
            state = state.take(slice(0, int(active)))
        state, verdicts = step(state, at[which], values[which])
        score[which], alarm[which] = verdicts.score, verdicts.is_anomaly
        done += int(active)
        if on_progress is not None:
            on_progress(done, rows)
    carried = [c for c in ("row",) if c in frame.columns]
    return frame.select(
        "series",
        "timestamp",
        "metric",
        *carried,
        pl.Series("anomaly_score", score),
        pl.Series("is_anomaly", alarm),
    )


def _ordinals(pairs: Integers, lengths: Integers) -> Integers:
    """Number of each row within its series and metric, from 0."""
    order = np.argsort(pairs, kind="stable")
    starts = np.cumsum(lengths) - lengths
    ordinal = np.empty(len(pairs), np.int64)
    ordinal[order] = np.arange(len(pairs)) - np.repeat(starts, lengths)
    return ordinal
