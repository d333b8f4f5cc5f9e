"""`resmon collect`: what it shows, stores and skips, and the errors of every command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus

from resmon_resources.postgres import PostgresResource
from tests.fixtures_services import free_port
from tests.fixtures_ssh import Endpoint
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration


def stored(postgres: PostgresResource) -> list[tuple[str, float | None]]:
    with postgres.connect() as connection:
        return connection.execute(
            "select s.name, m.memory_total_bytes from raw.server_resource_metrics as m"
            " join inventory.servers as s using (server_id) order by 1"
        ).fetchall()


def add_refusing(resmon: Resmon, port: int) -> None:
    resmon("server", "add", "far", "--host", "127.0.0.1", "--port", str(port), "--tag", "far")


def test_sample_is_shown_and_stored(
    resmon: Resmon, postgres: PostgresResource, state_folder: Path
) -> None:
    """Would let back: figures on the screen that are in no table."""
    resmon("server", "add", "here", "--transport", "local")
    outcome = resmon("collect", "--sync")
    assert outcome.exit_code == 0, outcome.told
    assert "1 of 1 collected, 1 stored." in outcome.output
    [(name, memory_total_bytes)] = stored(postgres)
    assert name == "here"
    assert memory_total_bytes


def test_mounts_are_stored_with_the_sample(
    resmon: Resmon, postgres: PostgresResource, state_folder: Path
) -> None:
    """Would let back: a server that was collected by hand and shows no file system."""
    resmon("server", "add", "here", "--transport", "local")
    assert resmon("collect", "--sync").exit_code == 0
    with postgres.connect() as connection:
        rows = connection.execute(
            "select f.total_bytes, f.type, m.server_id from raw.filesystem_usage as f"
            " left join raw.server_resource_metrics as m using (server_id, collected_at)"
        ).fetchall()
    assert rows
    assert all(server_id is not None and type_ for _, type_, server_id in rows)
    assert any(total_bytes for total_bytes, _, _ in rows)


def test_failure_of_one_is_told_and_does_not_fail_the_others(
    resmon: Resmon,
    postgres: PostgresResource,
    state_folder: Path,
) -> None:
    """Would let back: one dead server that hides all the others."""
    resmon("server", "add", "here", "--transport", "local")
    add_refusing(resmon, free_port())
    outcome = resmon("collect", "--sync")
    assert outcome.exit_code == 0
    assert "1 of 2 collected, 1 stored." in outcome.output
    assert "far: No connection to far" in outcome.output
    assert [name for name, _ in stored(postgres)] == ["here"]
    assert "refused" in resmon("status").output


def test_exit_status_is_one_when_all_failed(resmon: Resmon, state_folder: Path) -> None:
    """Would let back: a cron job that looks fine while nothing is collected."""
    resmon("server", "add", "here", "--transport", "local")
    add_refusing(resmon, free_port())
    outcome = resmon("collect", "--sync", "--tag", "far")
    assert outcome.exit_code == 1
    assert "0 of 1 collected, 0 stored." in outcome.output


def test_ssh_server_is_collected(
    resmon: Resmon,
    postgres: PostgresResource,
    state_folder: Path,
    ssh_server: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would let back: a command that reads this machine only."""
    monkeypatch.setenv("RESMON_KNOWN_HOSTS", str(ssh_server.known_hosts_file))
    resmon(
        *("server", "add", "web-1", "--host", ssh_server.host, "--port", str(ssh_server.port)),
        *("--user", ssh_server.user_name, "--identity-file", str(ssh_server.identity_file)),
    )
    outcome = resmon("collect", "web-1", "--sync")
    assert outcome.exit_code == 0, outcome.output
    assert [name for name, _ in stored(postgres)] == ["web-1"]


