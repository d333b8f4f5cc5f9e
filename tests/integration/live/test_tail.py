"""The consumer of docs/live.md, run as a program: every row once and in order, whatever happens."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from resmon_resources.embedded_postgres import database_of
from resmon_resources.settings import PROJECT_ROOT
from tests.integration.live.conftest import DAY_BEFORE, NOON, samples_of
from tests.one_database import commit

pytestmark = pytest.mark.integration

PROGRAM = PROJECT_ROOT / "docs" / "examples" / "tail.py"
PATIENCE_SECONDS = 60.0
HALF_MINUTE = timedelta(seconds=30)


class Tail:
    """The program, and what it has printed so far."""

    def __init__(self, *arguments, **variables):
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.rows: list[dict] = []
        self.told: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_rows, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_rows(self):
        for line in self.process.stdout:
            self.rows.append(json.loads(line))

    def _read_errors(self):
        for line in self.process.stderr:
            self.told.append(line)

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert self.process.poll() is None, "".join(self.told)
            assert time.monotonic() < deadline, f"{what}; {len(self.rows)} rows, {self.told}"
            time.sleep(0.02)

    def end(self):
        self.process.terminate()
        self.process.wait(60)
        for reader in self._readers:
            reader.join(60)
        self.process.stdout.close()
        self.process.stderr.close()


@contextlib.contextmanager
def tail(*arguments, **variables) -> Iterator[Tail]:
    program = Tail(*arguments, **variables)
    try:
        yield program
    finally:
        program.end()


def printed(program):
    return [
        (row["commit_sequence"], row["server_id"], datetime.fromisoformat(row["collected_at"]))
        for row in program.rows
    ]


def stored(connection, server_ids):
    return connection.execute(
        "select commit_sequence, server_id, collected_at from raw.server_resource_metrics "
        "where server_id = any(%s) order by commit_sequence, server_id, collected_at",
        [server_ids],
    ).fetchall()


def listeners(connection):
    return [
        pid
        for (pid,) in connection.execute(
            "select pid from pg_stat_activity where application_name = 'resmon-tail' "
            "and datname = current_database()"
        ).fetchall()
    ]


def disconnect(connection):
    for pid in listeners(connection):
        connection.execute("select pg_terminate_backend(%s)", [pid])


def commit_many(postgres, fleet, *, first, count, failed):
    """Commits of all servers and of some, with instants of their own, one batch of them late."""
    try:
        with postgres.connect(autocommit=True) as connection:
            for number in range(first, first + count):
                day = DAY_BEFORE if number % 5 == 0 else NOON
                servers = fleet.all() if number % 3 else fleet.servers["other"]
                commit(connection, samples_of(servers, day + number * HALF_MINUTE))
    except Exception as error:  # noqa: BLE001 - shown by the test, which runs elsewhere
        failed.append(error)


@contextlib.contextmanager
def closed_to_new_connections(postgres_server, postgres):
    """Who has a connection keeps it; nobody gets another one."""
    change = sql.SQL("alter database {} allow_connections {}")
    name = sql.Identifier(database_of(postgres.dsn))
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(change.format(name, sql.SQL("false")))
        try:
            yield
        finally:
            connection.execute(change.format(name, sql.SQL("true")))


@pytest.mark.slow
def test_every_row_of_the_organization_once_and_in_order(postgres, postgres_server, fleet):
    """Lets back: rows lost between two committers, in a slow transaction, or while disconnected.

    Two committers at once, a third one whose transaction stays open meanwhile, lost connections,
    and commits of which the consumer cannot know while it is away, late ones among all of them.
    """
    failed: list[Exception] = []
    ours = fleet.ids("acme", "acme-eu")
    with (
        postgres.connect(autocommit=True) as watcher,
        tail(postgres.dsn, "--organization", "acme", "--after", "0") as program,
    ):
        program.until(lambda: listeners(watcher), "it connects")
        committers = [
            threading.Thread(
                target=commit_many,
                args=(postgres, fleet),
                kwargs={"first": first, "count": 40, "failed": failed},
            )
            for first in (0, 100)
        ]
        with postgres.connect(autocommit=True) as slow, slow.transaction():
            commit(slow, samples_of(fleet.all(), NOON + 300 * HALF_MINUTE))
            for committer in committers:
                committer.start()
            blocked = (
                "select count(*) from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0"
            )
            program.until(lambda: watcher.execute(blocked).fetchone() == (2,), "both wait")
            disconnect(watcher)
        while any(committer.is_alive() for committer in committers):
            program.until(lambda: listeners(watcher), "it connects again")
            disconnect(watcher)
        for committer in committers:
            committer.join(60)
        assert failed == []
        program.until(lambda: len(program.rows) == len(stored(watcher, ours)), "it catches up")

        with closed_to_new_connections(postgres_server, postgres):
            told = len(program.told)
            disconnect(watcher)
            program.until(lambda: len(program.told) > told + 1, "it notices, and tries again")
            for number in range(400, 410):
                late = DAY_BEFORE if number % 2 else NOON
                commit(watcher, samples_of(fleet.all(), late + number * HALF_MINUTE))
        expected = stored(watcher, ours)
        program.until(lambda: len(program.rows) >= len(expected), "it comes back")
        commit(watcher, samples_of(fleet.servers["acme"], NOON + 500 * HALF_MINUTE))
        expected = stored(watcher, ours)
        program.until(lambda: len(program.rows) >= len(expected), "it is told again")
    assert printed(program) == expected
    assert len(expected) == len(set(expected)) > 300


def test_a_commit_of_too_many_organizations_to_name_is_looked_at(postgres, fleet):
    """Lets back: a consumer that takes null for none, and is late by its own look."""
    with (
        postgres.connect(autocommit=True) as connection,
        tail(postgres.dsn, "--organization", "acme", "--after", "0") as program,
    ):
        program.until(lambda: listeners(connection), "it connects")
        # What it was told of by name proves that it waits for notices, and does not only look.
        commit(connection, samples_of(fleet.servers["acme"]))
        program.until(lambda: len(program.rows) == 3, "it is told")
        connection.execute("update ops.commit_counter set value = value + 1")
        connection.execute(
            "insert into raw.server_resource_metrics "
            "(collected_at, server_id, organization_id, commit_sequence) values (%s, 4, %s, 2)",
            [NOON, fleet.organization_id("acme-eu")],
        )
        begun = time.monotonic()
        connection.execute(
            """select pg_notify('resmon_live', '{"sequence": 2, "organizations": null}')"""
        )
        program.until(lambda: len(program.rows) == 4, "it looks")
        assert time.monotonic() - begun < 5, "below LOOK_SECONDS"


def test_it_looks_by_itself_when_the_notice_failed(postgres, fleet):
    """Lets back: a row that waits for the next notice, which may never come."""
    with (
        postgres.connect(autocommit=True) as connection,
        tail(postgres.dsn, "--after", "0") as program,
    ):
        program.until(lambda: listeners(connection), "it connects")
        connection.execute("update ops.commit_counter set value = 1")
        connection.execute(
            "insert into raw.server_resource_metrics "
            "(collected_at, server_id, organization_id, commit_sequence) values (%s, 1, 1, 1)",
            [NOON],
        )
        program.until(lambda: len(program.rows) == 1, "it looks")


def test_it_begins_with_what_is_new(postgres, fleet):
    """Lets back: a consumer that prints a week when it is started."""
    with postgres.connect(autocommit=True) as connection:
        commit(connection, samples_of(fleet.all()))
        with tail(postgres.dsn, "--organization", "other") as program:
            program.until(
                lambda: connection.execute(
                    "select 1 from pg_stat_activity where application_name = 'resmon-tail' "
                    "and state = 'idle' and query like %s",
                    ["%organization_subtree%"],
                ).fetchone(),
                "it waits",
            )
            commit(connection, samples_of(fleet.all(), NOON + HALF_MINUTE))
            program.until(lambda: len(program.rows) >= 3, "it is told")
        assert printed(program) == stored(connection, fleet.ids("other"))[3:]


def test_without_a_connection_string_it_is_that_of_the_environment(postgres, fleet):
    """Lets back: `resmon exec -- python docs/examples/tail.py` that finds no database."""
    given = conninfo_to_dict(postgres.dsn)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    variables = {names[key]: str(value) for key, value in given.items() if key in names}
    with (
        postgres.connect(autocommit=True) as connection,
        tail("--after", "0", **variables) as program,
    ):
        commit(connection, samples_of(fleet.all()))
        program.until(lambda: len(program.rows) == 9, "it is told, or looks")


def test_an_organization_that_does_not_exist_is_said(postgres):
    """Lets back: a consumer that waits for ever for a name with a typing error."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), postgres.dsn, "--organization", "acmee"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "There is no organization acmee, or this role may not see it.\n"
