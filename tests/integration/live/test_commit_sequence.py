"""Numbers of commits and the notices after them, against a real PostgreSQL."""

import json
import logging
import select
import shutil
import threading
import time
from datetime import timedelta

import psycopg
import pytest

from resmon_assets.raw.difference import status_of
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.postgres_connection import load_query
from resmon_resources.sample_store import Committed, Failure
from tests.fixtures_postgres import SQL_PATH
from tests.integration.live.conftest import DAY_BEFORE, NOON, samples_of
from tests.one_database import commit

pytestmark = pytest.mark.integration

HALF_MINUTE = timedelta(seconds=30)


def sequences(connection):
    return connection.execute(
        "select server_id, commit_sequence from raw.server_resource_metrics "
        "order by commit_sequence, server_id"
    ).fetchall()


def position(connection):
    return connection.execute("select resmon.live_position()").fetchone()[0]


def listening(postgres):
    connection = psycopg.connect(postgres.dsn, autocommit=True)
    connection.execute("listen resmon_live")
    return connection


def notices(connection):
    """What has come until a mark that is sent last; notices of a database keep their order."""
    connection.execute("select pg_notify('resmon_live', 'mark')")
    found: list[object] = []
    for notice in connection.notifies(timeout=60):
        if notice.payload == "mark":
            return found
        found.append(json.loads(notice.payload))
    pytest.fail("the mark did not come")


@pytest.fixture
def notify_with(tmp_path, monkeypatch):
    """From then on the statement that notifies is another one."""

    def change(statement):
        folder = tmp_path / f"sql-{statement.split()[1][:8]}"
        shutil.copytree(SQL_PATH, folder)
        (folder / "queries" / "raw" / "notify_live.sql").write_text(statement)
        monkeypatch.setenv("RESMON_SQL_PATH", str(folder))

    return change


@pytest.fixture
def storage(postgres, fleet):
    storage = CollectorStorage(
        postgres,
        shards=[0],
        hour=NOON,
        run_id="run",
        select=lambda server: 0,
        status_of=status_of,
    )
    assert storage.open(NOON) is None
    yield storage
    storage.close()


def test_a_commit_numbers_its_rows_and_tells_of_it(postgres, fleet):
    """Lets back: rows that a consumer cannot tell from those it has, or a notice with values."""
    first, second, third = fleet.all()[0], fleet.all()[3], fleet.all()[6]
    with postgres.connect(autocommit=True) as connection, listening(postgres) as ear:
        assert position(connection) == 0
        assert commit(connection, samples_of([third, first])).commit_sequence == 1
        assert commit(connection, samples_of([second])).commit_sequence == 2
        assert sequences(connection) == [
            (first.server_id, 1),
            (third.server_id, 1),
            (second.server_id, 2),
        ]
        assert position(connection) == 2
        assert notices(ear) == [
            {"sequence": 1, "organizations": [first.organization_id, third.organization_id]},
            {"sequence": 2, "organizations": [second.organization_id]},
        ]


def test_a_failure_numbers_the_status_and_tells_of_it(postgres, fleet):
    """Lets back: a consumer that is not told when a server goes to error."""
    server = fleet.all()[0]
    failure = Failure(server.server_id, server.organization_id, NOON, "timeout", "no answer")
    with postgres.connect(autocommit=True) as connection, listening(postgres) as ear:
        assert commit(connection, failures=[failure]).commit_sequence == 1
        found = connection.execute(
            "select status, commit_sequence from resmon.server_status where server_id = %s",
            [server.server_id],
        ).fetchone()
        assert found == ("error", 1)
        assert commit(connection, failures=[failure]).commit_sequence is None, "nothing new"
        assert notices(ear) == [{"sequence": 1, "organizations": [server.organization_id]}]


def test_what_was_stored_already_takes_no_number_and_wakes_nobody(postgres, fleet):
    """Lets back: two collectors in a handover that wake every consumer for nothing."""
    samples = samples_of(fleet.all())
    with postgres.connect(autocommit=True) as connection, listening(postgres) as ear:
        commit(connection, samples)
        again = commit(connection, samples)
        assert (again.inserted, again.commit_sequence) == (0, None)
        assert position(connection) == 1
        status = connection.execute("select distinct commit_sequence from raw.server_status")
        assert status.fetchall() == [(1,)]
        assert commit(connection, samples_of(fleet.all(), NOON + HALF_MINUTE)).commit_sequence == 2
        assert [notice["sequence"] for notice in notices(ear)] == [1, 2]


