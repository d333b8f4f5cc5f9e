"""Commands, addresses and readiness of the Dagster programs; nothing of Dagster is started."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resmon_cli import processes, services
from resmon_cli.environment import prepare_home, run_folder
from resmon_cli.live_runs import WebserverSilent
from resmon_cli.services import Address, ServiceFailed, Services
from resmon_cli.supervisor import StopSignals, write_record
from resmon_resources.errors import StateUnusable
from resmon_resources.settings import Settings, load_settings

MAIN = "import time; time.sleep(60)"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A prepared folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    settings = load_settings({"RESMON_HOME": str(tmp_path / "h")})
    prepare_home(settings)
    return settings


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def toys(
    settings: Settings, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    """Services whose programs are `python -c`; stopped at the end."""
    monkeypatch.setattr(services, "program", lambda _: (sys.executable, "-c", MAIN))
    toys = Services(settings, Address("127.0.0.1", 1), module="toy", report=lines.append)
    yield toys
    toys.stop(request_stop=lambda: None, is_hurried=lambda: True)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),  # noqa: S104
        ("::", "http://[::1]:3000"),
        ("box.example", "http://box.example:3000"),
    ],
)
def test_url(host: str, url: str) -> None:
    """Would let back: http://0.0.0.0:3000 offered to a browser."""
    assert Address(host, 3000).url == url


def test_programs_are_ours() -> None:
    """Would let back: another Dagster that comes first on PATH."""
    interpreter, script = services.program("dagster-daemon")
    assert interpreter == sys.executable
    assert Path(script).is_file()
    with pytest.raises(StateUnusable, match="make setup"):
        services.program("dagster-no-such-thing")


def test_workspace_file_holds_any_path(tmp_path: Path) -> None:
    """Would let back: a folder with a colon or a quote that breaks the workspace file."""
    path = tmp_path / "workspace.yaml"
    services.write_workspace(path, Path('/a: "b" #c/code.sock'))
    server = json.loads(path.read_text("utf-8"))["load_from"][0]["grpc_server"]
    assert server == {"socket": '/a: "b" #c/code.sock', "location_name": "resmon"}


