"""Slow degradation: a level or a spread that creeps up over days.

Belongs here: when a drift begins, goes on and ends, and what is said of it. Pure: no database, no
Dagster, no clock.

A UTC day D is judged from the days up to D and from the drifts that were open before it; nothing
else is known. So a day judged again gives the same, and days are judged in their order.

A drift begins when, in the last 10 to 28 days, weekday effects taken out,

* the values rise more often than chance lets them (Mann-Kendall),
* by more than is worth a word (`Rule`), and by more than this series wanders in ten quiet weeks,
* and a level that bends upwards fits better than one that jumps: a step is the detector's.

It ends when the level falls back (a restart), or when it has stopped rising.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resmon_assets.anomaly.daily import (
    DAY,
    WEEK,
    Days,
    Matrix,
    mann_kendall,
    theil_sen,
    without_week,
)

Kind = Literal["level_drift", "spread_drift"]

HISTORY_DAYS = 70
"""Days that a judgement reads: four weeks to judge and six to know how the series wanders."""

SPANS = (10, 14, 21, 28)
"""Lengths of the stretches, ending on the judged day, that are tested for a rise."""

SIGNIFICANCE = 1e-3
"""Highest p-value of a rise that counts. Chosen on seeded stationary series, see docs/analytics.md:
four stretches are tested on each of the days, so chance alone must be rarer than 5 %."""

MINIMUM_DAYS = 14
"""Measured days that a series needs before anything is said of it."""

WANDER_FACTOR = 3.0
"""A rise must be this many times what the series wanders by itself in as many days."""

STEP_RATIO = 0.8
"""A bend must leave at most this share of the squares that the best step leaves."""


MINIMUM_DRIFT_DAYS = 5
"""A rise that took fewer days is a step, or not yet to be told from one."""

FALLEN_BACK = 0.7
"""A level that has lost this share of its rise has fallen back."""

LEVEL_DAYS = 3
"""The level of a day is the median of this many measured days, so that one odd day ends nothing."""

LEVELLED_DAYS = 14
LEVELLED_SHARE = 0.25
"""A rise that went on in its last two weeks at less than a quarter of its mean pace has stopped; of
seeded leaks with noise, ten days ended one in ten too early, two weeks none of 300."""

_MINIMUM_MEASURED = 0.7
"""Share of the days of a stretch that must be measured."""

_MINIMUM_WANDERS = 7
"""Differences over a week that say how a series wanders; with fewer the fit's own residue must."""

