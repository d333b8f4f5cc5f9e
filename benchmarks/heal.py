"""A daemon that was away while raw came in out of order: afterwards all tables are as from scratch.

`make bench-heal ARGS="--servers 30 --minutes 2"`; `--minutes 60` is the acceptance test. One JSON
line per figure on standard output, progress on standard error; exit status 1 when a row differs or
something stays stale. Starts the parts of `resmon up` in a temporary folder (PostgreSQL, code
server, daemon, webserver; this machine is collected from), loads a part of the samples of the last
day and a half, ends the daemon, loads the rest shuffled over servers and hours by the collector's
own commits while it is away, starts it again, and waits until the ledger says that nothing is
stale. Then it copies the database, empties all computed tables of the copy, computes them again,
and compares.

    stale_windows        when the daemon started again
    heal_seconds         from that start until nothing was stale
    heal_runs            runs that the catch-up sensor requested in that time
    rows_compared        of each table; rows_differing of them
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
from dagster import DagsterInstance, RunsFilter
from psycopg import sql

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measuring import Figure, emit, own_home, say, say_machine
from resmon_assets.automation import CATCH_UP_TAG, WATCHED, stale_of
from resmon_assets.catch_up import runs_of
from resmon_assets.definitions import build_defs
from resmon_assets.raw.difference import status_of
from resmon_assets.raw.schedule import next_instant
from resmon_cli.database import DataServer
from resmon_cli.environment import prepare_home, service_variables
from resmon_cli.recomputing import execute_run
from resmon_cli.services import Address, Services
from resmon_cli.supervisor import StopSignals
from resmon_cli.up import DEFINITIONS_MODULE
from resmon_resources.collector_registry import request_stop_of_all
from resmon_resources.embedded_postgres import (
    data_url,
    with_database,
)
from resmon_resources.postgres import PostgresResource
from resmon_resources.retention_policy import read_policy
from resmon_resources.sample_store import Sample, commit_batch, ensure_raw_partitions
from resmon_resources.settings import Settings, load_settings
from resmon_resources.window_ledger import StaleWindow

HOUR = timedelta(hours=1)
HOURS = 36
"""Of samples: a whole UTC day is always among them."""

SERVERS_PER_COMMIT = 5
POLL_SECONDS = 5
COPY = "resmon_from_scratch"


@dataclass(frozen=True)
class Deployment:
    """The parts of `resmon up`, each in our hands.

    Attributes:
        settings: of the temporary folder.
        data: PostgreSQL.
        services: code server, daemon, webserver.
        postgres: the data database.
    """

    settings: Settings
    data: DataServer
    services: Services
    postgres: PostgresResource


@contextmanager
def deployment(*, port: int, signals: StopSignals) -> Iterator[Deployment]:
    """Start everything as `resmon up` does, and stop it in its order."""
    os.environ["RESMON_POSTGRES_OS_USER"] = "nobody"
    settings = load_settings()
    prepare_home(settings)
    os.environ.update(service_variables(settings))
    data = DataServer(settings, report=say, is_stopping=lambda: signals.is_requested)
    services = Services(settings, Address("127.0.0.1", port), module=DEFINITIONS_MODULE, report=say)
    try:
        data.start(now=time.monotonic())
        data.bring_up_schema()
        data.register_this_machine()
        services.start(signals)
        yield Deployment(settings, data, services, PostgresResource(dsn=data_url(settings)))
    finally:
        stop_services(services, settings)
        data.stop()


def stop_services(services: Services, settings: Settings) -> None:
    """Stop Dagster in order; may be repeated."""

    def request_stop() -> None:
        with psycopg.connect(data_url(settings)) as connection:
            request_stop_of_all(connection, now=datetime.now(UTC))

    services.stop(request_stop=request_stop, is_hurried=lambda: False)


def register(postgres: PostgresResource, *, servers: int, since: datetime, until: datetime) -> None:
    """Servers that were active in [since, until) and are paused now, so that nobody calls them."""
    with postgres.connect() as connection:
        organizations = connection.execute(
            "insert into inventory.organizations (name, created_at) "
            "select 'bench' || n, %s from generate_series(1, 4) as n returning organization_id",
            (since,),
        ).fetchall()
        for number in range(servers):
            connection.execute(
                "insert into inventory.servers "
                "(organization_id, name, transport, host, created_at, changed_at) "
                "values (%s, %s, 'ssh', '192.0.2.1', %s, %s)",
                (organizations[number % 4][0], f"bench{number}", since, since),
            )
        connection.execute(
            "update inventory.servers set state = 'paused', changed_at = %s "
            "where name like 'bench%%'",
            (until,),
        )


def batches(
    postgres: PostgresResource, *, since: datetime, until: datetime, chance: random.Random
) -> list[list[Sample]]:
    """All samples of [since, until) as commits of a few servers and an hour each, shuffled."""
    with postgres.connect() as connection:
        servers = connection.execute(
            "select server_id, organization_id from inventory.servers "
            "where name like 'bench%%' order by 1"
        ).fetchall()
    made = []
    for first in range(0, len(servers), SERVERS_PER_COMMIT):
        for hour in range((until - since) // HOUR):
            start = since + hour * HOUR
            made.append(
                [
                    sample
                    for server_id, organization_id in servers[first : first + SERVERS_PER_COMMIT]
                    for sample in samples_of(
                        server_id, organization_id, start=start, end=start + HOUR, chance=chance
                    )
                ]
            )
    chance.shuffle(made)
    return made


def samples_of(
    server_id: int, organization_id: int, *, start: datetime, end: datetime, chance: random.Random
) -> Iterator[Sample]:
    """A sample at each scheduled instant of [start, end); one in a hundred is missing."""
    instant = start - timedelta(microseconds=1)
    while (instant := next_instant(instant, server_id=server_id, interval_seconds=30)) < end:
        if chance.random() < 0.01:
            continue
        yield Sample(
            server_id,
            organization_id,
            instant,
            cpu_pct=round(chance.uniform(0, 100), 2),
            cpu_count=4,
            memory_used_bytes=chance.randrange(1 << 22) << 10,
            memory_total_bytes=1 << 32,
            disk_used_bytes=chance.randrange(1 << 26) << 12,
            disk_total_bytes=1 << 38,
            network_in_bytes=chance.randrange(1 << 30),
            network_out_bytes=chance.randrange(1 << 30),
            elapsed_ms=30_000,
        )


def load(
    postgres: PostgresResource,
    commits: Sequence[list[Sample]],
    *,
    seconds: float,
    signals: StopSignals,
) -> None:
    """Commit the batches in their order, as the collector does it, spread over a time."""
    begun = time.monotonic()
    with postgres.connect(autocommit=True) as connection:
        for number, samples in enumerate(commits):
            ensure_raw_partitions(
                connection, start=samples[0].collected_at, end=samples[0].collected_at + HOUR
            )
            commit_batch(
                connection,
                samples=samples,
                failures=[],
                stretches=[],
                status_of=status_of,
                shard=0,
            )
            due = begun + seconds * (number + 1) / len(commits)
            pause(signals, due - time.monotonic())
    pause(signals, begun + seconds - time.monotonic())


def pause(signals: StopSignals, seconds: float) -> None:
    """Sleep; Ctrl-C ends the benchmark, and with it all it started."""
    signals.wait(max(0.0, seconds))
    if signals.is_requested:
        raise SystemExit(130)


def count_stale(postgres: PostgresResource, *, until: datetime) -> dict[str, int]:
    """Stale windows by table that end at or before `until`; tables without any are left out."""
    now = datetime.now(UTC)
    with postgres.connect() as connection:
        policy = read_policy(connection)
        found = {
            watched.table: sum(
                window.start + watched.window <= until
                for window in stale_of(connection, watched, now=now, policy=policy)
            )
            for watched in WATCHED
        }
    return {table: count for table, count in found.items() if count}


def wait_until_healed(
    postgres: PostgresResource, *, until: datetime, limit_seconds: float, signals: StopSignals
) -> bool:
    """Whether nothing before `until` is stale any more within the limit."""
    deadline = time.monotonic() + limit_seconds
    told: Mapping[str, int] | None = None
    while time.monotonic() < deadline:
        stale = count_stale(postgres, until=until)
        if not stale:
            return True
        if stale != told:
            say(f"stale windows: {stale}")
            told = stale
        pause(signals, POLL_SECONDS)
    return False


def count_runs(since: float) -> int:
    """Runs that the catch-up sensor has requested since a time of the system's clock."""
    with DagsterInstance.get() as instance:
        records = instance.get_run_records(
            RunsFilter(created_after=datetime.fromtimestamp(since, UTC))
        )
    return sum(CATCH_UP_TAG in record.dagster_run.tags for record in records)


