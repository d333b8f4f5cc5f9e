"""One UTC day of the demo fleet as the collector would have stored it.

Belongs here: signals and incidents -> rows of raw.server_resource_metrics, raw.filesystem_usage and
raw.collection_coverage. Pure: no database, no clock. A day follows from the plan and its number
alone, so that days may be made in any order, or again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from resmon_assets.demo.plan import DAY, INTERVAL_SECONDS, Incident, Plan, PlannedServer
from resmon_assets.demo.signals import STEP_SECONDS, Signals, used_share
from resmon_assets.frames import INSTANT, RAW_FILE_SYSTEMS, RAW_SAMPLES, schema_of
from resmon_assets.raw.schedule import phase_ms

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

COVERAGE = pl.Schema(
    {
        "server_id": pl.Int32(),
        "started_at": INSTANT,
        "ended_at": INSTANT,
        "cause": pl.String(),
        "instant_count": pl.Int32(),
    }
)
"""Rows of raw.collection_coverage."""

DOWN_CAUSE = "unreachable"
"""What a collector says of a host that is down."""

SPIKES = 0.002
"""Share of readings with a burst of CPU: cron, package lists, log rotation."""

UP_BEFORE = timedelta(days=40)
"""How long every server had been up when the history begins."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLE_NAMES = tuple(c.name for c in RAW_SAMPLES if c.name != "commit_sequence")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a planned server is in the database.

    Attributes:
        server_id: identity.
        organization_id: its organization.
    """

    server_id: int
    organization_id: int


@dataclass(frozen=True, slots=True)
class DayOfSamples:
    """What a day's collection would have stored.

    Attributes:
        samples: columns of `frames.RAW_SAMPLES` without commit_sequence, by server and time.
        file_systems: schema `frames.RAW_FILE_SYSTEMS`.
        coverage: schema `COVERAGE`; a stretch ends with the day.
    """

    samples: pl.DataFrame
    file_systems: pl.DataFrame
    coverage: pl.DataFrame


def samples_of_day(
    plan: Plan,
    signals: Sequence[Signals],
    identities: Sequence[Identity],
    *,
    day: int,
) -> DayOfSamples:
    """The rows of one day.

    Args:
        plan: the fleet.
        signals: of its servers, in their order.
        identities: the same.
        day: its number, from 0.
    """
    parts = [
        _server_day(plan, number, signals[number], identities[number], day=day)
        for number in range(len(plan.servers))
    ]
    return DayOfSamples(
        pl.concat([part.samples for part in parts]),
        pl.concat([part.file_systems for part in parts]),
        pl.concat([part.coverage for part in parts]),
    )


def _server_day(
    plan: Plan, number: int, signals: Signals, identity: Identity, *, day: int
) -> DayOfSamples:
    """The rows of one server."""
    server = plan.servers[number]
    random = np.random.default_rng([plan.seed, 3, number, day])
    instants = _instants(identity.server_id, plan.start + day * DAY)
    seconds = instants / 1000.0 - (plan.start - _EPOCH) / timedelta(seconds=1)
    usual = _usual(random, plan, server, signals, seconds, day=day)
    for incident in server.incidents:
        inside, passed = _inside(incident, instants)
        if inside.any():
            _strike(random, usual, incident, inside, passed)
    count = len(seconds)
    is_down, is_first, booted_at = _boots(plan, server, instants)
    shares = usual.shares
    memory, received, sent = usual.memory, usual.received, usual.sent
    cpu = np.clip(usual.cpu, 0.1, 100.0)
    used = [
        (np.clip(share, 0.0, 1.0) * mount.total_bytes).astype(np.int64) // 4096 * 4096
        for share, mount in zip(shares, server.mounts, strict=True)
    ]
    elapsed = 30_000 + np.rint(random.standard_normal(count) * 4).astype(np.int64)
    memory_total = server.memory_bytes * 97 // 100 // 1024 * 1024
    busy = cpu / 100 * server.cores
    columns: Mapping[str, object] = {
        "collected_at": instants * 1000,
        "memory_used_bytes": (np.clip(memory, 0.02, 0.985) * memory_total).astype(np.int64)
        // 1024
        * 1024,
        "memory_total_bytes": np.full(count, memory_total),
        "disk_used_bytes": np.sum(used, axis=0),
        "disk_total_bytes": np.full(count, sum(mount.total_bytes for mount in server.mounts)),
        "network_in_bytes": (received * elapsed / 1000).astype(np.int64),
        "network_out_bytes": (sent * elapsed / 1000).astype(np.int64),
        "server_id": np.full(count, identity.server_id),
        "organization_id": np.full(count, identity.organization_id),
        "elapsed_ms": elapsed,
        "uptime_seconds": np.maximum((instants - booted_at) // 1000, 0),
        "cpu_pct": cpu,
        "load_1m": np.round(busy, 2),
        "load_5m": np.round(_smooth(busy, 10), 2),
        "load_15m": np.round(_smooth(busy, 30), 2),
        "clock_skew_seconds": np.round(random.standard_normal(count) * 0.002, 3),
        "cpu_count": np.full(count, server.cores),
    }
    # The first reading after a boot has nothing before it to take a difference from.
    booted_now = pl.Series(is_first)
    kept = pl.Series(~is_down)
    samples = (
        pl.DataFrame({name: columns[name] for name in _SAMPLE_NAMES})
        .with_columns(
            pl.when(~booted_now).then(pl.col(name)).alias(name)
            for name in ("cpu_pct", "network_in_bytes", "network_out_bytes", "elapsed_ms")
        )
        .with_columns(pl.col("collected_at").cast(INSTANT))
        .cast(schema_of(RAW_SAMPLES, only=_SAMPLE_NAMES))
        .filter(kept)
    )
    return DayOfSamples(
        samples,
        _file_systems(server, identity, instants[~is_down], [values[~is_down] for values in used]),
        _coverage(identity, instants, is_down),
    )


@dataclass(slots=True)
class _Values:
    """The quantities of one server and day at its instants; changed by incidents.

    Attributes:
        cpu: percent, not yet cut to 0..100.
        memory: share in use.
        received: bytes per second.
        sent: bytes per second.
        shares: of each file system, in use.
    """

    cpu: Floats
    memory: Floats
    received: Floats
    sent: Floats
    shares: list[Floats]


def _usual(
    random: np.random.Generator,
    plan: Plan,
    server: PlannedServer,
    signals: Signals,
    seconds: Floats,
    *,
    day: int,
) -> _Values:
    """What would have been measured without incidents, `seconds` after the history began."""
    steps_of_day = 86_400 // STEP_SECONDS
    grid = np.arange(day * steps_of_day, (day + 1) * steps_of_day + 1)

    def at(values: Floats) -> Floats:
        return np.interp(seconds, grid * STEP_SECONDS, values[grid])

    count = len(seconds)
    load, backup = at(signals.load), at(signals.backup)
    cpu = server.cpu_pct * load * random.lognormal(-0.02, 0.2, count)
    cpu += at(signals.cpu_jobs) * random.lognormal(-0.002, 0.06, count)
    cpu += _crept(plan, server, seconds)
    spikes = random.random(count) < SPIKES
    cpu += np.where(spikes, random.uniform(5.0, 30.0, count), 0.0)
    received = server.traffic * load * random.lognormal(-0.08, 0.4, count)
    sent = received * 1.6 * random.lognormal(-0.02, 0.2, count) + backup * server.traffic * 4
    shares = [
        used_share(mount, seconds / 86_400) + at(signals.disk_noise) for mount in server.mounts
    ]
    # The backup is written to a file first, which goes when it is sent.
    shares[-1] = shares[-1] + 0.01 * backup
    return _Values(cpu, at(signals.memory_share), received, sent, shares)


def _strike(
    random: np.random.Generator,
    values: _Values,
    incident: Incident,
    inside: npt.NDArray[np.bool_],
    passed: Floats,
) -> None:
    """Change what is measured during an incident; it takes the twelfth part of it to unfold."""
    ramp = np.where(inside, np.clip(passed * 12, 0.0, 1.0), 0.0)
    count = len(ramp)
    if incident.kind == "cpu_runaway":
        values.cpu = values.cpu + (random.normal(96.0, 1.5, count) - values.cpu) * ramp
    elif incident.kind == "traffic_drop":
        values.received = values.received * (1 - 0.96 * ramp)
        values.sent = values.sent * (1 - 0.96 * ramp)
        values.cpu = values.cpu * (1 - 0.6 * ramp)
    elif incident.kind == "slowdown":
        values.cpu = values.cpu + 38.0 * ramp * random.lognormal(0, 0.1, count)
        values.memory = values.memory + 0.18 * ramp
        values.received = values.received * (1 - 0.65 * ramp)
        values.sent = values.sent * (1 - 0.65 * ramp)
    elif incident.kind == "disk_burst":
        room = np.maximum(0.9 - values.shares[0], 0.0)
        filled = np.where(inside, np.clip(passed * 4, 0.0, 1.0), 0.0)
        values.shares[0] = values.shares[0] + 0.75 * room * filled


def _boots(
    plan: Plan, server: PlannedServer, instants: Integers
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], Integers]:
    """Where the server is down, which reading is the first after a boot, and when it booted."""
    is_down = np.zeros(len(instants), dtype=bool)
    is_first = np.zeros(len(instants), dtype=bool)
    booted_at = np.full(
        len(instants), (plan.start - UP_BEFORE - _EPOCH) // timedelta(milliseconds=1)
    )
    for incident in server.incidents:
        if incident.kind == "host_down":
            is_down |= _inside(incident, instants)[0]
            ended = (incident.ended_at - _EPOCH) // timedelta(milliseconds=1)
            is_first |= (instants >= ended) & (instants < ended + INTERVAL_SECONDS * 1000)
            booted_at = np.where(instants >= ended, ended, booted_at)
    return is_down, is_first, booted_at


def _instants(server_id: int, start: datetime) -> Integers:
    """Scheduled instants of a day in milliseconds after the epoch."""
    step = INTERVAL_SECONDS * 1000
    first = (start - _EPOCH) // timedelta(milliseconds=1)
    instants: Integers = np.arange(first, first + 86_400_000, step, dtype=np.int64)
    return instants + phase_ms(server_id, INTERVAL_SECONDS)


def _inside(incident: Incident, instants: Integers) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Which instants lie within an incident, and how much of it has passed, 0 to 1."""
    started = (incident.started_at - _EPOCH) / timedelta(milliseconds=1)
    ended = (incident.ended_at - _EPOCH) / timedelta(milliseconds=1)
    inside = (instants >= started) & (instants < ended)
    return inside, np.clip((instants - started) / (ended - started), 0.0, 1.0)