_SCALE_OF_MAD = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is watched, and how large a rise is worth a word.

    Attributes:
        metric: name of the metric.
        kind: of the drift.
        least: smallest rise, in the unit of the metric.
        least_share: smallest rise as a share of the baseline; both must be exceeded.
        unit: `percent` or `bytes`, for words.
        subject: the quantity in words.
    """

    metric: str
    kind: Kind
    least: float
    least_share: float
    unit: str
    subject: str


MEBIBYTE = 2.0**20

RULES = (
    Rule("cpu_pct", "level_drift", 5.0, 0.15, "percent", "CPU"),
    Rule("memory_used_bytes", "level_drift", 64 * MEBIBYTE, 0.10, "bytes", "Memory"),
    Rule("cpu_pct", "spread_drift", 10.0, 0.5, "percent", "CPU peaks"),
    Rule("memory_used_bytes", "spread_drift", 256 * MEBIBYTE, 0.5, "bytes", "Memory peaks"),
)
"""A level is the median of a day, a spread its distance to the 99th percentile: how far the busiest
quarter of an hour stands out. Disk is left out on purpose: a disk that fills is what the forecast
tells, with a date; network too, because more traffic is not a degradation of the server."""

COLUMNS = tuple(f"{rule.metric}_{q}" for rule in RULES[:2] for q in ("p50", "p99"))
"""Columns of the daily tier that are read."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One episode as a day knows it.

    Attributes:
        server_id: whose.
        organization_id: owner of the server when it began.
        metric: of the rule.
        kind: of the rule.
        started_at: first day of the rise, as found on the day that noticed it.
        ended_at: day on which it had fallen back or levelled off; None while it goes on.
        peak_at: day of the highest level so far.
        peak_value: that level, in the unit of the metric (of a spread: the distance).
        baseline: level before the rise.
        noise: what the rise was measured against, the larger of its least size and the wander.
        end_reason: `fell_back`, `levelled_off` or `not_measured`; None while it goes on.
    """

    server_id: int
    organization_id: int
    metric: str
    kind: Kind
    started_at: datetime
    ended_at: datetime | None
    peak_at: datetime
    peak_value: float
    baseline: float
    noise: float
    end_reason: str | None = None

    @property
    def rise(self) -> float:
        """From the baseline to the peak, in the unit of the metric."""
        return self.peak_value - self.baseline

    @property
    def change_percent(self) -> float | None:
        """The rise in percent of the baseline; None when that is 0."""
        return 100 * self.rise / self.baseline if self.baseline else None

    @property
    def score(self) -> float:
        """How far beyond what had to be exceeded, 0.5 (just so) to 1."""
        return self.rise / (self.rise + self.noise) if self.noise > 0 else 1.0


@dataclass(frozen=True, slots=True)
class _Bend:
    """A rise found in one series: days are counted from the first of the history."""

    onset: int
    baseline: float
    rise: float
    noise: float


def judge_day(days: Days, known: Sequence[Drift]) -> list[Drift]:
    """Judge the last of `days`.

    Args:
        days: `HISTORY_DAYS` days (or fewer) up to the one that is judged, with `COLUMNS`.
        known: newest form, before that day, of the drifts that are open or ended within the
            history, of any order.

    Returns:
        The drifts that are open on the day, and those that ended on it, by server, metric and kind.
    """
    day = days.first + (days.day_count - 1) * DAY
    found: list[Drift] = []
    rising: set[tuple[int, str]] = set()
    for rule in RULES:
        values = series_of(days, rule)
        adjusted, _ = without_week(values)
        drifts = _judge_rule(rule, days, adjusted, known, day=day)
        if rule.kind == "level_drift":
            rising |= {(d.server_id, d.metric) for d in drifts if d.ended_at is None}
        else:
            # Peaks that rise with their level are told once, as the level.
            before = {_key(d) for d in known}
            drifts = [
                d for d in drifts if (d.server_id, d.metric) not in rising or _key(d) in before
            ]
        found += drifts
    return sorted(found, key=lambda d: (d.server_id, d.metric, d.kind, d.started_at))


def series_of(days: Days, rule: Rule) -> Matrix:
    """Daily values that a rule watches, servers x days."""
    middle = days.values[f"{rule.metric}_p50"]
    if rule.kind == "level_drift":
        return middle
    return np.maximum(days.values[f"{rule.metric}_p99"] - middle, 0.0)


def _key(drift: Drift) -> tuple[int, str, str, datetime]:
    """What makes two forms the same episode."""
    return (drift.server_id, drift.metric, drift.kind, drift.started_at)


def _judge_rule(
    rule: Rule, days: Days, adjusted: Matrix, known: Sequence[Drift], *, day: datetime
) -> list[Drift]:
    """Drifts of one rule on the last day."""
    row_of = {int(server): row for row, server in enumerate(days.server_ids)}
    mine = [d for d in known if d.metric == rule.metric and d.kind == rule.kind]
    drifts = []
    for drift in (d for d in mine if d.ended_at is None):
        row = row_of.get(drift.server_id)
        values = np.full(days.day_count, np.nan) if row is None else adjusted[row]
        drifts.append(_go_on(drift, values, days.first, day=day))
    is_free = np.ones(len(row_of), dtype=bool)
    fresh = adjusted.copy()
    for drift in mine:
        row = row_of.get(drift.server_id)
        if row is None:
            continue
        if drift.ended_at is None:
            is_free[row] = False
        else:
            # What an ended drift was made of begins no second one.
            fresh[row, : max(0, (drift.ended_at - days.first) // DAY)] = np.nan
    for row in np.flatnonzero(is_free & is_rising(fresh)).tolist():
        bend = find_bend(fresh[row], rule)
        if bend is None:
            continue
        drifts.append(
            Drift(
                server_id=int(days.server_ids[row]),
                organization_id=int(days.organization_ids[row]),
                metric=rule.metric,
                kind=rule.kind,
                started_at=days.first + bend.onset * DAY,
                ended_at=None,
                peak_at=day,
                peak_value=bend.baseline + bend.rise,
                baseline=bend.baseline,
                noise=bend.noise,
            )
        )
    return drifts


def is_rising(values: Matrix) -> NDArray[np.bool_]:
    """Whether each series rises significantly in one of the stretches that end on the last day.

    Needs the last day, `MINIMUM_DAYS` in all, and most days of the stretch.
    """
    is_known = np.isfinite(values)
    able = is_known[:, -1] & (is_known.sum(axis=1) >= MINIMUM_DAYS)
    result = np.zeros(values.shape[0], dtype=bool)
    for span in SPANS:
        rows = np.flatnonzero(
            able & ~result & (is_known[:, -span:].mean(axis=1) >= _MINIMUM_MEASURED)
        )
        if values.shape[1] < span or not rows.size:
            continue
        stretch = values[rows, -span:]
        # Rising in its two ends too: cheap, and spares most pairs.
        third = span // 3
        low, high = _mean(stretch[:, :third]), _mean(stretch[:, -third:])
        rows, stretch = rows[high > low], stretch[high > low]
        p = mann_kendall(stretch)
        result[rows] = (p <= SIGNIFICANCE) & (theil_sen(stretch) > 0)
    return result


def find_bend(values: NDArray[np.float64], rule: Rule) -> _Bend | None:
    """The rise that ends on the last day, if it is one and is large enough.

    Args:
        values: one series without its days of the week, NaN where not measured.
        rule: what is worth a word.
    """
    begin = max(0, values.size - SPANS[-1] - 2 * WEEK)
    recent = values[begin:]
    day = np.flatnonzero(np.isfinite(recent))
    y = recent[day]
    best, step = np.inf, _best_step(y)
    onset, baseline, slope = 0, 0.0, 0.0
    last = recent.size - 1
    for start in range(max(0, last - SPANS[-1]), last - MINIMUM_DRIFT_DAYS + 1):
        ramp = np.maximum(day - start, 0).astype(float)
        level, pace, squares = _line(ramp, y)
        if squares < best:
            best, onset, baseline, slope = squares, start, level, pace
    rise = slope * (last - onset)
    if slope <= 0 or baseline < 0 or best > STEP_RATIO * step:
        return None
    residue = float(np.sqrt(best / max(1, y.size - 3)))
    wander = _wander(values[: begin + onset], span=last - onset)
    noise = max(
        rule.least,
        rule.least_share * baseline,
        WANDER_FACTOR * (residue if wander is None else max(wander, residue)),
    )
    return _Bend(begin + onset, baseline, rise, noise) if rise >= noise else None


def _best_step(y: NDArray[np.float64]) -> float:
    """Sum of squares that the best single step leaves."""
    n = y.size
    total, squares = np.cumsum(y), np.cumsum(y**2)
    left = np.arange(1, n)
    before = squares[:-1] - total[:-1] ** 2 / left
    after = (squares[-1] - squares[:-1]) - (total[-1] - total[:-1]) ** 2 / (n - left)
    return float(max((before + after).min(), 0.0))


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Level at x = 0, slope and sum of squares of the least-squares line."""
    mean_x, mean_y = x.mean(), y.mean()
    centred = x - mean_x
    width = float(centred @ centred)
    slope = float(centred @ (y - mean_y)) / width if width > 0 else 0.0
    rest = y - mean_y - slope * centred
    return float(mean_y - slope * mean_x), slope, float(rest @ rest)


