"""What a day of the timetable adds to Dagster's own database, and to its logs on disk.

`make bench-dagster ARGS="--runs 2"`. One JSON line per figure on standard output; machine and
progress on standard error. (A file `dagster.py` here would hide the package from its neighbours.)

Starts `resmon up` with a state folder of its own, so that runs go the way that they go in a
deployment: schedule or sensor, queue, code server, a process of their own. Each job of the code
location that has a schedule, whichever they are, and that of the alerts is launched a few times;
the collector runs until it has recorded its first five minutes. Then everything is stopped but
PostgreSQL, and the rows of those runs are copied, under new run ids, until each job has as many
runs as a day of its cron line has; ticks of schedules and sensors likewise. What the tables and
their indexes have grown by is read from their files after a plain VACUUM. So a day is measured in
bytes on disk, but in minutes.

    run_bytes     of one run in Dagster's database, per job; with its events and their number
    day_bytes     per job, per table and in all: rows, indexes, overlong values
    event_bytes   of one run, per job and type of event, without indexes: what to save on
    log_bytes     compute logs on disk
    kept_bytes    after 14 days, with ticks of skipped sensors kept for one
    prune_*       all of that day pruned at once: seconds, runs, what was repeated, what is missing
"""

import argparse
import os
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import psycopg
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    build_schedule_context,
)
from dagster_graphql import DagsterGraphQLClient
from psycopg import sql

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measuring import Figure, emit, own_home, say, say_machine
from benchmarks.up import STOP_LIMIT_SECONDS, resmon_up, wait_for_database
from resmon_assets.definitions import build_defs
from resmon_assets.retention.history import prune_runs, sweep
from resmon_assets.retention.history_asset import KEEP_DAYS
from resmon_cli.environment import QUIET, service_variables
from resmon_resources.clock import ClockResource
from resmon_resources.embedded_postgres import EmbeddedPostgres
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import open_connection
from resmon_resources.settings import Settings, load_settings

LOCATION = "resmon"
COLLECTOR = "collect_raw_job"
COLLECTOR_RUNS = 24
COLLECTOR_EVENTS = 12
"""Materializations of each raw asset in an hour's run: one per five minutes."""
MOSTLY_SKIPPED: Mapping[str, int] = {"dagster_history_job": 1}
"""Runs a day of jobs whose schedule asks more often than it requests."""
ASKED_BY_SENSORS: Mapping[str, int] = {"alerts_job": 50}
"""Runs a day of jobs that a sensor asks for: a day with trouble, not one on which all is well."""
RUN_LIMIT_SECONDS = 300
REPORT_LIMIT_SECONDS = 420
ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}
TABLES = ("event_logs", "asset_check_executions", "asset_event_tags", "runs", "run_tags")
TICKS = "job_ticks"
PAST_SERVERS = 20


@dataclass(frozen=True)
class Line:
    """A job and how often a day it runs.

    Attributes:
        job: its name.
        runs: of it, in the benchmark.
        runs_per_day: by its schedule.
    """

    job: str
    runs: tuple[str, ...]
    runs_per_day: int


def tell(figure: str, value: float, unit: str, **params: object) -> None:
    """One figure of this benchmark."""
    emit("dagster", Figure(figure, value, unit, params))


def times_a_day(cron: str) -> int:
    """How often a cron line of minutes and hours fires; a line of one day in a month counts."""
    minute, hour = cron.split()[:2]
    return len(_values(minute, 60)) * len(_values(hour, 24))


def _values(field: str, size: int) -> set[int]:
    """The values of one field of a cron line: `*`, `5`, `1-59/5`, `*/15`, lists of those."""
    found: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(\*|\d+)(?:-(\d+))?(?:/(\d+))?", part)
        if match is None:
            msg = f"the cron field {field!r} is not understood"
            raise ValueError(msg)
        first = 0 if match[1] == "*" else int(match[1])
        is_range = match[1] == "*" or match[2] is not None or match[3] is not None
        last = int(match[2]) if match[2] else (size - 1 if is_range else first)
        found |= set(range(first, last + 1, int(match[3] or 1)))
    return found


