"""Judges several metrics of a server together by their own past, one row of every server at a time.

Belongs here: the default detector of servers. Pure: what it knows is in the state that it is given.
Single metrics are judged in `detector.py`.

How it works, with the figures, is in docs/analytics.md, "Detection: a server".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.anomaly.state import SeriesState

STATE_VERSION = 1
"""Changes when stored states can not be read any more."""

HOUR_SECONDS = 3600
HOURS = 24
NEVER = np.iinfo(np.int64).min // 2
LARGEST = float(np.finfo(np.float32).max)
TINY = 1e-9
LEVEL_BINS = 80
"""Bins of the combined value's past, from 1/4 to 256; what is lower is in the first."""
BINS_PER_DOUBLING = 8
LOWEST_LEVEL = 0.25

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the detector can be told: the same for every server, metric and step width.

    Attributes:
        memory_days: how fast usual levels, spreads and the past of a server are forgotten.
        flat_hours: the level of one hour of the day counts as much as the level of all hours once
            it rests on so many hours; more is trusted by the square.
        least_change: smallest spread as a share of the level: so little is never news.
        begin: surprise is what log(1 + distance) has above this; 1.5 is 3.5 standard deviations.
        cap: log(1 + distance) counts up to this; 5 is about 150 standard deviations.
        jump: weight of the surprise at a jump between two rows. What the hour of the day explains
            is no jump.
        border_minutes: so near to the next or the last hour, what that one is used to is usual too.
        smooth_minutes: time constant of the mean in which surprise has to last.
        rare: share of its own past in which a server may be above its alarm level.
        alarm_per_metric: lowest alarm level of the combined value, per metric of the server ...
        alarm_most: ... up to this, and not below `LOWEST_LEVEL`.
        together: what all metrics but the loudest have to bring.
        learn_hours: no alarm while less than this is known.
        back: an episode ends below this share of the alarm level, held for `back_hours`.
        back_hours: see `back`.
        worse: an episode is told again only above this multiple of what was told ...
        again_hours: ... and not before this time.
    """

    memory_days: float = 14.0
    flat_hours: float = 2.0
    least_change: float = 1e-3
    begin: float = 1.5
    cap: float = 5.0
    jump: float = 0.5
    border_minutes: float = 15.0
    smooth_minutes: float = 20.0
    rare: float = 0.02
    alarm_per_metric: float = 0.05
    alarm_most: float = 1.0
    together: float = 0.1
    learn_hours: float = 24.0
    back: float = 0.5
    back_hours: float = 0.5
    worse: float = 2.0
    again_hours: float = 1.0


DEFAULT = Settings()
LONGEST_STEP_HOURS = 1.0
"""A row stands for at most this: a gap is neither remembered nor forgotten."""
FIRST_STEP_HOURS = 1 / 12
FIRST_HOURS = 1.0
"""A metric says nothing before this much of it is known."""
CLIP = 4.0
"""A row moves the level of an hour by at most so many standard deviations."""
GLITCH = 40.0
"""A row counts as at most so many standard deviations in what is learned, so that one reading of
a broken counter does not make the server deaf for weeks."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the detector says about one row of each server.

    Attributes:
        score: 0 (usual) to 1; 0 where there is no verdict. Above 0.5 where an alarm may begin.
        is_anomaly: whether this row would wake somebody: once per episode, and again if it gets
            twice as bad.
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
    last: Floats
    last_off: Floats
    residual: Floats
    change: Floats
    hours: Singles
    hour_level: Floats
    hour_hours: Singles
    surprise: Singles
    past: Singles
    past_hours: Singles
    is_open: Flags
    calm_hours: Singles
    told: Singles
    told_hours: Singles


