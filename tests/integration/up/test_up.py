"""`resmon up` as a whole, with a code location that has one endless run."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from resmon_cli import processes, up
from resmon_cli.environment import code_socket, log_folder, run_folder
from resmon_cli.guards import DAEMON_LOCK
from resmon_cli.live_runs import LiveRuns, WebserverSilent
from resmon_cli.services import Address
from resmon_cli.supervisor import StopSignals
from resmon_resources.embedded_postgres import EmbeddedPostgres, dagster_url, data_url
from resmon_resources.settings import Settings
from tests.integration.up.conftest import HERE, poll

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]

START_SECONDS = 150.0
"""Ten seconds on two free cores; a machine that runs other tests meanwhile takes long."""


def live_runs(port: int) -> list[str]:
    """Runs with a process; none while the webserver is away."""
    try:
        return LiveRuns(f"http://127.0.0.1:{port}").to_terminate(timeout_seconds=5)
    except WebserverSilent:
        return []


def has_worker(settings: Settings) -> bool:
    """Whether a run is at work: its output is being followed."""
    for identity in processes.find_marked(settings.home):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"watch_orphans" in Path(f"/proc/{identity.pid}/cmdline").read_bytes():
                return True
    return False


def run_statuses(settings: Settings) -> set[str]:
    """Statuses of all runs, from Dagster's own table."""
    with psycopg.connect(dagster_url(settings)) as connection:
        return {row[0] for row in connection.execute("select status from runs").fetchall()}


def recorded_pid(settings: Settings, name: str) -> int:
    """Pid of a child, from its record."""
    record = json.loads((run_folder(settings) / f"{name}.json").read_text("utf-8"))
    return int(record["pid"])


def nothing_is_left(settings: Settings) -> bool:
    """No process of ours, no socket, no record, no PostgreSQL."""
    return (
        processes.find_marked(settings.home) == []
        and not code_socket(settings).exists()
        and list(run_folder(settings).glob("*.json")) == []
        and not (EmbeddedPostgres(settings).data_directory / "postmaster.pid").exists()
    )


def test_start_faults_and_orderly_stop(
    settings: Settings, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a service that stays dead, a lock lost with PostgreSQL, a run that is killed
    instead of canceled, or any process that outlives the stop.
    """
    monkeypatch.setattr(up, "DEFINITIONS_MODULE", "toy_definitions")
    monkeypatch.setattr(up, "LINES_SECONDS", 0.5)
    monkeypatch.setattr(up, "LOCK_SECONDS", 0.5)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    output = io.StringIO()
    failures: list[str] = []

    def expect(what: str, predicate: Callable[[], object]) -> None:
        if not poll(predicate, START_SECONDS):
            msg = f"{what} did not come; said so far:\n{output.getvalue()}"
            raise TimeoutError(msg)

    def scenario() -> None:
        try:
            expect("the announcement", lambda: "Web UI" in output.getvalue())
            expect("a line about the fleet", lambda: "1 server: 1 waiting" in output.getvalue())
            expect("a worker", lambda: has_worker(settings))
            os.kill(recorded_pid(settings, "webserver"), signal.SIGKILL)
            expect(
                "the restart", lambda: "webserver ended (killed by SIGKILL)" in output.getvalue()
            )
            pid_file = EmbeddedPostgres(settings).data_directory / "postmaster.pid"
            os.kill(int(pid_file.read_text("utf-8").split()[0]), signal.SIGKILL)
            expect("PostgreSQL again", lambda: output.getvalue().count("PostgreSQL: ") == 2)
            expect("the lock again", lambda: is_locked(settings))
            expect("the web UI again", lambda: live_runs(free_port))
        except (TimeoutError, OSError, ValueError) as error:
            failures.append(str(error))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with StopSignals().installed() as signals:
        thread = threading.Thread(target=scenario)
        thread.start()
        up.run(
            settings,
            Address("127.0.0.1", free_port),
            signals=signals,
            screen=up.Screen(Console(file=output)),
            opens_browser=True,
        )
        thread.join()
    said = output.getvalue()
    assert failures == []
    assert "This machine is the first server" in said
    assert "Stopping 1 run" in said
    stopped = re.search(r"Stopped after ([0-9.]+) s", said)
    assert stopped is not None
    assert float(stopped[1]) < 30
    assert nothing_is_left(settings)
    assert "Web UI" in (log_folder(settings) / "up.log").read_text("utf-8")
    with EmbeddedPostgres(settings):
        assert run_statuses(settings) <= {"CANCELED", "FAILURE"}


def is_locked(settings: Settings) -> bool:
    """Whether a supervisor holds the lock on Dagster's database."""
    try:
        with psycopg.connect(dagster_url(settings), connect_timeout=5) as connection:
            row = connection.execute(
                "select count(*) from pg_locks where locktype = 'advisory' and granted"
                " and classid = %s::bigint::oid and objid = 1",
                [DAEMON_LOCK[0]],
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return row is not None and row[0] == 1


def start_up(settings: Settings, port: int, output: Path) -> subprocess.Popen[bytes]:
    """`resmon up` as `nohup resmon up &` starts it: SIGINT ignored, output into a file."""
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    with output.open("ab") as file:
        return subprocess.Popen(
            [
                *(sys.executable, "-c", code, str(HERE / "start_up.py")),
                *("up", "--no-browser", "--port", str(port)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


def test_a_killed_supervisor_is_recovered_and_sigterm_ends_all(
    settings: Settings, free_port: int, tmp_path: Path
) -> None:
    """Would let back: a crash after which PostgreSQL, port or code server are in the way of the
    next start, a dead run that shows as started, or a SIGTERM that code servers ignore because
    they were started with SIGINT ignored.
    """
    output = tmp_path / "output"
    said = lambda: output.read_text("utf-8")  # noqa: E731
    first = start_up(settings, free_port, output)
    try:
        assert poll(lambda: "Web UI" in said() or first.poll() is not None, START_SECONDS), said()
        assert poll(lambda: has_worker(settings), START_SECONDS), said()
    finally:
        first.kill()
        first.wait()
    assert processes.find_marked(settings.home)

    second = start_up(settings, free_port, output)
    try:
        assert poll(
            lambda: said().count("Web UI") == 2 or second.poll() is not None, START_SECONDS
        ), said()
        assert re.search(r"Ended \d+ processes that an earlier `resmon up` left behind", said())
        assert "PostgreSQL: adopted the one that runs already" in said()
        with psycopg.connect(data_url(settings)) as connection:
            row = connection.execute("select count(*) from inventory.servers").fetchone()
        assert row == (1,)
    finally:
        second.terminate()
        status = second.wait(timeout=60)
    assert status == 0, said()
    assert nothing_is_left(settings)
