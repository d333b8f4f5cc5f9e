"""How the load of each demo server goes through its history, on a grid of five minutes.

Belongs here: season, noise and growth, without incidents. Pure: no database, no clock.

Load is a number near 1 at the busiest hour of a usual day: the shape of the day, times the weekend,
times noise that is not white: three autoregressive parts with memories of a quarter of an hour, of
three hours and of a day, so that a server has slow and busy days as real ones have. CPU, memory and
network follow the same load, which is why they move together.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from resmon_assets.demo.plan import STALLED_SHARE, Mount, Plan, PlannedServer, Role

Floats = npt.NDArray[np.float64]

STEP_SECONDS = 300
SATURDAY = 5
_STEPS_OF_DAY = 86_400 // STEP_SECONDS

_TROUGH: dict[Role, float] = {
    "web": 0.25,
    "database": 0.45,
    "batch": 0.9,
    "cache": 0.3,
    "worker": 0.6,
    "idle": 0.95,
}
"""Load in the quietest hour."""

_WEEKEND: dict[Role, float] = {
    "web": 0.72,
    "database": 0.8,
    "batch": 1.0,
    "cache": 0.75,
    "worker": 0.85,
    "idle": 1.0,
}
"""Load of Saturday and Sunday."""

_MEMORIES_SECONDS = (900.0, 10_800.0, 86_400.0)
_WEIGHTS = (0.6, 0.6, 0.53)
"""Parts of the noise; their squares add up to 1."""

SAW_DAYS, SAW_SHARE = 7.0, 0.05
"""Logs that are removed every week, as a share of the file system."""


@dataclass(frozen=True, slots=True)
class Signals:
    """One server on the grid: value k is that of `start + k * STEP_SECONDS`; one more than fits.

    Attributes:
        load: about 1 at the busiest hour; never negative.
        cpu_jobs: percent points that jobs of the clock add to CPU.
        backup: 0 or 1: while a backup is sent.
        memory_share: of the memory, in use.
        disk_noise: share of each file system that comes and goes.
    """

    load: Floats
    cpu_jobs: Floats
    backup: Floats
    memory_share: Floats
    disk_noise: Floats


def signals_of(plan: Plan, number: int) -> Signals:
    """The grid of the server of this number (its place in `plan.servers`)."""
    server = plan.servers[number]
    random = np.random.default_rng([plan.seed, 2, number])
    steps = plan.days * _STEPS_OF_DAY + 1
    days = np.arange(steps) / _STEPS_OF_DAY
    noise = sum(
        weight * _wandering(random, steps, memory)
        for weight, memory in zip(_WEIGHTS, _MEMORIES_SECONDS, strict=True)
    )
    load = _season(plan.start, days, server) * np.exp(server.restlessness * noise)
    cpu_jobs, backup = _jobs(random, plan.days, server)
    memory = (
        server.memory_share
        + 0.05 * (load - 0.6)
        + 0.008 * _wandering(random, steps, 21_600.0)
        + _leaked(plan.start, days, server)
    )
    return Signals(
        load=load,
        cpu_jobs=cpu_jobs,
        backup=backup,
        memory_share=np.clip(memory, 0.03, 0.96),
        disk_noise=0.001 * _wandering(random, steps, 7200.0),
    )


def used_share(mount: Mount, days: Floats) -> Floats:
    """Share of a file system in use, without noise and incidents.

    Args:
        mount: the file system.
        days: days since the history began; may lie beyond its end, where growth goes on.
    """
    if mount.growth is None:
        return np.full_like(days, mount.first_share)
    rate = mount.bytes_per_day / mount.total_bytes
    if mount.growth == "stalled":
        stalled: Floats = np.minimum(mount.first_share + rate * days, STALLED_SHARE)
        return stalled
    if mount.growth == "sawtooth":
        return mount.first_share + rate * days + SAW_SHARE * ((days % SAW_DAYS) / SAW_DAYS)
    # Fewer people write on weekends: a week's ripple around the line.
    return mount.first_share + rate * days + rate * 0.25 * np.sin(days * 2 * np.pi / 7)


def reached_on_day(mount: Mount, share: float, *, horizon_days: int) -> int | None:
    """Number of the first day whose mean use is at least `share` of the file system; None: never.

    Days are counted from the start of the history. A day's mean is what forecasts speak of; the
    first instant may lie half a day before.
    """
    steps = np.arange(horizon_days * _STEPS_OF_DAY) / _STEPS_OF_DAY
    means = used_share(mount, steps).reshape(horizon_days, _STEPS_OF_DAY).mean(axis=1)
    reached = means >= share
    return int(np.argmax(reached)) if bool(reached.any()) else None


def _season(start: datetime, days: Floats, server: PlannedServer) -> Floats:
    """Shape of the day and of the week; 1 at the busiest hour of a working day."""
    hour = (days % 1.0) * 24.0
    wave = (0.5 + 0.5 * np.cos((hour - server.peak_hour) / 24.0 * 2 * np.pi)) ** 1.3
    trough = _TROUGH[server.role]
    weekday = (start.weekday() + np.floor(days)) % 7
    weekly = np.where(weekday >= SATURDAY, _WEEKEND[server.role], 1.0)
    shape: Floats = (trough + (1 - trough) * wave) * weekly
    return shape


def _wandering(random: np.random.Generator, steps: int, memory_seconds: float) -> Floats:
    """Autoregressive noise of order 1 with mean 0 and deviation 1, in its stationary state."""
    kept = float(np.exp(-STEP_SECONDS / memory_seconds))
    pushes = random.standard_normal(steps) * np.sqrt(1 - kept**2)
    pushes[0] = random.standard_normal()
    walked: Floats = lfilter([1.0], [1.0, -kept], pushes)
    return walked


def _jobs(random: np.random.Generator, days: int, server: PlannedServer) -> tuple[Floats, Floats]:
    """Percent points of CPU that nightly and noon jobs add, and when a backup is sent."""
    steps = days * _STEPS_OF_DAY + 1
    cpu, backup = np.zeros(steps), np.zeros(steps)
    height = random.uniform(45.0, 65.0) if server.role == "batch" else random.uniform(15.0, 22.0)
    for day in range(days):
        midnight = day * _STEPS_OF_DAY
        jitter = int(random.integers(-1, 2))
        if server.role == "batch":
            length = int(random.integers(38, 46))
            first = midnight + 12 + jitter
            cpu[first : first + length] += height * random.uniform(0.95, 1.05)
            cpu[midnight + 144 + jitter : midnight + 152] += height * 0.6
        elif server.role == "database":
            first = midnight + 24 + jitter
            length = int(random.integers(10, 13))
            cpu[first : first + length] += height
            backup[first : first + length] = 1.0
    return cpu, backup


def _leaked(start: datetime, days: Floats, server: PlannedServer) -> Floats:
    """Share of memory that leaks have taken."""
    taken = np.zeros_like(days)
    for drift in server.drifts:
        if drift.kind == "memory_leak":
            since = (drift.started_at - start) / timedelta(days=1)
            taken += np.clip(days - since, 0.0, None) * drift.change_per_day
    return taken
