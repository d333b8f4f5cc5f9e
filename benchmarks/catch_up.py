"""Catching up after an outage of the daemon: time and number of runs.

`make bench-catch-up ARGS="--servers 1000 --days 4"`. A JSON line per figure on standard output,
progress on standard error; exit status 1 when a hole is left that raw could fill. Fills raw with
the samples that the collectors would have written, and lets the sensor's own decisions run: each
tick looks at the ledger, and its runs are executed one after the other in this process, by a
Dagster instance on PostgreSQL, until a tick requests nothing.

What that leaves out: in a deployment a run is started by the daemon (8 to 10 s, 4.5 CPU-s each),
the sensor ticks once a minute with two runs in flight, and collection goes on beside it.
`deployment_seconds` adds the start of each run: what is to be expected, not what was measured.

    catch_up_seconds    ticks and runs; reference: PostgreSQL alone computing the hourly tier of
                        the same samples with percentile_cont
    catch_up_runs       of each job
    tick_seconds        the longest tick
    rows, holes         of each table: rows afterwards; windows that are still stale
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from dagster import DagsterInstance
from psycopg import sql

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measuring import Figure, embedded, emit, say, say_machine, taken
from benchmarks.synthetic import HOUR, START, fill, register
from resmon_assets.automation import WATCHED, live_runs, stale_of
from resmon_assets.catch_up import Decision, Watched, decide
from resmon_assets.definitions import build_defs
from resmon_assets.naming import ARCHIVE_RAW, table_of
from resmon_cli.recomputing import execute_run
from resmon_resources import catch_up_ledger
from resmon_resources.clock import ClockResource
from resmon_resources.embedded_postgres import with_database
from resmon_resources.postgres import PostgresResource
from resmon_resources.retention_policy import read_policy
from resmon_resources.window_ledger import StaleWindow

RUN_START_SECONDS = 9.0
"""Of a run started by the daemon, measured with the in-process executor (decision 0001)."""

MAXIMUM_TICKS = 1_000
_REFERENCE = """
select server_id, organization_id, date_trunc('hour', collected_at, 'UTC'), count(*),
    avg(cpu_pct::float8), min(cpu_pct), max(cpu_pct),
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by cpu_pct::float8),
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by memory_used_bytes::float8),
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by disk_used_bytes::float8),
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by network_in_bytes::float8),
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by network_out_bytes::float8)
from raw.server_resource_metrics
group by 1, 2, 3
"""


def stale_windows(
    postgres: PostgresResource, tables: tuple[Watched, ...], days: float
) -> dict[Watched, list[StaleWindow]]:
    """Stale windows of the tables, as the sensor sees them after the outage."""
    now = after(days)
    with postgres.connect() as connection:
        policy = read_policy(connection)
        return {
            watched: [
                window
                for window in stale_of(connection, watched, now=now, policy=policy)
                if window.start >= START
                and window.start + watched.window <= START + days * 24 * HOUR
            ]
            for watched in tables
        }


def after(days: float) -> datetime:
    """The time at which the daemon is back: no schedule has the last hours any more."""
    return START + timedelta(days=days) + 3 * HOUR


def tick(
    postgres: PostgresResource,
    instance: DagsterInstance,
    tables: tuple[Watched, ...],
    days: float,
) -> Decision:
    """One tick of the sensor."""
    stale = stale_windows(postgres, tables, days)
    decision = decide(stale, live=live_runs(instance), now=after(days))
    with postgres.connect() as connection:
        catch_up_ledger.forget_settled(connection)
        attempts = [attempt for run in decision.runs for attempt in run.attempts]
        catch_up_ledger.record_attempts(connection, attempts, now=after(days))
    return decision


def catch_up(
    postgres: PostgresResource,
    instance: DagsterInstance,
    tables: tuple[Watched, ...],
    days: float,
) -> tuple[Counter[str], float]:
    """Tick and run until nothing is requested; runs by job, and the longest tick in seconds."""
    clock = ClockResource(fixed_at=after(days).isoformat())
    definitions = build_defs({"postgres": postgres, "clock": clock})
    runs: Counter[str] = Counter()
    longest = 0.0
    for _ in range(MAXIMUM_TICKS):
        looked = taken(lambda: tick(postgres, instance, tables, days))
        longest = max(longest, looked.seconds)
        decision: Decision = looked.result
        if not decision.runs:
            return runs, longest
        for run in decision.runs:
            is_good = execute_run(run, definitions, instance)
            runs[run.job_name] += 1
            told = "" if is_good else ", FAILED"
            say(f"{run.job_name}: {run.window_count} windows from {run.first:%d %H:%M}{told}")
    msg = f"still stale after {MAXIMUM_TICKS} ticks"
    raise SystemExit(msg)


def dagster_on(postgres: PostgresResource, folder: Path) -> DagsterInstance:
    """An instance whose storage is a database of the same server."""
    url = with_database(postgres.url(), "resmon_dagster")
    return DagsterInstance.local_temp(
        str(folder), overrides={"storage": {"postgres": {"postgres_url": url}}}
    )


def reference_seconds(postgres: PostgresResource) -> float:
    """PostgreSQL alone, the hourly tier of all samples, thrown away."""
    with postgres.connect() as connection:
        connection.execute("set work_mem = '256MB'")
        connection.execute("set jit = off")
        begun = time.perf_counter()
        connection.execute(f"explain analyze {_REFERENCE}".encode())
        return time.perf_counter() - begun


def count_rows(connection: psycopg.Connection, table: str) -> int:
    """Rows of a table."""
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(*table.split(".")))
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """Fill, catch up, print; whether no hole is left."""
    os.environ["RESMON_HOME"] = str(folder)
    params = {"servers": options.servers, "days": options.days}
    # The archive's days are of a stage of their own: what they cost is measured there.
    tables = tuple(w for w in WATCHED if w.table != table_of(ARCHIVE_RAW))
    with embedded() as postgres:
        register(postgres, servers=options.servers)
        hours = round(options.days * 24)
        filled = taken(
            lambda: fill(postgres, servers=options.servers, start=START, hours=hours), postgres
        )
        say(f"{filled.result} samples of {hours} hours in {filled.seconds:.0f} s")
        reference = reference_seconds(postgres) if options.reference else None
        (folder / "dagster").mkdir()
        with dagster_on(postgres, folder / "dagster") as instance:
            work = taken(lambda: catch_up(postgres, instance, tables, options.days), postgres)
        runs, longest = work.result
        emit("catch_up", Figure("catch_up_seconds", work.seconds, "s", params, reference))
        emit("catch_up", Figure("catch_up_cpu_seconds", work.cpu_seconds, "s", params))
        for job, count in sorted(runs.items()):
            emit("catch_up", Figure("catch_up_runs", count, "runs", {**params, "job": job}))
        expected = work.seconds + RUN_START_SECONDS * sum(runs.values())
        emit("catch_up", Figure("deployment_seconds", expected, "s", params))
        emit("catch_up", Figure("tick_seconds", longest, "s", params))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        emit("catch_up", Figure("peak_rss_mib", peak, "MiB", params))
        holes = {w.table: len(s) for w, s in stale_windows(postgres, tables, options.days).items()}
        with postgres.connect() as connection:
            for table, count in holes.items():
                rows = count_rows(connection, table)
                emit("catch_up", Figure("rows", rows, "rows", {**params, "table": table}))
                emit("catch_up", Figure("holes", count, "windows", {**params, "table": table}))
    return not any(holes.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", type=int, default=1_000)
    parser.add_argument("--days", type=float, default=4)
    parser.add_argument("--no-reference", dest="reference", action="store_false")
    options = parser.parse_args()
    say_machine()
    with tempfile.TemporaryDirectory(prefix="resmon-catch-up-") as folder:
        is_whole = measure(options, Path(folder))
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
