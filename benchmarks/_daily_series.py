"""Seeded daily series of a fleet, and what the judge of drifts says of them day by day.

Level, days of the week, noise that is not white, a leak. Used by tests and by daily.py.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from resmon_assets.anomaly.daily import Days
from resmon_assets.anomaly.drift import HISTORY_DAYS, Drift, judge_day

Series = np.ndarray[Any, np.dtype[np.float64]]

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)

WALK = 0.3
"""Step of a walk (memory 1) in units of the noise of the others."""


def stationary(series: int, days: int, *, seed: int, memory: float = 0.5) -> Series:
    """CPU in percent: a level, a week, and noise that remembers `memory` of yesterday's."""
    random = np.random.default_rng(seed)
    week = np.array([1, 1, 0.9, 1, 0.8, -0.6, -1])[np.arange(days) % 7]
    level = random.uniform(15, 60, series)[:, None]
    season = random.uniform(0, 8, series)[:, None] * week
    size = random.uniform(0.5, 4, series)[:, None]
    shocks = random.standard_normal((series, days))
    noise = shocks.copy()
    for day in range(1, days):
        noise[:, day] = (
            memory * noise[:, day - 1]
            + (np.sqrt(1 - memory**2) if memory < 1 else WALK) * shocks[:, day]
        )
    result: Series = level + season + size * noise
    return result


def leaking(values: Series, per_day: float, *, onset: int, until: int | None = None) -> Series:
    """The values with a rise of `per_day` from day `onset` on; from `until` on without it."""
    day = np.arange(values.shape[1])
    rise = per_day * np.maximum(day - onset, 0)
    return values + np.where(day >= (until or values.shape[1]), 0.0, rise)


def days_up_to(cpu: ArrayLike, last: int, *, spread: ArrayLike = 15.0) -> Days:
    """What the judge of day number `last` sees; memory is level and quiet."""
    begin = max(0, last + 1 - HISTORY_DAYS)
    part = np.asarray(cpu, dtype=float)[:, begin : last + 1]
    wide = np.broadcast_to(np.asarray(spread, dtype=float), np.shape(cpu))[:, begin : last + 1]
    flat = np.full_like(part, 4e9)
    values = {
        "cpu_pct_p50": part,
        "cpu_pct_p99": part + wide,
        "memory_used_bytes_p50": flat,
        "memory_used_bytes_p99": flat,
    }
    servers = np.arange(1, part.shape[0] + 1, dtype=np.int32)
    return Days(servers, np.full_like(servers, 7), FIRST + begin * _DAY, values)


def episodes_of(
    cpu: ArrayLike, *, first: int = 14, spread: ArrayLike = 15.0
) -> list[tuple[int, Drift]]:
    """Judge the days one after another: every episode in its last form, and who noticed it when."""
    known: dict[tuple[object, ...], Drift] = {}
    noticed: dict[tuple[object, ...], int] = {}
    for last in range(first, np.shape(cpu)[1]):
        for drift in judge_day(days_up_to(cpu, last, spread=spread), list(known.values())):
            key = (drift.server_id, drift.metric, drift.kind, drift.started_at)
            known[key] = drift
            noticed.setdefault(key, last)
    return [(noticed[key], drift) for key, drift in known.items()]
