"""Judges several metrics of a server together by their own past, one row of every server at a time.

Belongs here: the default detector of servers. Pure: what it knows is in the state that it is given.
Single metrics are judged in `detector.py`.

How it works, with the figures, is in docs/analytics.md, "Detection: a server".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.anomaly.state import SeriesState, joined

STATE_VERSION = 1
"""Changes when stored states can not be read any more."""

HOUR_SECONDS = 3600
HOURS = 24
NEVER = np.iinfo(np.int64).min // 2
LARGEST = float(np.finfo(np.float32).max)
TINY = 1e-9
LEVEL_BINS = 96
"""Bins of the combined value's past: eight per doubling, from 2^-4 to 2^8."""
BINS_PER_DOUBLING = 8
FIRST_DOUBLING = -4

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the detector can be told: the same for every server, metric and step width.

    Attributes:
        memory_days: how fast the usual levels and spreads forget.
        flat_hours: weight of the flat level against a level of one hour of the day.
        floor: smallest spread of an hour, as a share of the spread of the whole day.
        least_change: smallest spread as a share of the level: 0.1 % is never news.
        begin: a distance of e^begin - 1 spreads is where surprise begins.
        cap: a metric says at most `cap` - `begin`.
        smooth_minutes: time constant of the mean that a surprise has to hold in.
        rare: share of its own past in which a server may be above its alarm level.
        alarm: lowest alarm level of the combined value.
        together: share of `alarm` that all metrics but the loudest have to bring.
        learn_hours: no alarm while less than this is known.
        back: an episode ends below this share of the alarm level ...
        back_hours: ... held for this long.
        again_hours: while above its level, an alarm is told again after this time.
    """

    memory_days: float = 14.0
    flat_hours: float = 2.0
    floor: float = 0.1
    least_change: float = 1e-3
    begin: float = 1.5
    cap: float = 6.0
    smooth_minutes: float = 20.0
    rare: float = 0.02
    alarm: float = 1.0
    together: float = 0.1
    learn_hours: float = 24.0
    back: float = 0.5
    back_hours: float = 0.5
    again_hours: float = 1.0


DEFAULT = Settings()
LONGEST_STEP_HOURS = 1.0
"""A row stands for at most this: a gap is neither remembered nor forgotten."""
FIRST_STEP_HOURS = 1 / 12
CLIP = 4.0
"""A row moves a level by at most so many spreads, so that a spike does not drag it along."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the detector says about one row of each server.

    Attributes:
        score: 0 (usual) to 1; 0 where there is no verdict. Above 0.5 where an alarm may begin.
        is_anomaly: whether this row would wake somebody; told again hourly while it lasts.
        is_open: whether the server is in an abnormal episode.
        contributions: first axis server, second metric: what each metric brings to the combined
            value, 0 or more, smoothed as that is.
    """

    score: Floats
    is_anomaly: Flags
    is_open: Flags
    contributions: Floats


@dataclass(frozen=True)
class State(SeriesState):
    """What is remembered of each server; axes are server, hour of the day (UTC), metric."""

    kind: ClassVar[str] = "servers"
    version: ClassVar[int] = STATE_VERSION

    clock: Integers
    level: Floats
    spread: Singles
    residual: Singles
    hours: Singles
    hour_level: Floats
    hour_spread: Singles
    hour_hours: Singles
    surprise: Singles
    past: Singles
    past_hours: Singles
    is_open: Flags
    calm_hours: Singles
    told_hours: Singles


def empty_state(server_count: int, metric_count: int) -> State:
    """Begin with servers of which nothing is known."""
    n, m = server_count, metric_count

    def zeros(*shape: int) -> Singles:
        return np.zeros((n, *shape), np.float32)

    return State(
        clock=np.full(n, NEVER),
        level=np.zeros((n, m)),
        spread=zeros(m),
        residual=zeros(m),
        hours=zeros(m),
        hour_level=np.zeros((n, HOURS, m)),
        hour_spread=zeros(HOURS, m),
        hour_hours=zeros(HOURS, m),
        surprise=zeros(m),
        past=zeros(LEVEL_BINS),
        past_hours=zeros(),
        is_open=np.zeros(n, np.bool_),
        calm_hours=zeros(),
        told_hours=zeros(),
    )


def concat_states(states: Sequence[State]) -> State:
    """Put the servers of several states, which have the same metrics, behind each other."""
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
    """Judge one row of every server, then learn from it.

    Args:
        state: what is known from earlier rows; it is not changed.
        at: epoch seconds, one per server. A stamp that repeats or goes back is judged at its own
            hour of the day, does not move the server's clock and weighs as little as a second.
        values: first axis server, second metric, always in the same order. NaN, infinite or beyond
            3.4e38 is "not measured". A server of which no metric is measured gets no verdict and
            learns nothing; a single metric that is missing says nothing.
        settings: for research; the default is what the product uses.

    Returns:
        The state after the row, and the verdicts.
    """
    n, m = values.shape
    with np.errstate(invalid="ignore"):
        measured = np.abs(values) < LARGEST
    row = np.flatnonzero(measured.any(axis=1))
    verdicts = Verdicts(
        score=np.zeros(n),
        is_anomaly=np.zeros(n, np.bool_),
        is_open=state.is_open.copy(),
        contributions=np.zeros((n, m)),
    )
    if not len(row):
        return state, verdicts
    is_all = len(row) == n
    new = _copied(state if is_all else state.take(row))
    known = measured if is_all else measured[row]
    readings = np.where(known, values if is_all else values[row], 0.0)
    _advance_in_place(new, at[row], readings, known, verdicts, row, settings)
    if is_all:
        return new, verdicts
    whole = _copied(state)
    for f in fields(State):
        getattr(whole, f.name)[row] = getattr(new, f.name)
    return whole, verdicts


def _copied(state: State) -> State:
    return State(**{f.name: getattr(state, f.name).copy() for f in fields(State)})


def _advance_in_place(  # noqa: PLR0917
    s: State, at: Integers, x: Floats, known: Flags, out: Verdicts, row: Integers, p: Settings
) -> None:
    """Judge measured rows with what `s` knows, write to `out` at `row`, then change `s`."""
    is_first = s.clock == NEVER
    step = np.where(is_first, FIRST_STEP_HOURS, (at - s.clock) / HOUR_SECONDS)
    step = np.clip(step, 1 / HOUR_SECONDS, LONGEST_STEP_HOURS)
    s.clock[:] = np.maximum(at, s.clock)
    surprise = _surprise_and_learn(s, at, x, known, step, p)

    keep = np.exp(-60 * step / p.smooth_minutes)[:, None]
    s.surprise[:] = keep * s.surprise + (1 - keep) * surprise
    contributions = s.surprise.astype(np.float64)
    combined = contributions.sum(axis=1)
    rest = combined - contributions.max(axis=1)
    is_single = (s.hours > 0).sum(axis=1) == 1
    level = np.maximum(_own_level(s, p), p.alarm)
    is_high = (combined > level) & ((rest > p.together * p.alarm) | is_single)
    is_high &= s.past_hours >= p.learn_hours

    was_open = s.is_open.copy()
    s.calm_hours[:] = np.where(combined < p.back * level, s.calm_hours + step, 0)
    s.told_hours[:] += step.astype(np.float32)
    s.is_open[:] = is_high | (was_open & (s.calm_hours < p.back_hours))
    tells = is_high & (~was_open | (s.told_hours >= p.again_hours))
    s.told_hours[tells] = 0
    _remember(s, combined, step, p)

    out.score[row] = combined / (combined + p.alarm)
    out.is_anomaly[row] = tells
    out.is_open[row] = s.is_open
    out.contributions[row] = contributions


def _surprise_and_learn(  # noqa: PLR0917
    s: State, at: Integers, x: Floats, known: Flags, step: Floats, p: Settings
) -> Floats:
    """How surprising each metric is, 0 or more; learns levels and spreads."""
    n = len(at)
    hour = (at // HOUR_SECONDS) % HOURS
    who = np.arange(n)
    weight = np.where(known, step[:, None], 0.0)
    hours = s.hours.astype(np.float64)
    is_new = (hours == 0) & known
    level = np.where(is_new, x, s.level)
    hour_hours = s.hour_hours[who, hour].astype(np.float64)
    hour_level = np.where((hour_hours == 0) & known, x, s.hour_level[who, hour])
    hour_spread = s.hour_spread[who, hour].astype(np.float64)
    spread = s.spread.astype(np.float64)
    residual = s.residual.astype(np.float64)

    trust = hour_hours / (hour_hours + p.flat_hours)
    usual = trust * hour_level + (1 - trust) * level
    least = p.least_change * np.abs(level) + TINY
    near = trust * hour_spread + (1 - trust) * spread
    near = np.maximum(np.maximum(near, p.floor * spread), least)
    scale = 0.5 * (near + np.maximum(residual, least))
    off = np.where(known, x - usual, 0.0)
    distance = np.abs(off) / scale
    surprise = np.clip(np.log1p(distance), p.begin, p.cap) - p.begin
    surprise = np.where(known & (hours > 1), surprise, 0.0)

    memory = HOURS * p.memory_days
    gain = weight / np.maximum(np.minimum(hours + weight, memory), TINY)
    off_level = np.where(known, x - level, 0.0)
    s.level[:] = level + gain * off_level
    s.spread[:] = spread + gain * (np.abs(off_level) - spread)
    s.residual[:] = residual + gain * (np.abs(off) - residual)
    s.hours[:] = np.minimum(hours + weight, memory)
    gain = weight / np.maximum(np.minimum(hour_hours + weight, p.memory_days), TINY)
    off_hour = np.clip(np.where(known, x - hour_level, 0.0), -CLIP * near, CLIP * near)
    s.hour_level[who, hour] = hour_level + gain * off_hour
    s.hour_spread[who, hour] = hour_spread + gain * (np.abs(off) - hour_spread)
    s.hour_hours[who, hour] = np.minimum(hour_hours + weight, p.memory_days)
    return surprise


def _own_level(s: State, p: Settings) -> Floats:
    """The combined value that the server's own past exceeded in `rare` of its hours; 0 if none."""
    tail = np.cumsum(s.past[:, ::-1], axis=1, dtype=np.float64)[:, ::-1]
    allowed = p.rare * tail[:, 0]
    highest = np.maximum((tail > allowed[:, None]).sum(axis=1) - 1, 0)
    who = np.arange(len(tail))
    here = tail[who, highest]
    above = np.where(
        highest + 1 < LEVEL_BINS, tail[who, np.minimum(highest + 1, LEVEL_BINS - 1)], 0
    )
    inside = (here - allowed) / np.maximum(here - above, TINY)
    level: Floats = 2.0 ** ((highest + np.clip(inside, 0, 1)) / BINS_PER_DOUBLING + FIRST_DOUBLING)
    return level


