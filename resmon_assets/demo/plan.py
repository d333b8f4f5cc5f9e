"""Who is in the demo fleet, how each server behaves, and what is planted: all of it from a seed.

Belongs here: sizes, roles, habits, and the truth that reports are judged by later. How a plan
becomes samples is in `signals.py` and `samples.py`. Pure: no database, no clock.

What is planted is meant to be found by a person who looks at the curves: an incident stands out of
its server's usual day, keeps a distance of days from others on the same server, and begins in the
second half of the history, so that there is a past to compare with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from resmon_resources.errors import ConfigurationInvalid

Role = Literal["web", "database", "batch", "cache", "worker", "idle"]
IncidentKind = Literal["cpu_runaway", "traffic_drop", "disk_burst", "slowdown", "host_down"]
GrowthKind = Literal["fills", "slow", "sawtooth", "stalled"]
DriftKind = Literal["memory_leak", "cpu_creep"]

GIB = 1 << 30
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

MINIMUM_DAYS, MAXIMUM_DAYS = 14, 365
MINIMUM_SERVERS, MAXIMUM_SERVERS = 5, 500
MAXIMUM_SEED = 2**31 - 1
INTERVAL_SECONDS = 30

ROLES: tuple[Role, ...] = (
    *("web", "database", "batch", "web", "cache", "worker", "web", "idle", "database", "web"),
    *("worker", "batch", "web", "database", "cache", "web", "worker", "database", "idle", "batch"),
)
"""Roles in turn: the first five servers are one each of the roles that something is planted in."""

ORGANIZATIONS: tuple[tuple[str, str | None], ...] = (
    ("demo", None),
    ("demo-shop", "demo"),
    ("demo-analytics", "demo"),
    ("demo-platform", "demo"),
)
"""Name and parent; all are named so that nobody takes them for real."""

HOME_OF: dict[Role, str] = {
    "web": "demo-shop",
    "cache": "demo-shop",
    "database": "demo-shop",
    "batch": "demo-analytics",
    "worker": "demo-analytics",
    "idle": "demo-platform",
}
"""Organization of the servers of a role."""

_CORES: dict[Role, Sequence[int]] = {
    "web": (4, 8),
    "database": (8, 16),
    "batch": (16, 32),
    "cache": (4, 8),
    "worker": (8, 16),
    "idle": (2, 4),
}
_CPU: dict[Role, tuple[float, float]] = {
    "web": (18.0, 30.0),
    "database": (15.0, 25.0),
    "batch": (3.0, 6.0),
    "cache": (6.0, 12.0),
    "worker": (12.0, 22.0),
    "idle": (0.8, 2.0),
}
"""CPU in percent at the busiest hour of a usual day, without what jobs of the clock add."""

_MEMORY: dict[Role, tuple[float, float]] = {
    "web": (0.35, 0.55),
    "database": (0.55, 0.72),
    "batch": (0.15, 0.30),
    "cache": (0.62, 0.78),
    "worker": (0.25, 0.45),
    "idle": (0.08, 0.20),
}
"""Share of memory in use."""

_TRAFFIC: dict[Role, tuple[float, float]] = {
    "web": (2e6, 2e7),
    "database": (1e6, 8e6),
    "batch": (5e4, 3e5),
    "cache": (4e6, 3e7),
    "worker": (3e5, 3e6),
    "idle": (2e3, 2e4),
}
"""Bytes received per second at the busiest hour."""

KEPT_APART = timedelta(days=3)
"""Between two incidents of one server: what the first did to its usual range is over by then."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system.

    Attributes:
        path: where it is mounted.
        total_bytes: its size.
        first_share: share in use when the history begins.
        growth: how it grows; None: it does not.
        full_after_days: for `fills`, `slow` and `sawtooth`: days from the start of the history to
            the day it is full; for `stalled`: days until it stops.
    """

    path: str
    total_bytes: int
    first_share: float
    growth: GrowthKind | None = None
    full_after_days: float = 0.0

    @property
    def bytes_per_day(self) -> float:
        """Growth while it grows."""
        if self.growth is None:
            return 0.0
        last = STALLED_SHARE if self.growth == "stalled" else 1.0
        return (last - self.first_share) * self.total_bytes / self.full_after_days


STALLED_SHARE = 0.66
"""Where a file system that stopped growing stands."""


@dataclass(frozen=True, slots=True)
class Incident:
    """What happened to a server, as it really was.

    Attributes:
        kind: what it was.
        metric: the metric that shows it best; `*`: several together, or no samples at all.
        started_at: first instant, aware UTC.
        ended_at: first instant after it.
    """

    kind: IncidentKind
    metric: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Drift:
    """A slow degradation that begins within the history and goes on at its end.

    Attributes:
        kind: what it is.
        metric: `memory_used_bytes` or `cpu_pct`.
        started_at: aware UTC.
        change_per_day: rise per day: a share of the memory, or percent points of CPU.
    """

    kind: DriftKind
    metric: str
    started_at: datetime
    change_per_day: float


@dataclass(frozen=True, slots=True)
class PlannedServer:
    """A server of the demo fleet.

    Attributes:
        name: begins with `demo-`.
        role: what it is used for.
        cores: count.
        memory_bytes: size.
        cpu_pct: at the busiest hour of a usual day.
        memory_share: in use on a usual day.
        traffic: bytes received per second at the busiest hour.
        peak_hour: hour of the day, UTC, with the most traffic.
        restlessness: standard deviation of the logarithm of its load, of noise that lasts.
        mounts: its file systems.
        incidents: planted ones, in order.
        drifts: planted ones.
    """

    name: str
    role: Role
    cores: int
    memory_bytes: int
    cpu_pct: float
    memory_share: float
    traffic: float
    peak_hour: float
    restlessness: float
    mounts: tuple[Mount, ...]
    incidents: tuple[Incident, ...] = ()
    drifts: tuple[Drift, ...] = ()

    @property
    def organization(self) -> str:
        """Name of its organization."""
        return HOME_OF[self.role]


@dataclass(frozen=True, slots=True)
class Plan:
    """A demo fleet and its history, before any of it is made.

    Attributes:
        seed: from which all follows.
        start: of the history, a UTC midnight.
        days: of history.
        servers: in the order of their creation.
    """

    seed: int
    start: datetime
    days: int
    servers: tuple[PlannedServer, ...]

    @property
    def end(self) -> datetime:
        """First instant after the history, a UTC midnight."""
        return self.start + self.days * DAY


def check_request(*, servers: int, days: int, seed: int) -> None:
    """Refuse what no fleet can be planned from.

    Raises:
        ConfigurationInvalid: says which of the three, and what is allowed.
    """
    for name, value, lowest, highest, why in (
        (
            "servers",
            servers,
            MINIMUM_SERVERS,
            MAXIMUM_SERVERS,
            "fewer would leave nothing to plant in, more take too long",
        ),
        (
            "days",
            days,
            MINIMUM_DAYS,
            MAXIMUM_DAYS,
            "detection and forecasts need a past, and hourly tables are kept a year",
        ),
        ("seed", seed, 0, MAXIMUM_SEED, "it is stored as an integer"),
    ):
        if not lowest <= value <= highest:
            msg = (
                f"A demo fleet with --{name} {value} cannot be made: give {lowest} to {highest} "
                f"({why})."
            )
            raise ConfigurationInvalid(msg)


def plan_fleet(*, servers: int, days: int, seed: int, end: datetime) -> Plan:
    """Plan a fleet; the same arguments give the same plan.

    Args:
        servers: how many.
        days: length of the history.
        seed: of all random choices.
        end: of the history, a UTC midnight, aware.

    Raises:
        ConfigurationInvalid: see `check_request`.
    """
    check_request(servers=servers, days=days, seed=seed)
    start = end - days * DAY
    random = np.random.default_rng([seed, 1])
    bare = [_server(random, number) for number in range(servers)]
    grown = _with_growth(random, bare, days=days)
    drifting = _with_drifts(random, grown, days=days, end=end)
    return Plan(seed, start, days, tuple(_with_incidents(random, drifting, days=days, end=end)))


def _server(random: np.random.Generator, number: int) -> PlannedServer:
    """A server without anything planted."""
    role = ROLES[number % len(ROLES)]
    cores = int(random.choice(_CORES[role]))
    memory = cores * int(random.choice([2, 4])) * GIB
    mounts = [Mount("/", int(random.choice([40, 80])) * GIB, random.uniform(0.2, 0.45))]
    if role in ("database", "worker", "batch"):
        size = int(random.choice([200, 500, 1000])) * GIB
        mounts.append(Mount("/var/lib/data", size, random.uniform(0.25, 0.5)))
    elif role in ("web", "cache"):
        mounts.append(
            Mount("/var/log", int(random.choice([20, 50])) * GIB, random.uniform(0.2, 0.4))
        )
    return PlannedServer(
        name=f"demo-{role}-{number + 1:02d}",
        role=role,
        cores=cores,
        memory_bytes=memory,
        cpu_pct=random.uniform(*_CPU[role]),
        memory_share=random.uniform(*_MEMORY[role]),
        traffic=random.uniform(*_TRAFFIC[role]),
        peak_hour=random.uniform(13.0, 16.0),
        restlessness=random.uniform(0.08, 0.16),
        mounts=tuple(mounts),
    )


def _with_growth(
    random: np.random.Generator, servers: Sequence[PlannedServer], *, days: int
) -> list[PlannedServer]:
    """Give the second file system of every other server that has one a growth, kinds in turn."""
    kinds: tuple[GrowthKind, ...] = ("fills", "slow", "fills", "sawtooth", "fills", "stalled")
    result = list(servers)
    able = [k for k, server in enumerate(servers) if len(server.mounts) > 1]
    chosen = able[::2]
    for turn, k in enumerate(chosen):
        root, data = servers[k].mounts
        kind = kinds[turn % len(kinds)]
        after = {
            "fills": days + random.uniform(7, 25),
            "slow": days + random.uniform(60, 200),
            "sawtooth": days + random.uniform(15, 40),
            "stalled": days * random.uniform(0.55, 0.7),
        }[kind]
        first = random.uniform(0.3, 0.45)
        grown = Mount(data.path, data.total_bytes, first, kind, after)
        result[k] = replace(servers[k], mounts=(root, grown))
    return result


def _with_drifts(
    random: np.random.Generator, servers: Sequence[PlannedServer], *, days: int, end: datetime
) -> list[PlannedServer]:
    """A memory leak in one of eight servers, a creeping CPU in one of twenty."""
    result = list(servers)
    leaking = [k for k, server in enumerate(servers) if server.role in ("web", "worker")]
    random.shuffle(leaking)
    leaks = max(1, round(len(servers) / 8))
    for k in leaking[:leaks]:
        length = float(np.clip(days * random.uniform(0.25, 0.35), 6, 25))
        base = random.uniform(0.30, 0.38)
        rise = min(0.03, (random.uniform(0.78, 0.88) - base) / length)
        drift = Drift("memory_leak", "memory_used_bytes", _whole_hour(end, length), rise)
        result[k] = replace(result[k], memory_share=base, drifts=(drift,))
    creeping = [k for k in leaking[leaks:] if servers[k].role == "worker"] or leaking[leaks:]
    for k in creeping[: len(servers) // 20]:
        length = float(np.clip(days * random.uniform(0.25, 0.35), 6, 25))
        drift = Drift("cpu_creep", "cpu_pct", _whole_hour(end, length), random.uniform(1.2, 2.0))
        result[k] = replace(result[k], drifts=(drift,))
    return result


def _with_incidents(
    random: np.random.Generator, servers: Sequence[PlannedServer], *, days: int, end: datetime
) -> list[PlannedServer]:
    """Three incidents for four servers, each on a server whose role shows it."""
    kinds: tuple[IncidentKind, ...] = (
        *("cpu_runaway", "traffic_drop", "slowdown", "disk_burst", "host_down"),
        *("cpu_runaway", "traffic_drop", "slowdown"),
    )
    result = list(servers)
    # Those of a day belong together: the first half of the history is the past to compare with.
    first, last = days / 2, days - 0.5
    for turn in range(max(3, round(len(servers) * 0.75))):
        kind = kinds[turn % len(kinds)]
        able = [
            k
            for k, server in enumerate(result)
            if server.role in _SHOWN_BY[kind] and not _is_excluded(kind, server)
        ]
        for _ in range(50):
            if not able:
                break
            k = int(random.choice(able))
            incident = _incident(random, kind, end - DAY * (days - random.uniform(first, last)))
            if incident.ended_at < end - HOUR and _is_apart(incident, result[k].incidents):
                planted = sorted((*result[k].incidents, incident), key=lambda i: i.started_at)
                result[k] = replace(result[k], incidents=tuple(planted))
                break
    return result


_SHOWN_BY: dict[IncidentKind, tuple[Role, ...]] = {
    "cpu_runaway": ("web", "database", "cache", "idle"),
    "traffic_drop": ("web", "cache"),
    "disk_burst": ("web", "worker", "idle", "database"),
    "slowdown": ("web", "database", "worker"),
    "host_down": ("web", "batch", "cache", "idle", "worker"),
}


def _is_excluded(kind: IncidentKind, server: PlannedServer) -> bool:
    """A restart ends a leak, and a full CPU or memory hides a drift: those stay by themselves."""
    return bool(server.drifts) and kind in ("host_down", "slowdown", "cpu_runaway")


def _incident(random: np.random.Generator, kind: IncidentKind, at: datetime) -> Incident:
    """An incident of this kind about `at`, at an hour that it is seen at."""
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    hours = {
        "cpu_runaway": random.uniform(0.0, 23.0),
        "traffic_drop": random.uniform(10.0, 18.0),
        "disk_burst": random.uniform(3.0, 22.0),
        "slowdown": random.uniform(8.0, 20.0),
        "host_down": random.uniform(0.0, 22.0),
    }[kind]
    length = {
        "cpu_runaway": random.uniform(1.5, 6.0),
        "traffic_drop": random.uniform(0.75, 3.0),
        "disk_burst": random.uniform(2.0, 5.0),
        "slowdown": random.uniform(1.0, 3.0),
        "host_down": random.uniform(0.4, 1.5),
    }[kind]
    metric = {
        "cpu_runaway": "cpu_pct",
        "traffic_drop": "network_in_bytes_per_second",
        "disk_burst": "disk_used_bytes",
        "slowdown": "*",
        "host_down": "*",
    }[kind]
    started = day + timedelta(minutes=round(hours * 60))
    return Incident(kind, metric, started, started + timedelta(minutes=round(length * 60)))


def _is_apart(incident: Incident, others: Sequence[Incident]) -> bool:
    """Whether it keeps its distance from all others of the server."""
    return all(
        incident.started_at > other.ended_at + KEPT_APART
        or other.started_at > incident.ended_at + KEPT_APART
        for other in others
    )


def _whole_hour(end: datetime, days_before: float) -> datetime:
    """The full hour that lies about so many days before `end`."""
    return end - timedelta(hours=round(days_before * 24))