def test_servers_that_are_not_active_are_skipped_with_a_word(
    resmon: Resmon, postgres: PostgresResource, state_folder: Path
) -> None:
    """Would let back: a paused server that is disturbed, or one that is left out in silence."""
    for name in ("paused-1", "offline-1", "removed-1"):
        resmon("server", "add", name, "--host", "x.invalid")
    resmon("server", "pause", "paused-1")
    resmon("server", "pause", "--offline", "offline-1")
    resmon("server", "remove", "--yes", "removed-1")
    outcome = resmon("collect", "--sync", "paused-1", "offline-1", "removed-1")
    assert outcome.exit_code == 0
    for told in (
        "paused-1: skipped, it is paused",
        "offline-1: skipped, it is offline",
        "removed-1: skipped, it was removed",
        "Nothing to collect",
    ):
        assert told in outcome.told
    assert "2 paused or offline skipped" in resmon("collect", "--sync").told
    assert "Nothing to collect" in resmon("collect", "--sync", "removed-1").told
    assert stored(postgres) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["heer"], "There is no server 'heer'. Did you mean here?"),
        (["here", "nix"], "There is no server 'nix'"),
        (["--organization", "nix"], "There is no organization 'nix'"),
    ],
)
def test_wrong_names_are_one_clear_message_and_nothing_is_collected(
    resmon: Resmon,
    postgres: PostgresResource,
    state_folder: Path,
    arguments: list[str],
    told: str,
) -> None:
    """Would let back: a mistyped name among several that nobody notices."""
    resmon("server", "add", "here", "--transport", "local")
    outcome = resmon("collect", "--sync", *arguments)
    assert outcome.exit_code == 1
    assert told in outcome.told
    assert stored(postgres) == []


def test_without_sync_it_is_a_run_of_dagster(
    resmon: Resmon, postgres: PostgresResource, dagster_database: str
) -> None:
    """Would let back: a collection that leaves no trace in Dagster's UI."""
    resmon("server", "add", "here", "--transport", "local")
    outcome = resmon("collect", "here")
    assert outcome.exit_code == 0, outcome.told
    assert [name for name, _ in stored(postgres)] == ["here"]
    with DagsterInstance.get() as instance:
        [run] = instance.get_runs()
    assert run.status is DagsterRunStatus.SUCCESS
    assert run.job_name == "collect_now_job"
    assert run.tags["resmon/server"] == "here"
    assert run.tags["resmon/organization"] == "default"
    assert f"Run {run.run_id}" in outcome.output


def test_without_dagster_the_other_way_is_named(resmon: Resmon, state_folder: Path) -> None:
    """Would let back: six logged attempts and a traceback of a database driver."""
    resmon("server", "add", "here", "--transport", "local")
    outcome = resmon("collect")
    assert outcome.exit_code == 1
    assert "resmon collect --sync" in outcome.told
    assert "resmon up" in outcome.told


def run_program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from resmon_cli.main import main; main()", *arguments],
        capture_output=True,
        env={**os.environ, **environment},
        text=True,
        check=False,
        timeout=120,
    )


def test_database_that_does_not_run_names_the_command_that_starts_it(tmp_path: Path) -> None:
    """Would let back: a newcomer's first command that ends in a traceback."""
    done = run_program("status", RESMON_HOME=str(tmp_path), RESMON_POSTGRES_DSN="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "resmon up" in done.stderr
    assert "Traceback" not in done.stderr


def test_database_without_our_schema_names_the_command_that_makes_it(
    empty_database: str,
) -> None:
    """Would let back: `relation does not exist`."""
    done = run_program("server", "list", RESMON_POSTGRES_DSN=empty_database)
    assert done.returncode == 1
    assert "resmon db migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_statement_that_the_database_refuses_is_one_message(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: a traceback of the driver when a lock or a right is missing."""
    with postgres.connect() as connection:
        connection.execute("alter table inventory.organizations add check (name <> 'forbidden')")
    outcome = resmon("org", "add", "forbidden")
    assert outcome.exit_code == 1
    assert "The database refused or lost a statement" in outcome.told