def copy_database(postgres: PostgresResource) -> PostgresResource:
    """A copy of the database without anything computed; nobody may be connected to the first."""
    url = postgres.url()
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
            "where datname = 'resmon' and pid <> pg_backend_pid()"
        )
        connection.execute(
            sql.SQL("create database {} template resmon").format(sql.Identifier(COPY))
        )
    copy = PostgresResource(dsn=with_database(url, COPY))
    with copy.connect() as connection:
        for table in computed_tables(connection):
            connection.execute(sql.SQL("truncate {}").format(sql.Identifier(*table.split("."))))
        connection.execute("truncate ops.window_state, ops.catch_up")
    return copy


def computed_tables(connection: psycopg.Connection) -> list[str]:
    """Watched assets that are tables with buckets."""
    names = [watched.table for watched in WATCHED]
    rows = connection.execute(
        "select table_schema || '.' || table_name from information_schema.columns "
        "where column_name = 'bucket_start' and table_schema || '.' || table_name = any(%s)",
        (names,),
    ).fetchall()
    known = {row[0] for row in rows}
    return [name for name in names if name in known]


def compute_from_scratch(copy: PostgresResource, *, since: datetime, until: datetime) -> None:
    """Every window of [since, until) of every table, by the same assets, oldest first."""
    definitions = build_defs({"postgres": copy})
    with copy.connect() as connection:
        tables = computed_tables(connection)
    wanted = {
        watched: [
            StaleWindow(start, "unfinished", revision=0)
            for start in watched.windows_between(since, min(until, watched.closed_until(until)))
        ]
        for watched in WATCHED
        if watched.table in tables
    }
    with DagsterInstance.ephemeral() as instance:
        for run in runs_of(wanted):
            if not execute_run(run, definitions, instance):
                msg = f"{run.job_name} from {run.first} failed on the copy"
                raise SystemExit(msg)