def _crept(plan: Plan, server: PlannedServer, seconds: Floats) -> Floats:
    """Percent points that creeping CPU has added."""
    added = np.zeros_like(seconds)
    for drift in server.drifts:
        if drift.kind == "cpu_creep":
            since = (drift.started_at - plan.start) / timedelta(seconds=1)
            added += np.clip(seconds - since, 0.0, None) / 86_400 * drift.change_per_day
    return added


def _smooth(values: Floats, width: int) -> Floats:
    """Means over the `width` readings before, as load averages are."""
    summed = np.cumsum(values)
    counts = np.minimum(np.arange(1, len(values) + 1), width)
    means: Floats = (summed - np.concatenate([np.zeros(width), summed[:-width]])) / counts
    return means


def _file_systems(
    server: PlannedServer, identity: Identity, instants: Integers, used: Sequence[Integers]
) -> pl.DataFrame:
    """The file systems at the first instant in each five minutes."""
    slots = instants // (STEP_SECONDS * 1000)
    chosen = np.flatnonzero(np.diff(slots, prepend=-1))
    frames = []
    for number, (mount, values) in enumerate(zip(server.mounts, used, strict=True)):
        inodes = mount.total_bytes // 16_384
        frames.append(
            pl.DataFrame(
                {
                    "collected_at": instants[chosen] * 1000,
                    "used_bytes": values[chosen],
                    "inodes_used": values[chosen] // 65_536,
                }
            ).with_columns(
                pl.col("collected_at").cast(INSTANT),
                total_bytes=pl.lit(mount.total_bytes),
                available_bytes=mount.total_bytes - pl.col("used_bytes"),
                inodes_total=pl.lit(inodes),
                server_id=pl.lit(identity.server_id),
                organization_id=pl.lit(identity.organization_id),
                mount=pl.lit(mount.path),
                device=pl.lit(f"/dev/vda{number + 1}"),
                type=pl.lit("ext4"),
            )
        )
    schema = schema_of(RAW_FILE_SYSTEMS)
    return pl.concat(frames).select(schema.names()).cast(schema)


def _coverage(
    identity: Identity, instants: Integers, is_down: npt.NDArray[np.bool_]
) -> pl.DataFrame:
    """Stretches of equal cause."""
    edges = np.flatnonzero(np.diff(is_down.astype(np.int8), prepend=-1))
    lasts = np.append(edges[1:], len(instants)) - 1
    return (
        pl.DataFrame(
            {
                "server_id": np.full(len(edges), identity.server_id),
                "started_at": instants[edges] * 1000,
                "ended_at": instants[lasts] * 1000,
                "cause": [DOWN_CAUSE if is_down[edge] else "ok" for edge in edges],
                "instant_count": lasts - edges + 1,
            }
        )
        .with_columns(pl.col("started_at", "ended_at").cast(INSTANT))
        .cast(COVERAGE)
    )