def _wander(quiet: NDArray[np.float64], *, span: int) -> float | None:
    """Typical change by itself over `span` days; None when too few days are known.

    From changes over one week and over two: noise around a level does not grow with time, a walk
    grows with its root, and what lies between is taken from the two.
    """
    week = _spread(quiet[WEEK:] - quiet[:-WEEK])
    if week is None:
        return None
    weeks = _spread(quiet[2 * WEEK :] - quiet[: -2 * WEEK])
    growth = 0.5 if weeks is None or week == 0 else float(np.log2(max(weeks / week, 1.0)))
    return float(week * max(1.0, span / WEEK) ** min(growth, 0.5))


def _spread(steps: NDArray[np.float64]) -> float | None:
    """Standard deviation from the median absolute deviation; None with too few steps.

    Around the median, so that a rise that lasts long does not count as its own noise.
    """
    known = steps[np.isfinite(steps)]
    if known.size < _MINIMUM_WANDERS:
        return None
    return _SCALE_OF_MAD * float(np.median(np.abs(known - np.median(known))))


def _go_on(drift: Drift, values: NDArray[np.float64], first: datetime, *, day: datetime) -> Drift:
    """An open drift on the next day: higher, the same, or over.

    A day without values changes nothing; after a week of them nobody knows whether it goes on.
    """
    if not np.isfinite(values[-WEEK:]).any():
        return replace(drift, ended_at=day, end_reason="not_measured")
    if not np.isfinite(values[-1]):
        return drift
    level = _level(values)
    if level <= drift.baseline + (1 - FALLEN_BACK) * drift.rise:
        return replace(drift, ended_at=day, end_reason="fell_back")
    if level > drift.peak_value:
        drift = replace(drift, peak_at=day, peak_value=level)
    recent = values[-LEVELLED_DAYS:][None, :]
    length = max(1, (drift.peak_at - drift.started_at) // DAY)
    pace = drift.rise / length
    # Until it has lasted that long, its rise is what opened it.
    is_old = (day - drift.started_at) // DAY >= LEVELLED_DAYS + MINIMUM_DRIFT_DAYS
    if is_old and float(theil_sen(recent)[0]) < LEVELLED_SHARE * pace:
        return replace(drift, ended_at=day, end_reason="levelled_off")
    return drift


def _level(values: NDArray[np.float64]) -> float:
    """Median of the last measured days of a week."""
    recent = values[-WEEK:]
    return float(np.median(recent[np.isfinite(recent)][-LEVEL_DAYS:]))


def _mean(values: Matrix) -> NDArray[np.float64]:
    """Mean of the measured values of each row; NaN without any."""
    count = np.isfinite(values).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)
