"""The look of the alert sensor: what the platform says of itself, and whether something is due.

Belongs here: which facts are gathered and judged in one look. Decisions are in `supervision.py`,
facts of runs in `failed_runs.py`; the sensor itself is in the timetable.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg
from dagster import DagsterInstance
from psycopg.rows import class_row

from resmon_assets.alert.failed_runs import failed_runs, last_successes, words_of_run
from resmon_assets.alert.planner import next_due
from resmon_assets.alert.supervision import (
    PAST_RUNS,
    CollectedServer,
    DeadLetters,
    is_made_good,
    of_collectors,
    of_routes,
    of_runs,
)
from resmon_assets.catch_up import Watched
from resmon_assets.observing import observe
from resmon_assets.raw.schedule import shard_of
from resmon_resources.alert_records import Observation
from resmon_resources.collector_registry import database_started_at
from resmon_resources.errors import ResmonError
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query


@dataclass(frozen=True, slots=True)
class Look:
    """From where and when it is looked.

    Attributes:
        postgres: the data database.
        instance: Dagster's.
        shards: number of shards.
        watched: tables whose windows the ledger knows.
        ignored_jobs: jobs whose failures others watch.
        watching_since: since when it is looked without a gap, aware UTC.
        now: aware UTC.
    """

    postgres: PostgresResource
    instance: DagsterInstance
    shards: int
    watched: Sequence[Watched]
    ignored_jobs: Collection[str]
    watching_since: datetime
    now: datetime


def supervise_platform(look: Look) -> list[str]:
    """Judge collectors, runs and routes, each in a transaction of its own.

    Returns:
        What could not be judged, and why: one that fails keeps neither the others nor the notices
        from their work.
    """
    problems = []
    rules: dict[str, Callable[[psycopg.Connection, Look], list[Observation]]] = {
        "collector_behind": _collectors,
        "run_failed": _runs,
        "delivery_failed": _routes,
    }
    for rule, gather in rules.items():
        try:
            with look.postgres.connect() as connection:
                found = gather(connection, look)
                observe(connection, rule, found, now=look.now, is_complete=True, gone=_GONE[rule])
        except (psycopg.Error, ResmonError) as error:
            problems.append(f"{rule}: {error}")
    return problems


_GONE = {
    "collector_behind": "no server of it is to be collected any more",
    "run_failed": "what failed was computed since, or nobody waits for it any more",
    "delivery_failed": "messages arrive again, or the route is not used any more",
}
"""Why a subject that nothing is said of is over."""


AHEAD = timedelta(seconds=5)
"""A run is asked for so long before something is due: its process takes as long to start. One that
is earlier waits."""


def wait_until_due(connection: psycopg.Connection, *, now: datetime) -> timedelta:
    """How long a run has to wait for what it was asked for; at most `AHEAD`."""
    due = next_due(connection)
    wait = timedelta(0) if due is None else due - now
    return wait if timedelta(0) < wait <= AHEAD else timedelta(0)


def is_due(connection: psycopg.Connection, *, now: datetime) -> bool:
    """Whether somebody is to be told of something, or a message waits for its next attempt."""
    due = next_due(connection)
    if due is not None and due <= now + AHEAD:
        return True
    row = connection.execute(load_query("alert", "has_due_delivery"), {"now": now}).fetchone()
    return row is not None and bool(row[0])


def _collectors(connection: psycopg.Connection, look: Look) -> list[Observation]:
    """What is known of the servers of each shard."""
    rows = connection.execute(load_query("alert", "select_collected_servers")).fetchall()
    servers = [
        CollectedServer(
            0 if look.shards == 1 else shard_of(server_id, look.shards),
            active_since,
            read_at,
            timedelta(seconds=seconds),
        )
        for server_id, active_since, read_at, seconds in rows
    ]
    since = max(look.watching_since, database_started_at(connection))
    return of_collectors(servers, now=look.now, watching_since=since)


def _runs(connection: psycopg.Connection, look: Look) -> list[Observation]:
    """Failed runs that nothing has made good, the newest of each job with its words."""
    failed = failed_runs(
        look.instance, connection, look.watched, now=look.now, ignored=look.ignored_jobs
    )
    succeeded = last_successes(look.instance, {run.job for run in failed if run.is_cured is None})
    left = [run for run in failed if not is_made_good(run, succeeded)]
    newest = {run.job: run for run in sorted(left, key=lambda one: one.at)}
    told = []
    for run in left:
        if newest[run.job] is run:
            reason, details = words_of_run(look.instance, run.run_id)
            told.append(replace(run, reason=reason, details=details))
        else:
            told.append(run)
    return of_runs(told, succeeded, now=look.now)


def _routes(connection: psycopg.Connection, look: Look) -> list[Observation]:
    """Messages that were given up."""
    with connection.cursor(row_factory=class_row(DeadLetters)) as cursor:
        cursor.execute(load_query("alert", "select_dead_letters"), {"since": look.now - PAST_RUNS})
        return of_routes(cursor.fetchall(), now=look.now)