def runs_per_day(definitions: Definitions) -> dict[str, int]:
    """Runs a day of each job, by its cron line; in the order of the day, those of sensors last.

    What a job reads is then there: the tiers of a day before its forecasts.
    """
    counts: dict[str, int] = {}
    for schedule in sorted(schedules_of(definitions), key=lambda one: _first(_crons(one)[0])):
        total = sum(times_a_day(cron) for cron in _crons(schedule))
        counts[schedule.job_name] = counts.get(schedule.job_name, 0) + total
    of_schedules = {name: MOSTLY_SKIPPED.get(name, count) for name, count in counts.items()}
    return of_schedules | dict(ASKED_BY_SENSORS)


def _crons(schedule: ScheduleDefinition) -> list[str]:
    """The cron lines of a schedule."""
    crons = schedule.cron_schedule
    return [crons] if isinstance(crons, str) else list(crons)


def _first(cron: str) -> tuple[int, int]:
    """Hour and minute at which a cron line fires first in a day."""
    minute, hour = cron.split()[:2]
    return min(_values(hour, 24)), min(_values(minute, 60))


@cache
def code_location() -> Definitions:
    """All definitions, resolved once: Dagster resolves them with the instance of that moment."""
    return build_defs()


def schedules_of(definitions: Definitions) -> Sequence[ScheduleDefinition]:
    """All schedules of the code location."""
    return definitions.get_repository_def().schedule_defs


def request_of(
    schedule: ScheduleDefinition, definitions: Definitions, instance: DagsterInstance
) -> tuple[dict[str, object], str | None]:
    """Run config and partition with which a schedule starts its job; the last ones if it skips."""
    context = build_schedule_context(
        instance=instance,
        # Ten minutes past midnight every schedule has something to request.
        scheduled_execution_time=datetime.now(UTC).replace(hour=0, minute=10),
        resources={"postgres": PostgresResource(), "clock": ClockResource()},
    )
    asked = schedule(context)
    several = asked if isinstance(asked, Iterable) else ()
    requests = [asked] if isinstance(asked, RunRequest) else several
    found = next((r for r in requests if isinstance(r, RunRequest)), RunRequest())
    partitions = definitions.resolve_job_def(schedule.job_name).partitions_def
    partition = found.partition_key or (partitions.get_last_partition_key() if partitions else None)
    return dict(found.run_config), partition


def launch(
    client: DagsterGraphQLClient,
    instance: DagsterInstance,
    job: str,
    *,
    run_config: Mapping[str, object],
    partition: str | None,
) -> str:
    """Start a run through the queue and wait for its end; its id."""
    run_id = client.submit_job_execution(
        job,
        repository_location_name=LOCATION,
        run_config=run_config,
        tags={"dagster/partition": partition} if partition else {},
    )
    deadline = time.monotonic() + RUN_LIMIT_SECONDS
    while (run := instance.get_run_by_id(run_id)) is None or run.status not in ENDED:
        if time.monotonic() > deadline:
            msg = f"the run of {job} did not end in {RUN_LIMIT_SECONDS} s"
            raise SystemExit(msg)
        time.sleep(0.5)
    if run.status is not DagsterRunStatus.SUCCESS:
        say(f"a run of {job} ended as {run.status.value}: its events are counted all the same")
    return run_id


def fill_past(postgres: PostgresResource) -> None:
    """Samples of yesterday and today, so that the jobs have windows to compute.

    The ledger is not told, or the five-minute refresh would begin to catch up with a day.
    """
    now = datetime.now(UTC)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)",
            (start, now),
        )
        connection.execute(
            """insert into raw.server_resource_metrics (server_id, organization_id, collected_at,
                cpu_pct, memory_used_bytes, disk_used_bytes, network_in_bytes, network_out_bytes,
                elapsed_ms)
            select 1000 + n, 1, t, 100 * random(), 8e9 * random(), 1e12 * random(), 1e6 * random(),
                1e6 * random(), 30000
            from generate_series(1, %s) as n,
                generate_series(%s, %s, interval '30 seconds') as t""",
            (PAST_SERVERS, start, now.replace(minute=0, second=0, microsecond=0)),
        )


