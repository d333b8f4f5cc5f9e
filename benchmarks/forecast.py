"""The daily forecasts of a fleet: how long a day takes, in how much memory, and on how much disk.

`make bench-forecast ARGS="--servers 10000"`. One JSON line per figure on standard output, progress
on standard error. In a temporary PostgreSQL, 61 days of the daily tiers of a seeded fleet (three
metrics and two file systems per server, so five series; 20 organizations) are stored, then two
days are forecast in a process of its own:

    first_day_seconds    every series gets a model
    day_seconds          the next day: a seventh of them get a new one
    day_models_seconds   of these, in models, lines and limits; the rest is the database
    again_seconds        the same day again, which changes nothing
    peak_rss_mib         of the process
    bytes_per_row        on disk, with indexes
    reference_seconds    statsmodels' simple exponential smoothing of 200 of the series, times as
                         many as there are series: what fitting each by itself would take
"""

import argparse
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from _measuring import Figure, embedded, emit, in_own_process, say, taken
from synthetic import GIB, ORGANIZATIONS, register

from resmon_assets.forecast.refresh import SOURCES, refresh_forecasts
from resmon_assets.frames import (
    FILE_SYSTEM_DAYS,
    METRICS,
    ROLLUP_ROWS,
    STATISTICS,
    TIER_ROWS,
    schema_of,
)
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.window_ledger import record_window

LAST = datetime(2026, 4, 30, tzinfo=UTC)
DAY = timedelta(days=1)
HISTORY = 61
MOUNTS = ("/", "/data")
REFERENCE_SERIES = 200

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description="Benchmark of the daily forecasts.")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--part", choices=["day"], default="day")
    arguments = parser.parse_args()
    with embedded() as postgres:
        filled = taken(lambda: fill(postgres, servers=arguments.servers))
        say(f"{HISTORY} days of {arguments.servers} servers stored in {filled.seconds:.0f} s")
        params = {"servers": arguments.servers}
        figures = in_own_process(days, postgres, arguments.servers, params=params)
    reference = reference_seconds(arguments.servers * (3 + len(MOUNTS)))
    for figure in figures:
        is_time = figure.unit == "s"
        emit("forecast", replace(figure, reference=reference if is_time else None))


def days(postgres: PostgresResource, servers: int) -> list[Figure]:
    """The two days, one of them twice, and what is on disk afterwards."""
    figures = []
    params: dict[str, Any] = {"servers": servers}
    first = LAST - DAY
    for name, start, offset in (("first_day", first, 1), ("day", LAST, 1), ("again", LAST, 2)):
        now = start + offset * DAY + timedelta(minutes=40)
        begun = time.perf_counter()
        done = refresh_forecasts(postgres, start=start, now=now, on_progress=_told)
        seconds = time.perf_counter() - begun
        stored = done.outcome.stored
        assert stored is not None
        say(
            f"{name}: {seconds:.1f} s, of which models {done.seconds:.1f} s; {done.chosen} chosen; "
            f"{stored.new} rows new, {stored.changed} changed of {stored.stored_rows}"
        )
        if name == "again" and (stored.new or stored.changed or stored.deleted):
            msg = f"computing a day again changed {stored.new + stored.changed} rows"
            raise SystemExit(msg)
        counted = {**params, "series": stored.totals["forecast_series"], "chosen": done.chosen}
        figures.append(Figure(f"{name}_seconds", seconds, "s", counted))
        if name == "day":
            figures.append(Figure("day_models_seconds", done.seconds, "s", counted))
    with postgres.connect() as connection:
        row = connection.execute(
            "select sum(pg_total_relation_size(p.partition_name))::float8 "
            "/ (select count(*) from forecast.capacity_forecasts) "
            "from ops.partitions_of('forecast.capacity_forecasts') as p"
        ).fetchone()
    assert row is not None
    figures.append(Figure("bytes_per_row", row[0], "bytes", params))
    return figures


def reference_seconds(series: int) -> float:
    """What fitting each series by itself would take, from some of them."""
    # Not in the measured process: it is no part of what is measured.
    from statsmodels.tsa.api import SimpleExpSmoothing  # noqa: PLC0415

    values = levels(np.random.default_rng(7), count=REFERENCE_SERIES, level=50.0)
    begun = time.perf_counter()
    for row in values:
        SimpleExpSmoothing(row, initialization_method="estimated").fit().forecast(30)
    return (time.perf_counter() - begun) / REFERENCE_SERIES * series