def empty_state(server_count: int, metric_count: int) -> State:
    """Begin with servers of which nothing is known."""
    n, m = server_count, metric_count

    def zeros(*shape: int) -> Singles:
        return np.zeros((n, *shape), np.float32)

    return State(
        clock=np.full(n, NEVER),
        level=np.zeros((n, m)),
        last=np.full((n, m), np.nan),
        last_off=np.full((n, m), np.nan),
        residual=np.zeros((n, m)),
        change=np.zeros((n, m)),
        hours=zeros(m),
        hour_level=np.zeros((n, HOURS, m)),
        hour_hours=zeros(HOURS, m),
        surprise=zeros(m),
        past=zeros(LEVEL_BINS),
        past_hours=zeros(),
        is_open=np.zeros(n, np.bool_),
        calm_hours=zeros(),
        told=zeros(),
        told_hours=zeros(),
    )


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
    new = state.copied()
    return new, _advance_own(new, at, values, settings)


def _advance_own(s: State, at: Integers, values: Floats, p: Settings) -> Verdicts:
    """The same in a state that belongs to the caller and is changed."""
    n, m = values.shape
    with np.errstate(invalid="ignore"):
        measured = np.abs(values) < LARGEST
    row = np.flatnonzero(measured.any(axis=1))
    verdicts = Verdicts(
        score=np.zeros(n),
        is_anomaly=np.zeros(n, np.bool_),
        is_open=s.is_open.copy(),
        contributions=np.zeros((n, m)),
    )
    if len(row) == n:
        _judge_and_learn(s, at, np.where(measured, values, 0.0), measured, verdicts, row, p)
    elif len(row):
        some = s.take(row)
        known = measured[row]
        x = np.where(known, values[row], 0.0)
        _judge_and_learn(some, at[row], x, known, verdicts, row, p)
        s.put(row, some)
    return verdicts