def run_jobs(settings: Settings, postgres: PostgresResource, *, port: int, runs: int) -> list[Line]:
    """Launch every scheduled job, and wait for the collector's first five minutes."""
    definitions = code_location()
    client = DagsterGraphQLClient("127.0.0.1", port_number=port)
    schedules = {schedule.job_name: schedule for schedule in schedules_of(definitions)}
    lines = []
    with DagsterInstance.get() as instance:
        for job, count in runs_per_day(definitions).items():
            run_config, partition = (
                request_of(schedules[job], definitions, instance)
                if job in schedules
                else ({}, None)
            )
            ids = tuple(
                launch(client, instance, job, run_config=run_config, partition=partition)
                for _ in range(runs)
            )
            lines.append(Line(job, ids, count))
            say(f"{job}: {runs} runs of {partition or 'no partition'}, {count} a day")
        deadline = time.monotonic() + REPORT_LIMIT_SECONDS
        while not (reported := collector_with_report(instance)):
            if time.monotonic() > deadline:
                msg = f"the collector recorded nothing in {REPORT_LIMIT_SECONDS} s"
                raise SystemExit(msg)
            time.sleep(1)
        lines.append(Line(COLLECTOR, (reported,), COLLECTOR_RUNS))
    return lines


def collector_with_report(instance: DagsterInstance) -> str | None:
    """A run of the collector that has recorded what five minutes brought."""
    with open_connection(os.environ["RESMON_DAGSTER_URL"]) as connection:
        row = connection.execute(
            """select e.run_id
            from event_logs as e
            join runs as r on r.run_id = e.run_id
            where r.pipeline_name = %s and e.dagster_event_type = 'ASSET_MATERIALIZATION'
            limit 1""",
            (COLLECTOR,),
        ).fetchone()
    return row[0] if row and instance.get_runs(RunsFilter(run_ids=[row[0]])) else None


@contextmanager
def database_alone(settings: Settings) -> Iterator[psycopg.Connection]:
    """Dagster's database after `resmon up` has ended."""
    server = EmbeddedPostgres(settings)
    server.start()
    try:
        with open_connection(os.environ["RESMON_DAGSTER_URL"], autocommit=True) as connection:
            yield connection
    finally:
        server.stop()