def compare(
    postgres: PostgresResource, copy: PostgresResource, table: str, *, until: datetime
) -> tuple[int, int]:
    """Rows before `until` of both databases, and how many of them only one of them has."""
    frames = [rows_of(database, table, until=until) for database in (postgres, copy)]
    names = frames[0].columns
    differing = sum(
        one.join(other, on=names, how="anti", nulls_equal=True).height
        for one, other in (frames, frames[::-1])
    )
    return frames[0].height, differing


def rows_of(postgres: PostgresResource, table: str, *, until: datetime) -> pl.DataFrame:
    """All columns of all rows whose bucket begins before `until`."""
    with postgres.snapshot() as snapshot:
        query = sql.SQL("select * from {} where bucket_start < ").format(
            sql.Identifier(*table.split("."))
        )
        return snapshot.read_frame(f"{query.as_string()}%(until)s", {"until": until})


def measure(options: argparse.Namespace, home: Path) -> bool:
    """Run it and print the figures; whether all is equal."""
    params = {"servers": options.servers, "minutes": options.minutes}
    chance = random.Random(options.seed)  # noqa: S311 - values of a benchmark
    with (
        own_home(home),
        StopSignals().installed() as signals,
        deployment(port=options.web_port, signals=signals) as running,
    ):
        postgres = running.postgres
        end = hour_of(datetime.now(UTC))
        start = end - HOURS * HOUR
        register(postgres, servers=options.servers, since=start, until=end)
        commits = batches(postgres, since=start, until=end, chance=chance)
        before = len(commits) // 3
        say(f"loading {before} of {len(commits)} commits while everything runs")
        load(postgres, commits[:before], seconds=options.warm_seconds, signals=signals)
        say(f"the daemon is away for {options.minutes} minutes, {len(commits) - before} commits")
        running.services.daemon.stop(grace_seconds=20, is_hurried=lambda: False)
        load(postgres, commits[before:], seconds=60 * options.minutes, signals=signals)
        # Hours that a schedule still has its time for are not the catch-up's.
        until = hour_of(datetime.now(UTC) - timedelta(minutes=30))
        emit_stale(params, count_stale(postgres, until=until))
        began, started = time.time(), time.monotonic()
        running.services.daemon.start(now=started)
        is_healed = wait_until_healed(
            postgres, until=until, limit_seconds=60 * options.limit_minutes, signals=signals
        )
        emit("heal", Figure("heal_seconds", time.monotonic() - started, "s", params))
        emit("heal", Figure("heal_runs", count_runs(began), "runs", params))
        if not is_healed:
            say(f"still stale: {count_stale(postgres, until=until)}")
        say("stopping Dagster, and computing a copy from scratch")
        stop_services(running.services, running.settings)
        copy = copy_database(postgres)
        compute_from_scratch(copy, since=start, until=until)
        return compare_all(postgres, copy, params, until=until) and is_healed


def compare_all(
    postgres: PostgresResource,
    copy: PostgresResource,
    params: dict[str, object],
    *,
    until: datetime,
) -> bool:
    """Compare every table and print; whether all are equal and none is empty."""
    with postgres.connect() as connection:
        tables = computed_tables(connection)
    is_equal = True
    for table in tables:
        window = next(watched.window for watched in WATCHED if watched.table == table)
        # Of a day that is not over at `until` nothing can be compared.
        last = until if window == HOUR else until.replace(hour=0)
        rows, differing = compare(postgres, copy, table, until=last)
        emit("heal", Figure("rows_compared", rows, "rows", {**params, "table": table}))
        emit("heal", Figure("rows_differing", differing, "rows", {**params, "table": table}))
        is_equal = is_equal and rows > 0 and differing == 0
    return is_equal


def emit_stale(params: dict[str, object], stale: Mapping[str, int]) -> None:
    """How much there is to heal."""
    for table, count in stale.items():
        emit("heal", Figure("stale_windows", count, "windows", {**params, "table": table}))


def hour_of(moment: datetime) -> datetime:
    """Start of its UTC hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=2, help="how long the daemon is away")
    parser.add_argument("--warm-seconds", type=float, default=60, help="of loading before that")
    parser.add_argument("--limit-minutes", type=float, default=45, help="to heal in")
    parser.add_argument("--seed", type=int, default=1, help="of values and of the order")
    parser.add_argument("--web-port", type=int, default=3_901)
    options = parser.parse_args()
    say_machine()
    with tempfile.TemporaryDirectory(prefix="resmon-heal-") as folder:
        is_equal = measure(options, Path(folder))
    sys.exit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
