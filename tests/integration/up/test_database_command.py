"""`resmon db` and `resmon exec` on a real embedded server, and the queries of the live table."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from resmon_cli import database
from resmon_cli.database import DataServer, StopRequested
from resmon_cli.guards import HomeLock
from resmon_cli.live import read_fleet, read_servers
from resmon_cli.main import cli
from resmon_cli.up import FleetReader
from resmon_resources import inventory
from resmon_resources.embedded_postgres import data_url
from resmon_resources.errors import ConfigurationInvalid, SchemaOutdated, StateUnusable
from resmon_resources.postgres import PostgresResource
from resmon_resources.settings import PROJECT_ROOT, Settings

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def resmon(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, because psql and exec replace it."""
    return subprocess.run(
        [sys.executable, "-c", "from resmon_cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=150,
    )


@pytest.mark.slow
def test_the_database_alone_serves_psql_and_dagster(settings: Settings) -> None:
    """Would let back: work without `resmon up` that needs a step which nobody wrote down, or a pool
    without its limit.
    """
    started = CliRunner().invoke(cli, ["db", "start"])
    assert started.exit_code == 0, started.output
    assert "This machine is the first server" in started.output

    psql = resmon("db", "psql", "-Atc", "select transport from inventory.servers")
    assert psql.stdout == "local\n", psql.stderr
    pools = resmon("exec", "--", "dagster", "instance", "concurrency", "get", "batch")
    assert '"batch": 0 / 2 slots occupied' in pools.stdout, pools.stderr
    made = resmon(
        *("exec", "--", "dagster", "asset", "materialize", "-m", "toy_definitions"),
        *("--select", "toy_number"),
        cwd=PROJECT_ROOT,
    )
    assert made.returncode == 0, made.stderr
    assert "RUN_SUCCESS" in made.stderr

    with HomeLock(settings.home / "up.lock"):
        refused = CliRunner().invoke(cli, ["db", "stop"])
    assert isinstance(refused.exception, StateUnusable)
    stopped = CliRunner().invoke(cli, ["db", "stop"])
    assert stopped.output == "PostgreSQL stopped.\n"
    again = CliRunner().invoke(cli, ["db", "stop"])
    assert again.output == "The embedded PostgreSQL is not running.\n"


def test_an_external_server_is_not_ours_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: `resmon db stop` that stops a database which other programs use."""
    monkeypatch.setenv("RESMON_POSTGRES_DSN", "postgresql://db.invalid/fleet")
    for command in ("start", "stop"):
        outcome = CliRunner().invoke(cli, ["db", command])
        assert isinstance(outcome.exception, ConfigurationInvalid)


def test_migrate_and_check(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a check that changes something, or a second run that is not a no-op."""
    monkeypatch.setenv("RESMON_POSTGRES_DSN", empty_database)
    pending = CliRunner().invoke(cli, ["db", "migrate", "--check"])
    assert isinstance(pending.exception, SchemaOutdated)
    assert pending.exit_code == 1
    first = CliRunner().invoke(cli, ["db", "migrate"])
    assert first.exit_code == 0
    assert "0001" in first.output
    second = CliRunner().invoke(cli, ["db", "migrate"])
    assert second.output == "The schema is current; nothing to do.\n"
    current = CliRunner().invoke(cli, ["db", "migrate", "--check"])
    assert current.output == "The schema is current.\n"


def test_an_external_database_is_checked_and_left_alone(
    postgres: PostgresResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: `up` on a server of the customer that migrates or stops it."""
    monkeypatch.setattr(database, "ensure_dagster_database", lambda _: None)
    settings = database.load_settings({"RESMON_POSTGRES_DSN": postgres.dsn})
    lines: list[str] = []
    server = DataServer(settings, report=lines.append, is_stopping=lambda: False)
    server.start(now=0.0)
    server.bring_up_schema()
    server.watch(now=1.0)
    server.register_this_machine()
    server.stop()
    assert len(lines) == 1
    with postgres.connect() as connection:
        assert len(inventory.list_servers(connection)) == 1


def test_the_wait_for_a_recovery_can_be_ended(settings: Settings) -> None:
    """Would let back: Ctrl-C that is not heard while PostgreSQL replays an hour of its log."""
    lines: list[str] = []
    is_stopping = False
    server = DataServer(settings, report=lines.append, is_stopping=lambda: is_stopping)
    server._on_progress("PostgreSQL is starting, 2 s so far")
    is_stopping = True
    with pytest.raises(StopRequested):
        server._on_progress("PostgreSQL is starting, 4 s so far")
    assert lines == ["PostgreSQL is starting, 2 s so far"]


def test_a_server_that_cannot_start_again_is_tried_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a supervisor that ends because PostgreSQL did not come back at once."""
    lines: list[str] = []
    server = DataServer(settings, report=lines.append, is_stopping=lambda: False)
    attempts: list[float] = []

    def fail(*_: object, **__: object) -> None:
        attempts.append(1.0)
        msg = "disk full"
        raise database.DatabaseError(msg)

    monkeypatch.setattr(database.EmbeddedPostgres, "start", fail)
    for now in (100.0, 100.5, 101.6):
        server.watch(now=now)
    assert len(attempts) == 2
    assert lines.count("disk full") == 2


def add_status(connection: psycopg.Connection, server_id: int, status: str, age: int) -> None:
    connection.execute(
        "insert into raw.server_status"
        " (server_id, status, last_attempt_at, last_metrics_at, cpu_pct)"
        " values (%s, %s, %s, %s, 0)",
        (server_id, status, NOW, NOW - timedelta(seconds=age)),
    )


def test_the_worst_servers_come_first(postgres_connection: psycopg.Connection) -> None:
    """Would let back: a broken server below the edge of the screen, or a paused one that counts."""
    ids = {
        name: inventory.add_server(postgres_connection, name, host=name, now=NOW).server_id
        for name in ("calm", "new", "hot", "down", "off")
    }
    inventory.set_server_state(postgres_connection, "off", state="paused", now=NOW)
    add_status(postgres_connection, ids["calm"], "healthy", 5)
    add_status(postgres_connection, ids["hot"], "critical", 7)
    add_status(postgres_connection, ids["down"], "error", 300)
    names = [row.name for row in read_servers(postgres_connection)]
    assert names == ["down", "hot", "new", "calm"]
    assert [row.name for row in read_servers(postgres_connection, limit=1)] == ["down"]
    fleet = read_fleet(postgres_connection)
    assert fleet.counts == {"healthy": 1, "critical": 1, "error": 1, "waiting": 1}
    assert fleet.last_metrics_at == NOW - timedelta(seconds=5)
    assert read_servers(postgres_connection)[1].cpu_pct == 0


def test_the_screen_connects_again(postgres: PostgresResource) -> None:
    """Would let back: a table that stands still for ever after PostgreSQL was restarted."""
    reader = FleetReader(postgres.dsn)
    assert reader.read(limit=None, now=NOW)[0] == []
    with postgres.connect(autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'resmon up, screen' and datname = current_database()"
        )
    with pytest.raises(psycopg.Error):
        reader.read(limit=5, now=NOW)
    assert reader.read(limit=5, now=NOW)[1].server_count == 0
    reader.close()


def test_tests_run_on_their_own_home(settings: Settings) -> None:
    """Would let back: a test that writes into the state folder of the developer."""
    assert str(settings.home) == os.environ["RESMON_HOME"]
    assert PROJECT_ROOT not in settings.home.parents
    assert data_url(settings).startswith("postgresql://")