class Day:
    """A day of runs and ticks in Dagster's database, made of measured ones."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        for table in (*TABLES, TICKS):
            connection.execute(sql.SQL("vacuum (full, analyze) {}").format(sql.Identifier(table)))
        self._columns = {table: self._columns_of(table) for table in (*TABLES, TICKS)}
        row = connection.execute("select coalesce(max(id), 0) from asset_event_tags").fetchone()
        self._tags = row[0] if row else 0

    def sizes(self) -> dict[str, int]:
        """Bytes of each table with its indexes, after a plain vacuum."""
        for table in (*TABLES, TICKS):
            self._connection.execute(sql.SQL("vacuum {}").format(sql.Identifier(table)))
        rows = self._connection.execute(
            "select t, pg_total_relation_size(t::regclass) from unnest(%s::text[]) as t",
            ([*TABLES, TICKS],),
        ).fetchall()
        return dict(rows)

    def add_runs(self, line: Line, *, repeat: int = 1) -> int:
        """Copy the runs of a job until there is a day of them; the events added.

        `repeat` copies of each materialization instead of one: of a run that was ended early.
        """
        before = self._count("event_logs")
        for number in range(line.runs_per_day):
            self._copy_run(line.runs[number % len(line.runs)], repeat=repeat)
        return self._count("event_logs") - before

    def add_ticks(self, *, days: float = 1) -> dict[str, int]:
        """Copy the last tick of each schedule and sensor as often as a day has them; by name."""
        definitions = code_location()
        repository = definitions.get_repository_def()
        wanted = {
            schedule.name: sum(
                times_a_day(cron)
                for cron in (
                    [schedule.cron_schedule]
                    if isinstance(schedule.cron_schedule, str)
                    else schedule.cron_schedule
                )
            )
            for schedule in repository.schedule_defs
        } | {
            sensor.name: 86400 // (sensor.minimum_interval_seconds or 30)
            for sensor in repository.sensor_defs
        }
        added = {}
        for name, count in wanted.items():
            row = self._connection.execute(
                "select max(id) from job_ticks where tick_body::jsonb ->> 'instigator_name' = %s",
                (name,),
            ).fetchone()
            if row is None or row[0] is None:
                row = self._connection.execute("select max(id) from job_ticks").fetchone()
            if row is None or row[0] is None:
                msg = "no schedule and no sensor has ticked"
                raise SystemExit(msg)
            self._copy(TICKS, "id = %(id)s", {}, {"id": row[0], "n": round(count * days)})
            added[name] = round(count * days)
        return added

    def event_shares(self, line: Line) -> list[tuple[str, int, float]]:
        """Type, number and bytes (without indexes) of the events of one run, the largest first."""
        return self._connection.execute(
            """select
                coalesce(dagster_event_type, 'log line'),
                count(*) / %(runs)s,
                sum(pg_column_size(e.*))::float8 / %(runs)s
            from event_logs as e
            where run_id = any(%(ids)s)
            group by 1
            order by 3 desc""",
            {"runs": len(line.runs), "ids": list(line.runs)},
        ).fetchall()

    def _count(self, table: str) -> int:
        row = self._connection.execute(
            sql.SQL("select count(*) from {}").format(sql.Identifier(table))
        ).fetchone()
        return row[0] if row else 0

    def _columns_of(self, table: str) -> list[str]:
        """All columns but the id."""
        return [
            name
            for (name,) in self._connection.execute(
                "select column_name from information_schema.columns "
                "where table_schema = 'public' and table_name = %s and column_name <> 'id' "
                "order by ordinal_position",
                (table,),
            )
        ]

    def _copy_run(self, run_id: str, *, repeat: int) -> None:
        """One more run like this, with all that belongs to it."""
        row = self._connection.execute("select gen_random_uuid()::text").fetchone()
        assert row is not None
        values = {"old": run_id, "new": row[0], "n": 1}
        own = {"run_id": "%(new)s::text", "event": "replace(event, %(old)s::text, %(new)s::text)"}
        self._copy("runs", "run_id = %(old)s", {**own, "run_body": _REPLACED_BODY}, values)
        self._copy("run_tags", "run_id = %(old)s", own, values)
        kind = "dagster_event_type is not distinct from 'ASSET_MATERIALIZATION'"
        self._copy("event_logs", f"run_id = %(old)s and not {kind}", own, values)
        once = (
            f"run_id = %(old)s and {kind}"
            if repeat == 1
            else "id in (select max(id) from event_logs "  # noqa: S608 - no value in it
            f"where run_id = %(old)s and {kind} group by asset_key)"
        )
        self._copy("event_logs", once, own, {**values, "n": repeat})
        self._copy("asset_check_executions", "run_id = %(old)s", own, values)
        # The copies name the event of the original: only originals may be copied again.
        tagged = "id <= %(tags)s and event_id in (select id from event_logs where run_id = %(old)s)"
        self._copy("asset_event_tags", tagged, {}, {**values, "n": repeat, "tags": self._tags})

    def _copy(
        self, table: str, where: str, replaced: Mapping[str, str], values: Mapping[str, object]
    ) -> None:
        """Insert the rows of a table again, `n` times, with some columns replaced."""
        columns = self._columns[table]
        text = ", ".join(replaced.get(name, f'"{name}"') for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        self._connection.execute(
            f"insert into {table} ({names}) select {text} from {table}, "  # noqa: S608 - names of Dagster's tables
            f"generate_series(1, %(n)s) where {where} order by {table}.id".encode(),
            values,
        )


_REPLACED_BODY = "replace(run_body, %(old)s::text, %(new)s::text)"


def folder_bytes(folder: Path) -> int:
    """Bytes on disk below a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def print_day(connection: psycopg.Connection, lines: Sequence[Line], logs: Path) -> None:
    """All figures of a day."""
    day = Day(connection)
    shares = {line.job: day.event_shares(line) for line in lines}
    begun = before = day.sizes()
    log_bytes = 0.0
    for line in lines:
        events = day.add_runs(line, repeat=COLLECTOR_EVENTS if line.job == COLLECTOR else 1)
        after = day.sizes()
        grown = sum(after.values()) - sum(before.values())
        before = after
        per_run = grown / line.runs_per_day
        tell("events_per_run", events / line.runs_per_day, "events", job=line.job)
        # Of a job with few runs the figure is coarse: tables grow by pages of 8 KiB.
        tell("run_bytes", per_run, "bytes", job=line.job)
        tell("day_bytes", grown, "bytes", job=line.job, runs_per_day=line.runs_per_day)
        folders = sum(folder_bytes(logs / run_id) for run_id in line.runs) / len(line.runs)
        tell("log_bytes", folders * line.runs_per_day, "bytes", job=line.job)
        log_bytes += folders * line.runs_per_day
        for kind, count, size in shares[line.job]:
            tell("event_bytes", size, "bytes", job=line.job, type=kind, count=count)
    ticks = day.add_ticks()
    tick_bytes = day.sizes()[TICKS] - before[TICKS]
    tell("day_bytes", tick_bytes, "bytes", table=TICKS, ticks=sum(ticks.values()))
    end = day.sizes()
    for table in TABLES:
        tell("day_bytes", end[table] - begun[table], "bytes", table=table)
    database = sum(end.values()) - sum(begun.values())
    tell("day_bytes", database, "bytes", of="database")
    tell("day_bytes", log_bytes, "bytes", of="logs")
    tell("day_bytes", database + log_bytes, "bytes", of="all")
    kept = KEEP_DAYS * (database - tick_bytes + log_bytes) + tick_bytes
    tell("kept_bytes", kept, "bytes", days=KEEP_DAYS)