def test_a_socket_without_a_server_is_not_ready(tmp_path: Path) -> None:
    """Would let back: a daemon that starts before its code server and logs errors for a minute."""
    path = tmp_path / "s"
    assert not services.is_listening(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert not services.is_listening(path)
        server.listen()
        assert services.is_listening(path)


def test_a_code_server_that_ends_is_reported_with_its_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: an import error in the definitions that shows as a UI without assets."""
    code = "import sys; print('ImportError: no such thing'); sys.exit(1)"
    monkeypatch.setattr(services, "program", lambda _: (sys.executable, "-c", code))
    monkeypatch.setattr(services, "prepare_instance", lambda _, **__: None)
    broken = Services(settings, Address("127.0.0.1", 1), module="toy", report=lambda _: None)
    with pytest.raises(ServiceFailed, match="ImportError: no such thing"):
        broken.start(StopSignals())


def test_a_failed_preparation_is_reported_with_its_log(
    toys: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a pool that was not created, so that a backfill takes every core."""
    monkeypatch.setattr(services, "PREPARE_SECONDS", 0.0)
    with pytest.raises(ServiceFailed, match=r"instance\.log"):
        toys.start(StopSignals())


def test_a_stop_request_ends_the_start(toys: Services) -> None:
    """Would let back: Ctrl-C during the start that is heard only when all runs."""
    signals = StopSignals()
    signals.count = 1
    toys.start(signals)
    assert not toys.daemon.is_running
    assert not toys.webserver.is_running


def test_watch_restarts_each(toys: Services, lines: list[str]) -> None:
    """Would let back: a service that nobody watches."""
    for child in (toys.code_server, toys.daemon, toys.webserver):
        child.start(now=0.0)
    assert toys.daemon.pid is not None
    os.kill(toys.daemon.pid, 9)
    assert services.wait_until(lambda: not toys.daemon.is_running, seconds=20)
    toys.watch(now=1.0)
    assert toys.daemon.is_running
    assert len(lines) == 1


def test_stop_without_a_webserver_interrupts_the_workers(
    toys: Services, lines: list[str], settings: Settings
) -> None:
    """Would let back: a stop that waits for runs that nobody told to end."""
    for child in (toys.code_server, toys.daemon, toys.webserver):
        child.start(now=0.0)
    worker = subprocess.Popen(
        [sys.executable, "-c", MAIN], env={**os.environ, processes.MARK: str(settings.home)}
    )
    asked: list[bool] = []
    # The worker is our child, so it would stay a zombie until we reap it; a zombie does not count.
    toys.stop(request_stop=lambda: asked.append(True), is_hurried=lambda: False)
    assert worker.wait(timeout=20) < 0
    assert asked == [True]
    assert processes.find_marked(settings.home) == []
    assert lines[0] == "Stopping the daemon"


class ScriptedRuns:
    """A webserver whose runs end after so many questions."""

    def __init__(self, *answers: list[str] | None) -> None:
        self.answers = list(answers)
        self.terminated: list[str] = []

    def to_terminate(self, *, timeout_seconds: float) -> list[str]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise WebserverSilent
        return answer

    def terminate(self, run_ids: list[str], *, timeout_seconds: float) -> None:
        self.terminated += run_ids


def stop_runs(
    toys: Services, runs: ScriptedRuns, monkeypatch: pytest.MonkeyPatch, *, is_hurried: bool = False
) -> None:
    monkeypatch.setattr(services, "LiveRuns", lambda _: runs)
    monkeypatch.setattr(services, "_RUN_POLL_SECONDS", 0.0)
    for child in (toys.code_server, toys.webserver):
        child.start(now=0.0)
    toys.stop(request_stop=lambda: None, is_hurried=lambda: is_hurried)


def test_runs_are_asked_once_and_awaited(
    toys: Services, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a webserver that goes while runs still write their last samples."""
    runs = ScriptedRuns(["a"], ["a", "b"], ["b"], [])
    stop_runs(toys, runs, monkeypatch)
    assert runs.terminated == ["a", "b"]
    assert lines.count("Stopping 1 run") == 2


def test_one_error_of_the_webserver_is_asked_over(
    toys: Services, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: runs ended by signal, as failed, because PostgreSQL was restarted before."""
    runs = ScriptedRuns(None, ["a"], None, None, ["a"], [])
    stop_runs(toys, runs, monkeypatch)
    assert runs.terminated == ["a"]
    assert lines.count("Stopping 1 run") == 1


def test_a_webserver_that_stays_silent_is_given_up(
    toys: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a stop that asks a broken webserver until its time is over."""
    interrupted: list[bool] = []
    monkeypatch.setattr(toys, "_interrupt_workers", lambda: interrupted.append(True))
    stop_runs(toys, ScriptedRuns(None), monkeypatch)
    assert interrupted == [True]


def test_runs_that_do_not_end_are_not_awaited_for_ever(
    toys: Services, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a stop of an hour, the length of a run."""
    monkeypatch.setattr(services, "RUNS_GRACE_SECONDS", 0.05)
    stop_runs(toys, ScriptedRuns(["a"]), monkeypatch)
    assert "Some runs did not end in time; they are killed" in lines


def test_leftovers_of_a_crash_are_ended(settings: Settings, lines: list[str]) -> None:
    """Would let back: an old webserver that holds the port, or an old collector that collects."""
    process = subprocess.Popen([sys.executable, "-c", MAIN])
    write_record(run_folder(settings) / "daemon.json", process.pid)
    services.end_leftovers(settings, report=lines.append)
    assert process.wait(timeout=20) < 0
    assert lines == ["Ended 1 process that an earlier `resmon up` left behind"]
    assert list(run_folder(settings).glob("*.json")) == []
    services.end_leftovers(settings, report=lines.append)
    assert len(lines) == 1


def test_nobody_answers(toys: Services) -> None:
    """Would let back: an announcement of a UI that is not there."""
    assert not toys.is_answering()


def test_a_browser_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a text browser that takes over the terminal of a server."""
    monkeypatch.setattr(sys, "platform", "linux")
    assert not services.ui_environment({})
    assert services.ui_environment({"DISPLAY": ":0"})
    monkeypatch.setattr(sys, "platform", "darwin")
    assert services.ui_environment({})