def fill(postgres: PostgresResource, *, servers: int) -> None:
    """61 days of the daily tiers, their states, and the sizes of memory and disk."""
    rng = np.random.default_rng(1)
    register(postgres, servers=servers)
    starts = [LAST - k * DAY for k in reversed(range(HISTORY))]
    with postgres.connect() as connection:
        connection.execute("update inventory.organizations set created_at = %s", (starts[0],))
        connection.execute("update inventory.server_period set valid_from = %s", (starts[0],))
        for table in SOURCES:
            connection.execute(
                "select ops.ensure_partitions(%s::regclass, 'year', %s, %s)",
                (table, starts[0], LAST + DAY),
            )
        connection.execute(
            "insert into raw.server_status (server_id, status, last_attempt_at, "
            "memory_total_bytes, disk_total_bytes) "
            "select server_id, 'healthy', %s, %s, %s from inventory.servers",
            (LAST, 64 * GIB, 300 * GIB),
        )
    values = {
        "cpu_pct": np.clip(levels(rng, count=servers, level=30.0), 0, 100),
        "memory_used_bytes": levels(rng, count=servers, level=32.0) * GIB,
        "disk_used_bytes": levels(rng, count=servers, level=150.0, slope=0.2) * GIB,
    }
    mounts = {m: levels(rng, count=servers, level=60.0, slope=0.1) * GIB for m in MOUNTS}
    ids = np.arange(1, servers + 1, dtype=np.int32)
    for number, start in enumerate(starts):
        with postgres.connect() as connection:
            put_day(connection, start, ids, {n: v[:, number] for n, v in values.items()})
            for mount, used in mounts.items():
                put_mount(connection, start, ids, mount, used[:, number])
            put_organizations(connection, start)
            for table in SOURCES:
                record_window(
                    connection,
                    table,
                    start,
                    revision=1,
                    computed_at=start + DAY,
                    complete_until=start + DAY,
                    row_count=servers,
                    sample_count=2880 * servers,
                )
    with postgres.connect(autocommit=True) as connection:
        connection.execute("vacuum analyze")


def levels(rng: np.random.Generator, *, count: int, level: float, slope: float = 0.0) -> Floats:
    """Series of days: a level, a weekly season, noise that is not white, and growth for some."""
    time_axis = np.arange(HISTORY)[None, :]
    noise = rng.normal(size=(count, HISTORY)) * level * 0.03
    for day in range(1, HISTORY):
        noise[:, day] += 0.6 * noise[:, day - 1]
    season = rng.uniform(0, 0.15, (count, 1)) * level * (time_axis % 7 >= 5)
    grows = rng.uniform(-1, 1, (count, 1)).clip(0, 1) * slope * time_axis
    whole: Floats = level * rng.uniform(0.5, 1.2, (count, 1)) - season + grows + noise
    return np.maximum(whole, 0.0)


def put_day(connection: Any, start: datetime, ids: Any, values: dict[str, Floats]) -> None:
    """A day of tier.metrics_1day."""
    schema = schema_of(TIER_ROWS)
    rows = pl.DataFrame(
        {
            "bucket_start": [start] * len(ids),
            "server_id": ids,
            "organization_id": 1 + ids % ORGANIZATIONS,
            "sample_count": [2880] * len(ids),
            "expected_count": [2880] * len(ids),
            **{
                f"{metric}_{statistic}": values.get(metric, np.zeros(len(ids)))
                for metric in METRICS
                for statistic in STATISTICS
            },
        }
    )
    copy_frame(connection, "tier.metrics_1day", rows.cast(dict(schema)).select(list(schema)))


def put_mount(connection: Any, start: datetime, ids: Any, mount: str, used: Floats) -> None:
    """A day of tier.filesystem_1day of one mount of each server, of 100 GiB."""
    schema = schema_of(FILE_SYSTEM_DAYS)
    whole = np.minimum(used, 99 * GIB)
    known: dict[str, Any] = {
        "bucket_start": [start] * len(ids),
        "used_bytes_avg": whole,
        **{f"used_bytes_{name}": whole.astype(np.int64) for name in ("min", "max", "last")},
        **{f"available_bytes_{n}": 100 * GIB - whole.astype(np.int64) for n in ("min", "last")},
        "total_bytes_last": [100 * GIB] * len(ids),
        "server_id": ids,
        "organization_id": 1 + ids % ORGANIZATIONS,
        "sample_count": [288] * len(ids),
        "measured_count": [288] * len(ids),
        "mount": [mount] * len(ids),
        "device": ["/dev/sda"] * len(ids),
        "type": ["ext4"] * len(ids),
    }
    rows = pl.DataFrame({name: known.get(name, [None] * len(ids)) for name in schema})
    copy_frame(connection, "tier.filesystem_1day", rows.cast(dict(schema)))


def put_organizations(connection: Any, start: datetime) -> None:
    """A day of rollup.organization_metrics_1day; all alike, there are few."""
    schema = schema_of(ROLLUP_ROWS)
    known: dict[str, Any] = {
        "bucket_start": start,
        "sample_count": 2880,
        "expected_count": 2880,
        "cpu_pct_core_sum": 30.0 * 2880 + start.day,
        "cpu_core_sample_count": 2880,
        "cpu_core_count": 8.0,
        "memory_used_bytes": 1e12 + 1e9 * start.day,
        "memory_total_bytes": 2e12,
        "disk_used_bytes": 1e13 + 1e10 * start.day,
        "disk_total_bytes": 2e13,
        "network_in_bytes": 10**12,
        "network_out_bytes": 10**12,
        "server_count": 500,
        "expected_server_count": 500,
        "cpu_pct_max": 100.0,
        "cpu_pct_p95": 80.0,
        "scope": "subtree",
    }
    rows = pl.DataFrame(
        [{**known, "organization_id": number} for number in range(1, ORGANIZATIONS + 1)]
    )
    copy_frame(
        connection, "rollup.organization_metrics_1day", rows.cast(dict(schema)).select(list(schema))
    )


def _told(done: int, total: int) -> None:
    """Progress."""
    if done % 10_000 == 0 or done == total:
        say(f"  {done} of {total} series")


if __name__ == "__main__":
    main()
