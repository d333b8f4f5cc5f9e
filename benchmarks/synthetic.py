"""A fleet that does not exist and its samples, for benchmarks: realistic, and the same every time.

Belongs here: an inventory and raw samples whose values repeat, move and jump as those of real
servers do, because what they cost to sort, store and compress depends on it:

* CPU is a ratio of clock ticks (30 s of all cores), with a base per server, the shape of a day,
  noise and now and then a burst; stored as float4, as the collector does.
* Memory in use is a multiple of 1,024 bytes that wanders slowly; disk a multiple of 4,096 that
  grows, and on most servers stands still for minutes.
* Network is quiet with bursts of a log-normal size.
* One server in a hundred is away for a part of the hour, one sample in a thousand is missing by
  itself, one in two thousand follows a boot and has no network and no CPU.

Run by itself it prints what the values look like.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from resmon_assets.frames import INSTANT, RAW_SAMPLES, schema_of
from resmon_assets.raw.schedule import phase_ms
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame

START = datetime(2026, 3, 1, tzinfo=UTC)
"""Midnight, so that a day of samples is a day partition."""

HOUR = timedelta(hours=1)
INTERVAL_SECONDS = 30
ORGANIZATIONS = 20
GIB = 1 << 30

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def register(postgres: PostgresResource, *, servers: int) -> None:
    """An inventory of `servers` active servers in ORGANIZATIONS organizations since START."""
    since = START - 24 * HOUR
    with postgres.connect() as connection:
        connection.execute(
            "insert into inventory.organizations (name, created_at) "
            "select 'org' || n, %s from generate_series(1, %s) as n",
            (since, ORGANIZATIONS),
        )
        connection.execute(
            "insert into inventory.servers "
            "(organization_id, name, transport, host, created_at, changed_at) "
            "select 1 + n %% %s, 'server' || n, 'ssh', 'host' || n, %s, %s "
            "from generate_series(1, %s) as n",
            (ORGANIZATIONS, since, since, servers),
        )


def fill(postgres: PostgresResource, *, servers: int, start: datetime, hours: int) -> int:
    """Store `hours` hours of samples from `start`, and return how many; register servers first."""
    count = 0
    for hour in range(hours):
        frame = samples_of_hour(servers=servers, hour=start + hour * HOUR)
        count += store(postgres, frame)
    with postgres.connect(autocommit=True) as connection:
        connection.execute("vacuum analyze raw.server_resource_metrics")
    return count


def store(postgres: PostgresResource, samples: pl.DataFrame) -> int:
    """Store samples of one hour as one write of the collector, and return how many."""
    first, last = samples["collected_at"].min(), samples["collected_at"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)",
            (first, last),
        )
    with postgres.connect() as connection:
        copy_frame(connection, "raw.server_resource_metrics", samples)
        slots = samples["collected_at"].dt.minute() // 5
        connection.execute(
            "select ops.bump_raw_hour(%s, 0, %s)", (first, slots.cast(pl.Int32).unique().to_list())
        )
    return samples.height


def samples_of_hour(*, servers: int, hour: datetime) -> pl.DataFrame:
    """Raw samples of the servers 1 to `servers` in one hour, in the order of their instants.

    Args:
        servers: how many; each is read every INTERVAL_SECONDS at its own phase.
        hour: start of a UTC hour, aware.

    Returns:
        Schema `frames.RAW_SAMPLES` without `commit_sequence`.
    """
    number = int((hour - START) / HOUR)
    ticks = 3600 // INTERVAL_SECONDS
    # Of the server alone, the same in every hour: size, load, habits.
    fixed = np.random.default_rng(7)
    cores = fixed.choice([2, 4, 8, 16, 32, 64], servers, p=[0.2, 0.3, 0.25, 0.15, 0.07, 0.03])
    memory_total = (cores * fixed.choice([2.0, 4.0, 8.0], servers) * GIB * 0.97).astype(np.int64)
    memory_total = memory_total // 1024 * 1024
    disk_total = fixed.choice([40, 80, 160, 500, 1000, 4000], servers).astype(np.int64) * GIB
    base_load = fixed.beta(1.2, 6.0, servers)
    shift = fixed.normal(0, 2.0, servers)
    memory_share = fixed.uniform(0.15, 0.85, servers)
    disk_share = fixed.uniform(0.1, 0.8, servers)
    disk_growth = np.where(fixed.random(servers) < 0.3, fixed.exponential(2e5, servers), 0.0)
    traffic = fixed.lognormal(13.0, 2.0, servers)

    random = np.random.default_rng([11, number])
    shape = (ticks, servers)
    hour_of_day = (number + np.arange(ticks)[:, None] / ticks + shift) % 24
    daily = 1 + 0.6 * np.sin((hour_of_day - 8) / 24 * 2 * np.pi)
    burst = np.where(random.random(shape) < 0.01, random.uniform(0.2, 0.9, shape), 0.0)
    noise = np.clip(random.standard_normal(shape) * 0.35 + 1, 0.05, None)
    cpu = np.clip(base_load * daily * noise + burst, 0.0, 1.0)
    clock_ticks = cores * INTERVAL_SECONDS * 100
    cpu_pct = np.rint(cpu * clock_ticks) / clock_ticks * 100

    walk = np.cumsum(random.standard_normal(shape), axis=0) * 0.0005
    memory = memory_total * np.clip(memory_share + 0.05 * (daily - 1) + walk, 0.02, 0.98)
    grown = (number * ticks + np.arange(ticks)[:, None]) * disk_growth
    writes = np.where(random.random(shape) < 0.2, random.exponential(3e6, shape), 0.0)
    disk = disk_total * disk_share + grown + np.cumsum(writes, axis=0) * (disk_growth > 0)
    elapsed = 30_000 + np.rint(random.standard_normal(shape) * 4).astype(np.int64)
    received = traffic * daily * random.lognormal(0.0, 0.8, shape) * (1 + 20 * (burst > 0))
    sent = received * random.lognormal(-0.5, 0.5, shape)

    booted = random.random(shape) < 0.0005
    instants = (
        int((hour - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
        + np.arange(ticks)[:, None] * INTERVAL_SECONDS * 1000
        + np.array([phase_ms(n, INTERVAL_SECONDS) for n in range(1, servers + 1)])
    )
    load = cpu * cores
    values = {
        "collected_at": instants * 1000,
        "memory_used_bytes": memory.astype(np.int64) // 1024 * 1024,
        "memory_total_bytes": np.broadcast_to(memory_total, shape),
        "disk_used_bytes": disk.astype(np.int64) // 4096 * 4096,
        "disk_total_bytes": np.broadcast_to(disk_total, shape),
        "network_in_bytes": received.astype(np.int64),
        "network_out_bytes": sent.astype(np.int64),
        "server_id": np.broadcast_to(np.arange(1, servers + 1), shape),
        "organization_id": np.broadcast_to(1 + np.arange(1, servers + 1) % ORGANIZATIONS, shape),
        "elapsed_ms": elapsed,
        "uptime_seconds": 90 * 86_400 + number * 3600 + instants // 1000 % 3600,
        "cpu_pct": cpu_pct,
        "load_1m": np.rint(load * 100) / 100,
        "load_5m": np.rint(_smooth(load, 10) * 100) / 100,
        "load_15m": np.rint(_smooth(load, 30) * 100) / 100,
        "clock_skew_seconds": np.rint(random.standard_normal(shape) * 2) / 1000,
        "cpu_count": np.broadcast_to(cores, shape),
    }
    names = [column.name for column in RAW_SAMPLES if column.name != "commit_sequence"]
    away = _away(random, ticks=ticks, servers=servers) | (random.random(shape) < 0.001)
    return (
        pl.DataFrame({name: values[name].reshape(-1) for name in names})
        .with_columns(
            pl.when(~pl.Series("booted", booted.reshape(-1))).then(pl.col(name)).alias(name)
            for name in ("cpu_pct", "network_in_bytes", "network_out_bytes", "elapsed_ms")
        )
        .filter(~pl.Series("away", away.reshape(-1)))
        .with_columns(pl.col("collected_at").cast(INSTANT))
        .cast(schema_of(RAW_SAMPLES, only=tuple(names)))
        .sort("collected_at", "server_id")
    )


def _smooth(values: Floats, width: int) -> Floats:
    """Means over the `width` ticks before, as load averages are."""
    summed = np.cumsum(values, axis=0)
    counts = np.minimum(np.arange(1, len(values) + 1), width)[:, None]
    earlier = np.vstack([np.zeros((width, values.shape[1])), summed[:-width]])
    means: Floats = (summed - earlier) / counts
    return means


def _away(
    random: np.random.Generator, *, ticks: int, servers: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether a server is away at a tick: one in a hundred, for a stretch of the hour."""
    is_away = random.random(servers) < 0.01
    first = random.integers(0, ticks, servers)
    last = first + random.integers(4, ticks, servers)
    tick = np.arange(ticks)[:, None]
    away: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = (
        is_away & (tick >= first) & (tick < last)
    )
    return away


if __name__ == "__main__":
    print(samples_of_hour(servers=1000, hour=START + 10 * HOUR).describe())