def test_nobody_sees_a_number_before_all_below_it(postgres, fleet):
    """Lets back: a row with a lower number that appears after a consumer has read past it."""
    slow_server, quick_server = fleet.all()[0], fleet.all()[1]
    done = []

    def commit_quickly():
        with postgres.connect(autocommit=True) as connection:
            done.append(commit(connection, samples_of([quick_server])))

    with postgres.connect() as slow, postgres.connect(autocommit=True) as reader:
        with slow.transaction():
            commit(slow, samples_of([slow_server]))
            quick = threading.Thread(target=commit_quickly)
            quick.start()
            while not reader.execute(
                "select 1 from pg_stat_activity where %s = any(pg_blocking_pids(pid))",
                [slow.info.backend_pid],
            ).fetchone():
                assert quick.is_alive()
            assert (position(reader), sequences(reader)) == (0, [])
        quick.join(60)
        assert [committed.commit_sequence for committed in done] == [2]
        assert sequences(reader) == [(slow_server.server_id, 1), (quick_server.server_id, 2)]


def test_a_commit_that_fails_leaves_no_gap(postgres, fleet):
    """Lets back: a number that a consumer waits for and nobody will ever store."""
    outside = samples_of(fleet.all()[:1], NOON - timedelta(days=400))
    with postgres.connect(autocommit=True) as connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            commit(connection, outside)
        assert commit(connection, samples_of(fleet.all())).commit_sequence == 1


def test_who_stalls_with_the_number_in_hand_is_ended_by_the_server(postgres, fleet):
    """Lets back: one collector that stands still in a commit and stops all others for an hour."""
    limit = "select current_setting('idle_in_transaction_session_timeout')"
    with postgres.connect(autocommit=True) as connection:
        usual = connection.execute(limit).fetchone()
        with connection.transaction():
            connection.execute(load_query("raw", "advance_commit_counter"))
            assert connection.execute(limit).fetchone() == ("30s",)
        assert connection.execute(limit).fetchone() == usual != ("30s",)


def test_a_collector_that_was_ended_so_comes_back(storage, fleet):
    """Lets back: a collector that dies of it, with all samples that it holds."""

    def stall(connection):
        connection.execute("set idle_in_transaction_session_timeout = '10ms'")
        with connection.transaction():
            connection.execute("select 1")
            select.select([connection.fileno()], [], [], 30)
            connection.execute("select 1")

    assert storage._on_write(stall, now=NOON) is None
    committed = None
    while committed is None:
        committed = storage.commit(samples_of(fleet.all()), [], [], now=NOON)
        time.sleep(0.05)
    assert committed == Committed(inserted=9, duplicates=0)


def test_too_many_organizations_for_a_notice_are_any(postgres, fleet):
    """Lets back: a commit of a large platform whose notice PostgreSQL refuses."""
    with postgres.connect(autocommit=True) as connection, listening(postgres) as ear:
        connection.execute(
            "insert into inventory.organizations (name, created_at) "
            "select 'many-' || n, %s from generate_series(1, 3000) as n",
            [DAY_BEFORE],
        )
        connection.execute(
            "insert into inventory.servers "
            "(organization_id, name, transport, host, created_at, changed_at) "
            "select organization_id, name, 'ssh', 'h', created_at, created_at "
            "from inventory.organizations where name like 'many-%%'",
        )
        rows = connection.execute(
            "select server_id, organization_id from inventory.servers where name like 'many-%'"
        ).fetchall()
        sample = samples_of(fleet.all()[:1])[0]
        many = [type(sample)(server_id, owner, NOON) for server_id, owner in rows]
        committed = commit(connection, many)
        assert (committed.inserted, committed.notify_error) == (3000, None)
        assert notices(ear) == [{"sequence": 1, "organizations": None}]


def test_a_notice_that_fails_does_not_undo_the_commit(
    postgres, storage, fleet, caplog, notify_with
):
    """Lets back: a full queue of notices that makes the collector store everything again."""
    notify_with("select pg_notify('resmon_live', repeat(%(payload)s, 1000))")
    with caplog.at_level(logging.WARNING):
        for count in range(3):
            samples = samples_of(fleet.all(), NOON + count * HALF_MINUTE)
            committed = storage.commit(samples, [], [], now=NOON)
            assert committed == Committed(inserted=9, duplicates=0)
            assert "payload string too long" in committed.notify_error
    with postgres.connect() as connection:
        assert len(sequences(connection)) == 27
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "could not be told" in line]) == 1, lines


def test_a_connection_lost_in_the_notice_loses_and_doubles_nothing(
    postgres, storage, fleet, notify_with, monkeypatch
):
    """Lets back: a batch that counts as not stored because the connection broke after it."""
    notify_with("select pg_terminate_backend(pg_backend_pid()), %(payload)s::text")
    committed = storage.commit(samples_of(fleet.all()), [], [], now=NOON)
    assert committed == Committed(inserted=9, duplicates=0)
    assert committed.commit_sequence == 1
    assert committed.notify_error is not None
    monkeypatch.delenv("RESMON_SQL_PATH")

    samples = samples_of(fleet.all(), NOON + HALF_MINUTE)
    committed = None
    while committed is None:
        committed = storage.commit(samples, [], [], now=NOON)
        time.sleep(0.05)
    assert committed == Committed(inserted=9, duplicates=0)
    assert committed.notify_error is None
    with postgres.connect() as connection:
        assert [number for _, number in sequences(connection)] == [1] * 9 + [2] * 9
