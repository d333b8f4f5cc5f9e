"""What the tiers cost: read, compute and write an hour of a fleet, against percentile_cont.

Run it with `make bench-tiers ARGS="--servers 2000"`. One JSON line per figure on standard output;
progress on standard error. Starts an embedded PostgreSQL of its own with the settings that Resmon
runs it with, and removes it at the end.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from resmon_assets.frames import INSTANT, PERCENTILES, RAW_SAMPLES, TIER_INPUT, schema_of
from resmon_assets.raw.schedule import phase_ms
from resmon_assets.tier.expectation import complete, expected_counts
from resmon_assets.tier.refresh import compute_window, read_periods, read_slice
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.tiers import TIERS
from resmon_assets.windows import store_window
from resmon_resources import migrations
from resmon_resources.embedded_postgres import ROOT_STATE, EmbeddedPostgres
from resmon_resources.postgres import PostgresResource, copy_frame
from resmon_resources.settings import load_settings

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
INTERVAL_SECONDS = 30

EXPRESSIONS = {
    "cpu_pct": "cpu_pct::float8",
    "memory_used_bytes": "memory_used_bytes::float8",
    "disk_used_bytes": "disk_used_bytes::float8",
    "network_in_bytes_per_second": "network_in_bytes / (elapsed_ms / 1000.0::float8)",
    "network_out_bytes_per_second": "network_out_bytes / (elapsed_ms / 1000.0::float8)",
}
"""The tiers' metrics in SQL, for the reference."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--hours", type=int, default=1, help="hours of raw that the day tier reads")
    options = parser.parse_args()
    with embedded() as postgres:
        say(f"filling {options.hours} h of {options.servers} servers")
        seconds = timed(lambda: fill(postgres, servers=options.servers, hours=options.hours))[0]
        say(f"filled in {seconds:.1f} s")
        for asset in TIERS:
            name = asset.table.name.removeprefix("tier.metrics_")
            params = {"servers": options.servers, "tier": name}
            if asset.table.window > HOUR:
                params["hours"] = options.hours
            figures = measure(postgres, asset.table)
            reference = reference_seconds(postgres) if name == "1hour" else None
            for figure, value in figures.items():
                emit(figure, value, params, reference if figure == TOTAL else None)
        for table, size in bytes_per_row(postgres).items():
            emit("bytes_per_row", size, {"servers": options.servers, "table": table})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    emit("peak_memory_bytes", peak, {"servers": options.servers, "hours": options.hours})


TOTAL = "total_seconds"


def measure(postgres: PostgresResource, tier: Any) -> dict[str, float]:
    """Seconds of each phase of one window, first and again."""
    end = DAY + tier.window
    now = end + HOUR
    figures: dict[str, float] = {}
    if tier.window == HOUR:
        with postgres.snapshot() as snapshot:
            figures["read_seconds"], raw = best(
                lambda: read_slice(snapshot, start=DAY, end=end, first=0, last=2**31 - 1)
            )
            periods = read_periods(snapshot, start=DAY, end=end)
        figures["compute_seconds"] = best(
            lambda: complete(
                bucket_statistics(raw, width=tier.width),
                expected_counts(periods, start=DAY, end=end, width=tier.width),
            )
        )[0]
        del raw
    with postgres.snapshot() as snapshot:
        figures["read_and_compute_seconds"], computed = best(
            lambda: compute_window(snapshot, tier, start=DAY, closed_until=end)
        )

    def write() -> Any:
        return store_window(
            postgres,
            tier,
            computed.rows,
            revision=computed.revision,
            sample_count=computed.sample_count,
            start=DAY,
            closed_until=end,
            now=now,
        )

    figures["write_seconds"], written = timed(write)
    figures[TOTAL] = figures["read_and_compute_seconds"] + figures["write_seconds"]
    assert written.new == computed.rows.height
    figures["write_again_seconds"], written = timed(write)
    assert (written.new, written.changed, written.deleted) == (0, 0, 0)
    figures["rows"] = computed.rows.height
    say(f"{tier.table}: {figures}")
    return figures


def bytes_per_row(postgres: PostgresResource) -> dict[str, float]:
    """Bytes on disk of a row of raw and of each tier, indexes included, after a vacuum."""
    names = ["raw.server_resource_metrics", *(asset.table.name for asset in TIERS)]
    sizes: dict[str, float] = {}
    with postgres.connect(autocommit=True) as connection:
        for name in names:
            connection.execute(f"vacuum analyze {name}".encode())
            row = connection.execute(
                "select sum(pg_total_relation_size(relid)) from pg_partition_tree(%s)", (name,)
            ).fetchone()
            count = connection.execute(f"select count(*) from {name}".encode()).fetchone()  # noqa: S608 - names of ours
            if row is not None and count is not None and count[0]:
                sizes[name] = float(row[0]) / count[0]
    say(f"bytes per row: {sizes}")
    return sizes