def print_pruning(url: str) -> None:
    """Prune the whole day at once, as if two weeks had passed."""
    later = datetime.now(UTC) + timedelta(days=1)
    with DagsterInstance.get() as instance:
        before = materialized(instance)
        begun = time.perf_counter()
        pruned = prune_runs(instance, cutoff=later, most=10**6, is_over=lambda: False)
        tell("prune_seconds", time.perf_counter() - begun, "s", runs=pruned.runs)
        begun = time.perf_counter()
        swept = sweep(
            url, cutoff=later, vouched_since=later - timedelta(400), is_over=lambda: False
        )
        tell("sweep_seconds", time.perf_counter() - begun, "s", **swept)
        tell("prune_repeated", pruned.vouched + pruned.repeated_newest, "events")
        tell("prune_missing", len(before - materialized(instance)), "partitions", of=len(before))


def materialized(instance: DagsterInstance) -> set[tuple[str, str]]:
    """Assets and partitions that Dagster calls materialized."""
    return {
        (key.to_user_string(), partition)
        for key in instance.get_asset_keys()
        for partition in instance.event_log_storage.get_materialized_partitions(key)
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A day in Dagster's own database.")
    parser.add_argument("--runs", type=int, default=2, help="of each job")
    parser.add_argument("--web-port", type=int, default=3_940)
    options = parser.parse_args()
    say_machine()
    with (
        tempfile.TemporaryDirectory(prefix="resmon-dagster-") as folder,
        own_home(Path(folder) / "home"),
    ):
        settings = load_settings()
        log = Path(folder) / "up.log"
        os.environ["PYTHONWARNINGS"] = QUIET
        with resmon_up(dict(os.environ), port=options.web_port, log=log) as up:
            postgres = wait_for_database(up, log)
            os.environ.update(service_variables(settings))
            fill_past(postgres)
            lines = run_jobs(settings, postgres, port=options.web_port, runs=options.runs)
            up.send_signal(signal.SIGINT)
            up.wait(STOP_LIMIT_SECONDS)
        with database_alone(settings) as connection:
            print_day(connection, lines, Path(os.environ["RESMON_LOG_DIR"]))
            print_pruning(os.environ["RESMON_DAGSTER_URL"])


if __name__ == "__main__":
    warnings.filterwarnings("ignore", QUIET.removeprefix("ignore:"))
    main()
