"""Judges a single metric by its own past, one row of every series at a time.

Belongs here: the default detector of single series. Pure: what it knows is in the state that it is
given. Several metrics of a server together are judged in `combined.py`.

How it works, with the figures, is in docs/analytics.md, "Detection: a single metric".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.anomaly import ratio
from resmon_assets.anomaly.state import SeriesState, Verdicts

STATE_VERSION = 2
"""Changes when stored states can not be read any more."""

HOUR = 3600
HOURS = 24
SLOT_SECONDS = 1200
SLOTS = 24 * HOUR // SLOT_SECONDS
"""The level is the median of one value per 20 minutes of the last day: 72 values have the median of
all 288 or 1,440 within a twentieth of the day's spread, at a quarter of the bytes."""

BLOCK_SECONDS = 6 * HOUR
BLOCKS = 56
"""Largest deviations are kept per quarter of a day, for 14 days: a job of every week is in them."""

VIEWS = 6
"""Up and down from the level, from the last hours, and from the course of the day."""

PEAKED = 4
"""Rows of an hour from which on its lowest and highest can be left out of its mean."""

OPPOSITE = (1, 0, 3, 2, 5, 4)
"""The view in the other direction, of each view."""

NEVER = np.iinfo(np.int64).min // 2
LARGEST = np.finfo(np.float32).max / 16
ENDLESS = 1e6
"""Deviation in alarm levels that stands for "any": where nothing has ever moved."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """What could be set otherwise; the same for every series and every width of step.

    All were chosen as round numbers in the middle of a flat stretch; docs/analytics.md has what
    happens around them.

    Attributes:
        learn_hours: observed hours before the first verdict.
        margin: an alarm begins at so many times the largest deviation remembered.
        season_margin: the same for what is outside the usual range of the hour, of which less is
            remembered: 24 ranges of 7 days instead of one level.
        opposite: no alarm below this share of the largest deviation in the opposite direction: what
            comes down after a spike is no drop.
        cap: within an alarm, deviations are learned up to so many alarm levels.
        recent_hours: time constant of the mean of the last hours.
        calm_ratio: below this share of the alarm level a row is calm; above 1 / margin, so that a
            series that touches its usual bounds every hour is.
        calm_hours: an episode ends after so many calm hours.
        adopt_hours: a new level that has lasted so long is the usual one.
        former_hours: so long, the level before it is still known, and going back is no alarm.
        floor: no alarm below this share of the level: what never moved may move a little.
        profile_days: days over which the usual course of a day is averaged.
        season_hours: time over which it is tried whether the course of the day predicts.
        known_days: days from which on an hour has a course, and deviations from it are remembered.
        judged_days: days from which on such deviations are judged: a weekend is among them.
        believed: weight of the course of the day from which on they are judged (`_season_weight`).
        again: within an episode, so many times the deviation told last is told again.
    """

    learn_hours: float = 48.0
    margin: float = 1.15
    season_margin: float = 1.3
    opposite: float = 0.2
    cap: float = 2.0
    recent_hours: float = 3.0
    calm_ratio: float = 0.9
    calm_hours: float = 1.0
    adopt_hours: float = 6.0
    former_hours: float = 72.0
    floor: float = 0.01
    profile_days: float = 7.0
    season_hours: float = 72.0
    known_days: int = 2
    judged_days: int = 7
    believed: float = 0.5
    again: float = 2.0


DEFAULT = Settings()


@dataclass(frozen=True)
class State(SeriesState):
    """What is remembered of each series; the first axis is the series, NaN is unknown.

    Attributes:
        clock: latest epoch seconds, int64.
        hours: hours observed; a gap counts as one at most.
        ring: one value per 20 minutes of the last observed day, float32[n, 72].
        place: column of `ring` that was written last.
        level: median of `ring`.
        former: level before the present one was adopted.
        former_age: hours since then.
        recent: mean of the last hours' residuals, exponentially weighted.
        hour_sum, hour_count, hour_low, hour_high: residuals of the hour that is under way.
        profile, profile_low, profile_high: usual mean, lowest and highest residual in each hour of
            the UTC day, float32[n, 24].
        profile_days: days in them, int16[n, 24].
        flat_error, season_error: mean squared error, float64[n, 3], of guessing the hours' means,
            highest and lowest residuals by their mean over the day, and by the course of the day.
        current: largest deviations of the block that is under way, float32[n, 6].
        past: those of the blocks before it, newest first, uint16[n, 6, 56]: the upper half of a
            float32 (`_halved`).
        is_open: whether an episode is open.
        open_hours: since when.
        calm_hours: since when it has been calm.
        told: deviation that was told last, in alarm levels.
    """

    kind: ClassVar[str] = "default"
    version: ClassVar[int] = STATE_VERSION

    clock: Integers
    hours: Singles
    ring: Singles
    place: npt.NDArray[np.int16]
    level: Singles
    former: Singles
    former_age: Singles
    recent: Singles
    hour_sum: Singles
    hour_count: Singles
    hour_low: Singles
    hour_high: Singles
    profile: Singles
    profile_low: Singles
    profile_high: Singles
    profile_days: npt.NDArray[np.int16]
    flat_error: Floats
    season_error: Floats
    current: Singles
    past: Halves
    is_open: Flags
    open_hours: Singles
    calm_hours: Singles
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
        place=np.zeros(n, np.int16),
        level=unknown(),
        former=unknown(),
        former_age=zeros(),
        recent=zeros(),
        hour_sum=zeros(),
        hour_count=zeros(),
        hour_low=zeros(),
        hour_high=zeros(),
        profile=zeros(HOURS),
        profile_low=zeros(HOURS),
        profile_high=zeros(HOURS),
        profile_days=np.zeros((n, HOURS), np.int16),
        flat_error=np.zeros((n, 3)),
        season_error=np.zeros((n, 3)),
        current=zeros(VIEWS),
        past=np.zeros((n, VIEWS, BLOCKS), np.uint16),
        is_open=np.zeros(n, np.bool_),
        open_hours=zeros(),
        calm_hours=zeros(),
        told=zeros(),
    )


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
    with np.errstate(invalid="ignore"):
        row = np.flatnonzero(np.abs(values) < LARGEST)
    out = Verdicts(
        score=np.zeros(n),
        is_anomaly=np.zeros(n, np.bool_),
        is_open=state.is_open.copy(),
        baseline=np.full(n, np.nan),
        lower=np.full(n, np.nan),
        upper=np.full(n, np.nan),
    )
    if not len(row):
        return state, out
    if 2 * len(row) > n:
        after = state.copied()
        lost = np.setdiff1d(np.arange(n), row, assume_unique=True)
        x = values.astype(np.float32) if not len(lost) else _filled(values, lost)
        _step(after, at, x, settings, into=(out, slice(None)))
        _undo(after, state, out, lost)
        return after, out
    part = state.take(row)
    _step(part, at[row], values[row].astype(np.float32), settings, into=(out, row))
    after = state.copied()
    after.put(row, part)
    return after, out


def _filled(values: Floats, lost: Integers) -> Singles:
    """Values with any number where none was measured; what comes of it is undone."""
    filled = values.copy()
    filled[lost] = 0
    return filled.astype(np.float32)


def _undo(after: State, before: State, out: Verdicts, lost: Integers) -> None:
    """Take back state and verdicts of what was not measured: cheaper than to pick the others."""
    if not len(lost):
        return
    after.put(lost, before.take(lost))
    out.score[lost] = 0
    out.is_anomaly[lost] = False
    out.is_open[lost] = before.is_open[lost]
    for known in (out.baseline, out.lower, out.upper):
        known[lost] = np.nan


@dataclass(frozen=True, slots=True)
class _Row:
    """One measured row of each series, and what it is compared with."""

    hours: Singles
    value: Singles
    residual: Singles
    usual: Singles
    deviations: Singles
    limits: Singles
    ratio: Singles


def _step(
    s: State, at: Integers, x: Singles, p: Settings, *, into: tuple[Verdicts, Integers | slice]
) -> None:
    """Judge measured rows with what `s` knows, then let `s` learn from them."""
    is_first = s.clock == NEVER
    before = np.where(is_first, at, s.clock)
    now = np.maximum(at, before)
    hours = (np.minimum(now - before, HOUR) / HOUR).astype(np.float32)
    _close_blocks(s, before, now)
    _close_hours(s, before, now, p)
    s.hours[:] += hours
    s.former_age[:] += hours
    s.level[:] = np.where(is_first, x, s.level)
    row = _compared(s, at, x, hours, p)
    begins, adopts = _episodes(s, row, p)
    _tell(s, at, row, begins, into=into, settings=p)
    _learn(s, row, p)
    _learn_level(s, np.where(is_first, before - SLOT_SECONDS, before), now, x)
    _adopt(s, adopts, p)
    s.clock[:] = now


def _compared(s: State, at: Integers, x: Singles, hours: Singles, p: Settings) -> _Row:
    """Set a row against the usual value at its time of day and against the last hours."""
    residual = x - s.level
    jump = residual - s.recent
    days = s.profile_days[np.arange(len(x)), (at // HOUR) % HOURS]
    above, below = _outside(s, at, residual)
    above, below = (np.where(days < p.known_days, np.float32(0), d) for d in (above, below))
    deviations = np.stack([residual, -residual, jump, -jump, above, below], axis=1)
    limits = _limits(s, p)
    shares = _share(deviations, limits)
    weights = _season_weights(s)
    shares[:, 4:][(weights[:, 1:] < p.believed) | (days < p.judged_days)[:, None]] = 0
    ratio = shares.max(axis=1)
    known = s.hours >= p.learn_hours
    return _Row(
        hours=hours,
        value=x,
        residual=residual,
        usual=weights[:, 0] * _interpolated(s.profile, at),
        deviations=deviations,
        limits=limits,
        ratio=np.where(known, ratio, np.float32(0)),
    )


def _limits(s: State, p: Settings) -> Singles:
    """Where an alarm begins in each view: beyond the largest deviation of the last 14 days."""
    seen = _unhalved(s.past.max(axis=2))
    seen = np.maximum(seen, p.opposite * seen[:, OPPOSITE])
    margins = np.repeat(np.array([p.margin, p.margin, p.season_margin], np.float32), 2)
    limits: Singles = np.maximum(margins * seen, p.floor * np.abs(s.level)[:, None])
    return limits.astype(np.float32)


def _share(deviation: Singles, limit: Singles) -> Singles:
    """Deviation in alarm levels, 0 to ENDLESS; where the level is 0, any deviation is endless."""
    limit = np.maximum(limit, np.float32(1e-30))
    with np.errstate(over="ignore"):
        share: Singles = np.clip(deviation / limit, 0, ENDLESS).astype(np.float32)
    return share


def _season_weights(s: State) -> Singles:
    """How far the course of the day is believed, of the hours' means, highest and lowest values.

    0 where it does not predict them, 1 where it halves the root of the mean squared error.
    """
    known = s.flat_error > 0
    rest = np.sqrt(s.season_error / np.where(known, s.flat_error, 1))
    weights: Singles = np.where(known, np.clip(2 * (1 - rest), 0, 1), 0).astype(np.float32)
    return weights


def _outside(s: State, at: Integers, residual: Singles) -> tuple[Singles, Singles]:
    """How far a row is above and below what is usual in its hour and the hours beside it."""
    index, hour = np.arange(len(at))[:, None], (at // HOUR)[:, None]
    hours = (hour + np.array([-1, 0, 1])) % HOURS
    above: Singles = residual - s.profile_high[index, hours].max(axis=1)
    below: Singles = s.profile_low[index, hours].min(axis=1) - residual
    return above, below


def _interpolated(profile: Singles, at: Integers) -> Singles:
    """Course of the day between the middles of its hours."""
    position = (at % (HOURS * HOUR)) / HOUR - 0.5
    hour = np.floor(position).astype(np.int64)
    part = (position - hour).astype(np.float32)
    index = np.arange(len(at))
    early, late = profile[index, hour % HOURS], profile[index, (hour + 1) % HOURS]
    between: Singles = early + part * (late - early)
    return between


def _episodes(s: State, row: _Row, p: Settings) -> tuple[Flags, Integers]:
    """Open, tell and end episodes; the rows that are told, and who adopts its new level."""
    high = row.ratio > 1
    returns = high & _is_former(s, row, p)
    _go_back(s, np.flatnonzero(returns), p)
    high &= ~returns
    begins = high & (~s.is_open | (row.ratio > p.again * s.told))
    s.told[:] = np.where(begins, row.ratio, s.told)
    s.calm_hours[:] = np.where(row.ratio < p.calm_ratio, s.calm_hours + row.hours, 0)
    s.open_hours[:] = np.where(s.is_open, s.open_hours + row.hours, 0)
    ends = s.is_open & (returns | (~high & (s.calm_hours >= p.calm_hours)))
    adopts = s.is_open & ~ends & (s.open_hours >= p.adopt_hours)
    s.is_open[:] = (s.is_open & ~ends) | begins
    return begins, np.flatnonzero(adopts)


def _is_former(s: State, row: _Row, p: Settings) -> Flags:
    """Whether a row lies where the series was before it adopted its present level."""
    away = row.value - s.former
    known = np.isfinite(s.former) & (s.former_age < p.former_hours)
    deviations = np.stack([away, -away], axis=1)
    near: Flags = known & (_share(deviations, row.limits[:, :2]).max(axis=1) <= 1)
    return near


def _go_back(s: State, who: Integers, p: Settings) -> None:
    """Take the former level as the present one."""
    if len(who):
        former = s.former[who]
        _restart(s, who, np.where(_newest(s, who, p), former[:, None], np.float32(np.nan)))
        s.former[who] = np.nan


def _newest(s: State, who: Integers, p: Settings) -> Flags:
    """Columns of the ring that hold the last `adopt_hours`."""
    age = (s.place[who][:, None].astype(np.int64) - np.arange(SLOTS)) % SLOTS
    newest: Flags = age < int(p.adopt_hours * HOUR / SLOT_SECONDS)
    return newest


def _restart(s: State, who: Integers, ring: Singles) -> None:
    """Begin anew at the level of `ring`."""
    s.ring[who] = ring
    s.level[who] = _median(ring)
    s.recent[who] = 0


def _adopt(s: State, who: Integers, p: Settings) -> None:
    """Take the median of the last hours as the level, where it has really moved there."""
    if not len(who):
        return
    ring = np.where(_newest(s, who, p), s.ring[who], np.float32(np.nan))
    level, before = _median(ring), s.level[who]
    limits = _limits(s.take(who), p)[:, :2]
    moved = np.stack([level - before, before - level], axis=1) > p.calm_ratio * limits
    is_moved = moved.any(axis=1)
    who, ring, before = who[is_moved], ring[is_moved], before[is_moved]
    _restart(s, who, ring)
    s.former[who] = before
    s.former_age[who] = 0
    s.is_open[who] = False
    s.calm_hours[who] = 0


def _tell(
    s: State,
    at: Integers,
    row: _Row,
    begins: Flags,
    *,
    into: tuple[Verdicts, Integers | slice],
    settings: Settings,
) -> None:
    """Write the verdicts of measured rows to their places."""
    out, where = into
    index, hour = np.arange(len(at)), (at // HOUR) % HOURS
    known = s.hours >= settings.learn_hours
    level = row.value - row.residual
    baseline = np.where(known, level + row.usual, np.nan)
    ranged = known & (s.profile_days[index, hour] > 0)
    lower = np.where(ranged, level + s.profile_low[index, hour], np.nan)
    upper = np.where(ranged, level + s.profile_high[index, hour], np.nan)
    ratio = row.ratio.astype(np.float64)
    out.score[where] = ratio / (1 + ratio)
    out.is_anomaly[where] = begins
    out.is_open[where] = s.is_open
    out.baseline[where] = baseline
    out.lower[where] = np.minimum(lower, baseline)
    out.upper[where] = np.maximum(upper, baseline)


def _learn(s: State, row: _Row, p: Settings) -> None:
    """Take a row into the block, the hour and the mean of the last hours."""
    known = (s.hours >= p.learn_hours)[:, None] & (row.limits > 0)
    most = np.where(known, p.cap * row.limits, np.float32(np.inf))
    s.current[:] = np.maximum(s.current, np.minimum(row.deviations, most))
    up, down = most[:, 0], most[:, 1]
    residual = np.clip(row.residual, -down, up)
    is_new = s.hour_count == 0
    s.hour_low[:] = np.where(is_new, residual, np.minimum(s.hour_low, residual))
    s.hour_high[:] = np.where(is_new, residual, np.maximum(s.hour_high, residual))
    s.hour_sum[:] += residual
    s.hour_count[:] += 1
    jump = np.clip(row.deviations[:, 2], -most[:, 3], most[:, 2])
    weight = 1 - np.exp(-np.maximum(row.hours, np.float32(1 / 60)) / p.recent_hours)
    s.recent[:] += weight.astype(np.float32) * jump


def _close_blocks(s: State, before: Integers, now: Integers) -> None:
    """Move the largest deviations of finished blocks to the past."""
    who = np.flatnonzero(now // BLOCK_SECONDS != before // BLOCK_SECONDS)
    if len(who):
        latest = _halved(s.current[who])
        s.past[who] = np.concatenate([latest[:, :, None], s.past[who, :, :-1]], axis=2)
        s.current[who] = 0


def _halved(numbers: Singles) -> Halves:
    """Upper halves of numbers of 0 or more, to 8 bits; they order as the numbers do."""
    # Minus zero would be the largest of all.
    bits = np.ascontiguousarray(np.abs(numbers), np.float32).view(np.uint32)
    halves: Halves = ((bits + np.uint32(0x8000)) >> 16).astype(np.uint16)
    return halves


def _unhalved(halves: Halves) -> Singles:
    """The numbers that `_halved` has stored."""
    numbers: Singles = (halves.astype(np.uint32) << 16).view(np.float32)
    return numbers


def _close_hours(s: State, before: Integers, now: Integers, p: Settings) -> None:
    """Take finished hours into the course of the day, after it was tried on them."""
    who = np.flatnonzero((now // HOUR != before // HOUR) & (s.hour_count > 0))
    if not len(who):
        return
    hour = (before[who] // HOUR) % HOURS
    mean = _trimmed(s.hour_sum[who], s.hour_count[who], s.hour_low[who], s.hour_high[who])
    days = s.profile_days[who, hour] + 1
    tried = days > 1
    weight = np.where(tried, 1 / p.season_hours, 0)
    share = np.maximum(1 / days, 1 / p.profile_days).astype(np.float32)
    values = (mean, s.hour_high[who], s.hour_low[who])
    for number, profile in enumerate((s.profile, s.profile_high, s.profile_low)):
        value, usual = values[number].astype(np.float64), profile[who]
        flat = (value - usual.mean(axis=1)) ** 2
        season = (value - profile[who, hour]) ** 2
        s.flat_error[who, number] += weight * (flat - s.flat_error[who, number])
        s.season_error[who, number] += weight * (season - s.season_error[who, number])
        profile[who, hour] += share * (values[number] - profile[who, hour])
    s.profile_days[who, hour] = np.minimum(days, 10_000)
    s.hour_sum[who] = 0
    s.hour_count[who] = 0


def _trimmed(total: Singles, count: Singles, low: Singles, high: Singles) -> Singles:
    """Mean without the lowest and the highest of four or more: one spike is no course of a day."""
    inner = count >= PEAKED
    total = np.where(inner, total - low - high, total)
    mean: Singles = (total / np.where(inner, count - 2, count)).astype(np.float32)
    return mean


def _learn_level(s: State, before: Integers, now: Integers, x: Singles) -> None:
    """Keep the first value of each 20 minutes of the last day, and the median of them."""
    steps = now // SLOT_SECONDS - before // SLOT_SECONDS
    who = np.flatnonzero(steps > 0)
    if not len(who):
        return
    # A gap of more than three hours is left out, so that the day before it is still the level.
    steps = np.where(steps[who] > SLOTS // 8, 1, steps[who])
    ring, place = s.ring[who], s.place[who].astype(np.int64)
    for k in range(1, int(steps.max())):
        skipped = np.flatnonzero(steps > k)
        ring[skipped, (place[skipped] + k) % SLOTS] = np.nan
    place = (place + steps) % SLOTS
    ring[np.arange(len(who)), place] = x[who]
    s.ring[who] = ring
    s.place[who] = place
    s.level[who] = _median(ring)


def _median(ring: Singles) -> Singles:
    """Median of each row's known values; at least one is known."""
    ordered = np.sort(ring, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    index = np.arange(len(ring))
    middle = ordered[index, (count - 1) // 2], ordered[index, count // 2]
    median: Singles = ((middle[0] + middle[1]) / 2).astype(np.float32)
    return median


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