def _remember(s: State, combined: Floats, step: Floats, p: Settings) -> None:
    """Add the combined value to the server's past."""
    place = BINS_PER_DOUBLING * (np.log2(np.maximum(combined, TINY)) - FIRST_DOUBLING)
    place = np.clip(place, 0, LEVEL_BINS - 1).astype(np.int64)
    s.past[:] *= (1 - step / (HOURS * p.memory_days))[:, None]
    s.past[np.arange(len(place)), place] += step.astype(np.float32)
    s.past_hours[:] = np.minimum(s.past_hours + step, HOURS * p.memory_days)


def detect_servers(
    frame: pl.DataFrame, *, on_progress: Callable[[int, int], None] | None = None
) -> pl.DataFrame:
    """Judge every instant of every server by the earlier ones.

    Rows of a server and stamp belong together wherever they stand, and are judged in the order of
    their stamps. A metric that is there twice counts with its mean. Servers with the same metrics
    go forward together.

    Args:
        frame: series (the server), timestamp (microseconds, UTC), metric, value, in long form. A
            null or NaN value is "not measured".
        on_progress: called now and then with rows done and rows in all.

    Returns:
        One row per series and timestamp, in the order in which they first stand in the frame:
        series, timestamp, metric (always "*"), anomaly_score (0 to 1), is_anomaly.
    """
    instants = frame.select("series", "timestamp").unique(maintain_order=True)
    parts = []
    done = 0
    groups = (
        frame.group_by("series", maintain_order=True)
        .agg(pl.col("metric").unique().sort().alias("metrics"))
        .group_by("metrics", maintain_order=True)
        .agg("series")
    )
    for metrics, names in groups.iter_rows():
        wide = (
            frame.filter(pl.col("series").is_in(names))
            .with_columns(pl.col("value").cast(pl.Float64).fill_null(float("nan")))
            .pivot(
                "metric", index=["series", "timestamp"], values="value", aggregate_function="mean"
            )
            .sort("series", "timestamp")
        )
        score, alarm = _run(wide, metrics, done, frame.height, on_progress)
        done += wide.height * len(metrics)
        parts.append(
            wide.select(
                "series",
                "timestamp",
                pl.Series("anomaly_score", score),
                pl.Series("is_anomaly", alarm),
            )
        )
    empty = {"anomaly_score": pl.Float64, "is_anomaly": pl.Boolean}
    judged = (
        pl.concat(parts)
        if parts
        else instants.clear().with_columns(
            pl.lit(None, dtype).alias(name) for name, dtype in empty.items()
        )
    )
    return instants.join(
        judged, on=["series", "timestamp"], how="left", maintain_order="left"
    ).select("series", "timestamp", pl.lit("*").alias("metric"), "anomaly_score", "is_anomaly")


def _run(
    wide: pl.DataFrame,
    metrics: list[str],
    done: int,
    rows: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[Floats, Flags]:
    """Advance servers that have the same metrics side by side, by the number of their row."""
    values = wide.select(metrics).fill_null(float("nan")).to_numpy()
    at = wide["timestamp"].dt.epoch("s").to_numpy()
    lengths = wide.group_by("series", maintain_order=True).len()["len"].to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    longest_first = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[longest_first], lengths[longest_first]
    score, alarm = np.zeros(len(at)), np.zeros(len(at), np.bool_)
    state = empty_state(len(lengths), len(metrics))
    for ordinal in range(int(lengths[0])):
        active = int(np.searchsorted(-lengths, -ordinal, side="left"))
        if active < len(state):
            state = state.take(slice(0, active))
        which = starts[:active] + ordinal
        state, verdicts = advance(state, at[which], values[which])
        score[which], alarm[which] = verdicts.score, verdicts.is_anomaly
        done += active * len(metrics)
        if on_progress is not None and (ordinal % 256 == 0):
            on_progress(done, rows)
    return score, alarm