def reference_seconds(postgres: PostgresResource) -> float:
    """The hourly tier made by PostgreSQL alone: the same statistics, written to a table."""
    columns = ", ".join(
        f"{expression}::real as {metric}_{name}"
        for metric, value in EXPRESSIONS.items()
        for name, expression in {
            **{kind: f"{kind}({value})" for kind in ("avg", "min", "max")},
            **{
                p: f"percentile_cont({q}) within group (order by {value})"
                for p, q in PERCENTILES.items()
            },
        }.items()
    )
    query = (
        "create temporary table reference as select date_trunc('hour', collected_at, 'UTC') as "  # noqa: S608 - names of ours
        f"bucket_start, server_id, organization_id, count(*) as sample_count, {columns} "
        "from raw.server_resource_metrics where collected_at >= %s and collected_at < %s "
        "group by 1, 2, 3"
    )
    literal = query % (f"'{DAY.isoformat()}'", f"'{(DAY + HOUR).isoformat()}'")
    with postgres.connect() as connection:
        connection.execute("set work_mem = '256MB'")

        def compute() -> None:
            connection.execute("drop table if exists reference")
            connection.execute(literal.encode())

        seconds = best(compute)[0]
    say(f"percentile_cont, hourly tier: {seconds:.2f} s")
    return seconds


def fill(postgres: PostgresResource, *, servers: int, hours: int) -> None:
    """An inventory, and raw in the order in which a collector writes it."""
    random = np.random.default_rng(1)
    with postgres.connect() as connection:
        connection.execute(
            "insert into inventory.organizations (name, created_at) "
            "select 'org' || n, %s from generate_series(1, 20) as n",
            (DAY - HOUR,),
        )
        connection.execute(
            "insert into inventory.servers "
            "(organization_id, name, transport, host, created_at, changed_at) "
            "select 1 + n %% 20, 'server' || n, 'ssh', 'host' || n, %s, %s "
            "from generate_series(1, %s) as n",
            (DAY - HOUR, DAY - HOUR, servers),
        )
        connection.execute(
            "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)",
            (DAY, DAY + timedelta(days=1)),
        )
    fleet = pl.DataFrame(
        {
            "server_id": range(1, servers + 1),
            "organization_id": [1 + n % 20 for n in range(1, servers + 1)],
            "phase": [phase_ms(n, INTERVAL_SECONDS) for n in range(1, servers + 1)],
        },
        schema={"server_id": pl.Int32, "organization_id": pl.Int32, "phase": pl.Int64},
    )
    ticks = HOUR // timedelta(seconds=INTERVAL_SECONDS)
    for hour in range(hours):
        count = servers * ticks
        moments = pl.DataFrame({"tick": range(ticks)}, schema={"tick": pl.Int64})
        frame = (
            moments.join(fleet, how="cross")
            .with_columns(
                collected_at=(
                    pl.lit(DAY + hour * HOUR).dt.cast_time_unit("us").dt.epoch("us")
                    + pl.col("tick") * INTERVAL_SECONDS * 1_000_000
                    + pl.col("phase") * 1000
                ).cast(INSTANT),
                cpu_pct=pl.Series(random.random(count) * 100),
                memory_used_bytes=pl.Series(random.integers(1 << 30, 1 << 38, count)),
                disk_used_bytes=pl.Series(random.integers(1 << 33, 1 << 42, count)),
                network_in_bytes=pl.Series(random.integers(0, 1 << 32, count)),
                network_out_bytes=pl.Series(random.integers(0, 1 << 32, count)),
                elapsed_ms=pl.Series(random.integers(29_900, 30_100, count)),
            )
            .sort("collected_at")
            .select(TIER_INPUT)
            .cast(schema_of(RAW_SAMPLES, only=TIER_INPUT))
        )
        with postgres.connect() as connection:
            copy_frame(connection, "raw.server_resource_metrics", frame)
            connection.execute("select ops.bump_raw_hour(%s, 0)", (DAY + hour * HOUR,))
        say(f"hour {hour + 1} of {hours} filled")
    with postgres.connect(autocommit=True) as connection:
        connection.execute("vacuum analyze raw.server_resource_metrics")


@contextmanager
def embedded() -> Iterator[PostgresResource]:
    """A migrated embedded PostgreSQL in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="resmon-bench-") as home:
        settings = load_settings({"RESMON_HOME": home, "RESMON_POSTGRES_OS_USER": "nobody"})
        server = EmbeddedPostgres(settings)
        server.start()
        try:
            server.ensure_databases()
            postgres = PostgresResource(dsn=server.url("resmon"))
            with postgres.connect() as connection:
                migrations.apply(connection, load_settings().sql_path, report=lambda _: None)
            yield postgres
        finally:
            server.stop()
            shutil.rmtree(server.data_directory, ignore_errors=True)
            shutil.rmtree(server.socket_directory, ignore_errors=True)
            if os.geteuid() == 0 and ROOT_STATE.is_dir() and not any(ROOT_STATE.iterdir()):
                ROOT_STATE.rmdir()


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """The quickest of three, because other work on the machine only ever adds; and its result."""
    return min((timed(work) for _ in range(3)), key=lambda taken: taken[0])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `work` took, and its result."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def emit(figure: str, value: float, params: dict[str, Any], reference: float | None = None) -> None:
    """One figure as a JSON line."""
    units = {"rows": "rows", "peak_memory_bytes": "bytes", "bytes_per_row": "bytes"}
    unit = units.get(figure, "s")
    line = {
        "benchmark": "tiers",
        "figure": figure,
        "params": params,
        "value": round(value, 3),
        "unit": unit,
        "reference": None if reference is None else round(reference, 3),
    }
    print(json.dumps(line), flush=True)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
