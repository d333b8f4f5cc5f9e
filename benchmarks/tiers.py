"""What tiers and rollups cost: an hour, a refresh within it, a day; against percentile_cont.

Run it with `make bench-tiers ARGS="--part hour --servers 2000"`; without --part all parts run. One
JSON line per figure on standard output, progress on standard error. Each part has an embedded
PostgreSQL of its own with the settings that Resmon runs it with, filled from `synthetic.py`, and is
measured in a fresh process, whose peak memory is `peak_rss_mib`. Seconds are wall time from reading
raw to the commit, without Dagster; `..._cpu_seconds` are those of this process and PostgreSQL's
together.

| Part | Measures |
|---|---|
| hour | `hour_seconds`: a closed hour to 1min, 5min, 1hour, into empty tables and unchanged |
| refresh | `refresh_seconds`: five minutes of a running hour to 1min, 5min, median of three |
| day | `day_seconds`: a closed UTC day to 1day |
| rollup | `rollup_seconds`: an hour of 5,000 organizations; reference: the same by PostgreSQL |
| compute | `compute_seconds`: the arithmetic alone; reference: the fastest of three databases |

The reference of a time is what PostgreSQL alone takes on the same rows for the hourly tier of one
hour, its statistics by percentile_cont, into a temporary table. A part is a function of
(postgres, servers) that returns figures, and one line in PARTS.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

import polars as pl
from _compute import DIALECTS, compute_part, statement
from _measuring import Figure, best, embedded, emit, in_own_process, say, taken
from _rollup import rollup_part
from synthetic import HOUR, START, fill, register, samples_of_hour, store

from resmon_assets.frames import PERCENTILES
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_runs import BucketAsset
from resmon_resources.postgres import PostgresResource

MINUTE = timedelta(minutes=1)
FINE, HOURLY, DAILY = TIERS[:2], TIERS[:3], TIERS[3]

EXPRESSIONS = {
    "cpu_pct": "cpu_pct::float8",
    "memory_used_bytes": "memory_used_bytes::float8",
    "disk_used_bytes": "disk_used_bytes::float8",
    "network_in_bytes_per_second": "network_in_bytes / (elapsed_ms / 1000.0::float8)",
    "network_out_bytes_per_second": "network_out_bytes / (elapsed_ms / 1000.0::float8)",
}
"""The tiers' metrics in SQL, for the reference."""


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        measure: of the filled database and the number of servers; runs in a process of its own.
        hours: how many hours of raw are stored from START before it.
    """

    measure: Callable[[PostgresResource, int], list[Figure]]
    hours: int = 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=sorted(PARTS), help="this part alone")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--hours", type=int, default=24, help="hours of raw that part day reads")
    parser.add_argument("--show-sql", action="store_true", help="print the references of compute")
    options = parser.parse_args()
    if options.show_sql:
        print("\n\n".join(f"-- {name}\n{statement(name, width=HOUR)};" for name in DIALECTS))
        return
    for name in [options.part] if options.part else PARTS:
        part = PARTS[name]
        hours = options.hours if name == "day" else part.hours
        params = {"part": name, "servers": options.servers, "hours": hours}
        with embedded() as postgres:
            say(f"part {name}: storing {hours} h of {options.servers} servers")
            register(postgres, servers=options.servers)
            if hours:
                fill(postgres, servers=options.servers, start=START, hours=hours)
            say(f"part {name}: measuring")
            figures = in_own_process(part.measure, postgres, options.servers, params=params)
            reference = reference_seconds(postgres)
        for figure in figures:
            is_time = figure.name.endswith("_seconds") and "cpu" not in figure.name
            emit(
                "tiers",
                Figure(
                    figure.name,
                    figure.value,
                    figure.unit,
                    params | figure.params,
                    reference if is_time and figure.reference is None else figure.reference,
                ),
            )
            say(f"{figure.name} {figure.value:.3f} {figure.unit} {figure.params}")


def hour_part(postgres: PostgresResource, servers: int) -> list[Figure]:
    """A closed hour to its three tiers, twice."""
    figures = []
    for state in ("empty", "unchanged"):
        figures += refreshed(postgres, "hour", HOURLY, now=START + HOUR, params={"tables": state})
        vacuum(postgres)
    return figures


def refresh_part(postgres: PostgresResource, servers: int) -> list[Figure]:
    """Three times five minutes of a running hour, after the first 30 have been computed."""
    samples = samples_of_hour(servers=servers, hour=START)
    arrived = START + 31 * MINUTE
    store(postgres, samples.filter(pl.col("collected_at") < arrived))
    refreshed(postgres, "refresh", FINE, now=arrived, params={})
    vacuum(postgres)
    runs: list[list[Figure]] = []
    for _ in range(3):
        more = arrived + 5 * MINUTE
        store(postgres, samples.filter(pl.col("collected_at").is_between(arrived, more, "left")))
        arrived = more
        runs.append(refreshed(postgres, "refresh", FINE, now=arrived, params={}))
    return [
        Figure(one[0].name, median(figure.value for figure in one), one[0].unit, one[0].params)
        for one in zip(*runs, strict=True)
    ]


def day_part(postgres: PostgresResource, servers: int) -> list[Figure]:
    """A closed day to the daily tier."""
    return refreshed(postgres, "day", [DAILY], now=START + 24 * HOUR, params={})


PARTS = {
    "hour": Part(hour_part),
    "refresh": Part(refresh_part, hours=0),
    "day": Part(day_part, hours=24),
    "rollup": Part(rollup_part, hours=0),
    "compute": Part(compute_part, hours=0),
}


def refreshed(
    postgres: PostgresResource,
    name: str,
    tiers: Sequence[BucketAsset],
    *,
    now: Any,
    params: dict[str, Any],
) -> list[Figure]:
    """Refresh the window at START of some tiers; the seconds in all, and those of each."""
    figures: list[Figure] = []
    seconds = cpu_seconds = 0.0
    for tier in tiers:
        table = tier.table
        done = taken(lambda: refresh_window(postgres, table, start=START, now=now), postgres)  # noqa: B023 - called at once
        written = done.result.stored
        assert written is not None
        rows = written.new + written.changed + written.deleted
        seconds += done.seconds
        cpu_seconds += done.cpu_seconds
        told = params | {"tier": table.name}
        figures.append(Figure("tier_seconds", done.seconds, "s", told))
        figures.append(Figure("rows_written", rows, "rows", told))
    return [
        Figure(f"{name}_seconds", seconds, "s", params),
        Figure(f"{name}_cpu_seconds", cpu_seconds, "s", params),
        *figures,
    ]


def vacuum(postgres: PostgresResource) -> None:
    """What autovacuum does within minutes."""
    with postgres.connect(autocommit=True) as connection:
        for tier in TIERS:
            connection.execute(f"vacuum analyze {tier.table.name}".encode())


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
    literal = query % (f"'{START.isoformat()}'", f"'{(START + HOUR).isoformat()}'")
    with postgres.connect() as connection:
        connection.execute("set work_mem = '256MB'")

        def compute() -> None:
            connection.execute("drop table if exists reference")
            connection.execute(literal.encode())

        seconds = best(compute)[0]
    say(f"percentile_cont, hourly tier: {seconds:.2f} s")
    return seconds


if __name__ == "__main__":
    main()