def _judge_and_learn(  # noqa: PLR0917
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
    metrics = (s.hours > 0).sum(axis=1)
    lowest = np.clip(p.alarm_per_metric * metrics, LOWEST_LEVEL, p.alarm_most)
    level = np.maximum(_own_level(s, p), lowest)
    is_high = (combined > level) & ((rest > p.together) | (metrics == 1))
    is_high &= s.past_hours >= p.learn_hours

    was_open = s.is_open.copy()
    s.calm_hours[:] = np.where(combined < p.back * level, s.calm_hours + step, 0)
    s.is_open[:] = is_high | (was_open & (s.calm_hours < p.back_hours))
    s.told_hours[:] += step.astype(np.float32)
    is_worse = (combined > p.worse * s.told) & (s.told_hours >= p.again_hours)
    tells = is_high & (~was_open | is_worse)
    s.told[tells] = combined[tells]
    s.told_hours[tells] = 0
    _remember(s, combined, step, p)

    out.score[row] = combined / (combined + lowest)
    out.is_anomaly[row] = tells
    out.is_open[row] = s.is_open
    out.contributions[row] = contributions


def _surprise_and_learn(  # noqa: PLR0917
    s: State, at: Integers, x: Floats, known: Flags, step: Floats, p: Settings
) -> Floats:
    """How surprising each metric is, 0 or more; learns levels and spreads."""
    who = np.arange(len(at))
    hour = (at // HOUR_SECONDS) % HOURS
    weight = np.where(known, step[:, None], 0.0)
    hours = s.hours.astype(np.float64)
    level = np.where(hours > 0, s.level, x)
    hour_hours = s.hour_hours[who, hour].astype(np.float64)
    hour_level = np.where(hour_hours > 0, s.hour_level[who, hour], x)

    trust = hour_hours**2 / (hour_hours**2 + p.flat_hours**2)
    usual = trust * hour_level + (1 - trust) * level
    near = _hour_nearby(at, p)
    near_hours = s.hour_hours[who, near].astype(np.float64)
    near_trust = near_hours**2 / (near_hours**2 + p.flat_hours**2)
    beside = near_trust * s.hour_level[who, near] + (1 - near_trust) * level
    least = p.least_change * np.abs(level) + TINY
    # A job that begins or ends some minutes off its hour lies between what two hours are used to.
    between = np.clip(x, np.minimum(usual, beside), np.maximum(usual, beside))
    off = np.where(known, x - between, 0.0)
    jump = np.minimum(np.abs(x - s.last), np.abs(off - s.last_off))
    jump = np.where(known & np.isfinite(jump), jump, 0.0)
    spread = np.maximum(np.sqrt(s.residual), least)
    change = np.maximum(np.sqrt(s.change), least)
    surprise = _above(np.abs(off) / spread, p) + p.jump * _above(jump / change, p)
    surprise = np.where(hours > FIRST_HOURS, surprise, 0.0)

    gain = weight / np.maximum(np.minimum(hours + weight, HOURS * p.memory_days), TINY)
    off_level = np.clip(np.where(known, x - level, 0.0), -GLITCH * spread, GLITCH * spread)
    s.level[:] = level + gain * off_level
    recent = np.maximum(np.minimum(hours / 2 + weight, HOURS * p.memory_days), TINY)
    s.last[:] = np.where(known, x, s.last)
    s.last_off[:] = np.where(known, off, s.last_off)
    # Learned against the own hour, as if there were no border: a narrower spread told more and
    # worse on SMD (0.536 instead of 0.552).
    off = np.minimum(np.abs(np.where(known, x - usual, 0.0)), GLITCH * spread)
    jump = np.minimum(jump, GLITCH * change)
    s.residual[:] += weight / recent * (off**2 - s.residual)
    s.change[:] += weight / recent * (jump**2 - s.change)
    s.hours[:] = np.minimum(hours + weight, HOURS * p.memory_days)
    gain = weight / np.maximum(np.minimum(hour_hours + weight, p.memory_days), TINY)
    off_hour = np.clip(np.where(known, x - hour_level, 0.0), -CLIP * spread, CLIP * spread)
    s.hour_level[who, hour] = hour_level + gain * off_hour
    s.hour_hours[who, hour] = np.minimum(hour_hours + weight, p.memory_days)
    return surprise


def _hour_nearby(at: Integers, p: Settings) -> Integers:
    """The hour of the day that is within `border_minutes`; the row's own in the middle of it."""
    reach = int(60 * p.border_minutes)
    within = at % HOUR_SECONDS
    shift = np.where(within < reach, -1, np.where(within >= HOUR_SECONDS - reach, 1, 0))
    nearby: Integers = (at // HOUR_SECONDS + shift) % HOURS
    return nearby


def _above(distance: Floats, p: Settings) -> Floats:
    """What the logarithm of a distance in standard deviations has above `begin`."""
    above: Floats = np.clip(np.log1p(distance), p.begin, p.cap) - p.begin
    return above


def _own_level(s: State, p: Settings) -> Floats:
    """The combined value that the server's own past exceeded in `rare` of its time."""
    tail = np.cumsum(s.past[:, ::-1], axis=1, dtype=np.float64)[:, ::-1]
    allowed = p.rare * tail[:, 0]
    highest = np.maximum((tail > allowed[:, None]).sum(axis=1) - 1, 0)
    who = np.arange(len(tail))
    here = tail[who, highest]
    above = here - s.past[who, highest]
    inside = (here - allowed) / np.maximum(here - above, TINY)
    level: Floats = LOWEST_LEVEL * 2.0 ** ((highest + np.clip(inside, 0, 1)) / BINS_PER_DOUBLING)
    return level


def _remember(s: State, combined: Floats, step: Floats, p: Settings) -> None:
    """Add the combined value to the server's past."""
    place = BINS_PER_DOUBLING * np.log2(np.maximum(combined / LOWEST_LEVEL, 1.0))
    place = np.minimum(place, LEVEL_BINS - 1).astype(np.int64)
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
        verdicts = _advance_own(state, at[which], values[which], DEFAULT)
        score[which], alarm[which] = verdicts.score, verdicts.is_anomaly
        done += active * len(metrics)
        if on_progress is not None and (ordinal % 256 == 0):
            on_progress(done, rows)
    return score, alarm
