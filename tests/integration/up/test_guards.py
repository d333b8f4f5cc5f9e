"""The lock on the database, and an instance made ready, on real PostgreSQL."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from resmon_cli import instance as preparation
from resmon_cli.guards import DaemonLock, Hold
from resmon_resources.embedded_postgres import database_of
from resmon_resources.errors import DatabaseUnreachable, StateUnusable
from resmon_resources.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

SOCKET = "/run/resmon/code.sock"


def test_a_second_supervisor_on_the_database_is_refused(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: two daemons that launch every schedule twice."""
    monkeypatch.setattr("resmon_cli.guards._ACQUIRE_SECONDS", 0.2)
    first, second = DaemonLock(empty_database), DaemonLock(empty_database)
    first.acquire()
    with pytest.raises(StateUnusable, match="resmon up, pid"):
        second.acquire()
    first.release()
    second.acquire()
    assert second.ensure() is Hold.HELD
    second.release()


def test_the_lock_is_taken_again_after_the_session_was_lost(
    empty_database: str, postgres_server: str
) -> None:
    """Would let back: a restart of PostgreSQL after which a second supervisor may start."""
    lock, rival = DaemonLock(empty_database), DaemonLock(empty_database)
    lock.acquire()
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like 'resmon up, pid %%' and datname = %s",
            [database_of(empty_database)],
        )
    assert lock.ensure() is Hold.AWAY
    assert lock.ensure() is Hold.HELD
    assert rival.ensure() is Hold.TAKEN
    lock.release()
    rival.release()


def test_a_session_that_broke_unnoticed_by_the_server_is_no_rival(empty_database: str) -> None:
    """Would let back: a break of the network after which `resmon up` takes its own last session for
    another supervisor, and stops."""
    lock = DaemonLock(empty_database)
    lock.acquire()
    lost, lock._connection = lock._connection, None
    assert lost is not None
    try:
        assert lock.ensure() is Hold.HELD
        with pytest.raises(psycopg.OperationalError):
            lost.execute("select 1")
    finally:
        lost.close()
        lock.release()


def test_a_database_that_is_away() -> None:
    """Would let back: a traceback when PostgreSQL stops between two steps of the start."""
    lock = DaemonLock("postgresql://127.0.0.1:1/none")
    with pytest.raises(DatabaseUnreachable, match="does not answer"):
        lock.acquire()


@pytest.fixture
def dagster_instance(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DagsterInstance]:
    """An instance by the project's dagster.yaml on a database that nobody has used."""
    (tmp_path / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("RESMON_DAGSTER_URL", empty_database)
    monkeypatch.setenv("RESMON_LOG_DIR", str(tmp_path / "logs"))
    with DagsterInstance.get() as instance:
        yield instance


def test_every_component_of_dagster_yaml_can_be_used(dagster_instance: DagsterInstance) -> None:
    """Would let back: a component that passes the configuration check and fails on first use."""
    assert type(dagster_instance.compute_log_manager).__name__ == "LocalComputeLogManager"
    assert type(dagster_instance.run_launcher).__name__ == "DefaultRunLauncher"
    assert type(dagster_instance.run_coordinator).__name__ == "QueuedRunCoordinator"
    assert dagster_instance.run_monitoring_enabled
    queue = dagster_instance.get_concurrency_config()
    assert queue.pool_config.default_pool_limit == 2
    assert queue.run_queue_config is not None
    assert queue.run_queue_config.max_concurrent_runs == -1


def test_pools_exist_before_the_first_run(dagster_instance: DagsterInstance) -> None:
    """Would let back: a first backfill of 200 hours that starts 200 runs at once."""
    assert preparation.create_pools(dagster_instance) == ["batch"]
    storage = dagster_instance.event_log_storage
    assert [(limit.name, limit.limit) for limit in storage.get_pool_limits()] == [("batch", 2)]


def test_a_changed_pool_stays(dagster_instance: DagsterInstance) -> None:
    """Would let back: a limit that a person raised and every start lowers again."""
    dagster_instance.event_log_storage.set_concurrency_slots("batch", 5)
    assert preparation.create_pools(dagster_instance) == []
    (limit,) = dagster_instance.event_log_storage.get_pool_limits()
    assert limit.limit == 5


def add_run(instance: DagsterInstance, status: DagsterRunStatus, **tags: str) -> str:
    run_id = str(uuid.uuid4())
    instance.add_run(DagsterRun(job_name="toy", run_id=run_id, status=status, tags=tags))
    return run_id


def test_runs_without_a_process_are_closed(dagster_instance: DagsterInstance) -> None:
    """Would let back: a run that shows as started for ever, and a collector of an hour long past;
    or a run of somebody else that is reported as failed while it works.
    """
    ours = {preparation.CODE_SERVER_TAG: json.dumps({"host": "localhost", "socket": SOCKET})}
    other = {preparation.CODE_SERVER_TAG: json.dumps({"host": "localhost", "socket": "/x"})}
    odd = {preparation.CODE_SERVER_TAG: "{"}
    expected = {
        add_run(dagster_instance, status, **tags): after
        for status, tags, after in (
            (DagsterRunStatus.STARTED, ours, DagsterRunStatus.FAILURE),
            (DagsterRunStatus.STARTING, ours, DagsterRunStatus.FAILURE),
            (DagsterRunStatus.CANCELING, ours, DagsterRunStatus.CANCELED),
            (DagsterRunStatus.STARTED, other, DagsterRunStatus.STARTED),
            (DagsterRunStatus.STARTED, odd, DagsterRunStatus.STARTED),
            (DagsterRunStatus.STARTED, {}, DagsterRunStatus.STARTED),
            (DagsterRunStatus.NOT_STARTED, {}, DagsterRunStatus.NOT_STARTED),
            (DagsterRunStatus.NOT_STARTED, {"resmon/shard": "0"}, DagsterRunStatus.CANCELED),
        )
    }
    prepared = preparation.prepare(dagster_instance, code_socket=SOCKET)
    assert len(prepared.ended_runs) == 4
    found = {run.run_id: run.status for run in dagster_instance.get_runs()}
    assert found == expected


def test_the_program_says_what_it_did(
    dagster_instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Would let back: a preparation that nobody can follow in instance.log."""
    add_run(dagster_instance, DagsterRunStatus.NOT_STARTED, **{"resmon/shard": "0"})
    monkeypatch.setattr("sys.argv", ["instance", SOCKET])
    preparation.main()
    output = capsys.readouterr().out
    assert "Pool batch created with the limit 2." in output
    assert "Closed 1 runs" in output
