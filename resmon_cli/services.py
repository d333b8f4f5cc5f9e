"""The three Dagster programs of `resmon up`: their commands, when they are ready, how they stop.

Belongs here: one shared code server on a private socket, daemon and webserver on it, and the order
of stopping. One code server, because two private ones cost 7.6 % of a core idle, and a daemon with
`-m` throws its own away every minute (measured, dagster 1.13.27). `dagster api grpc` and not
`dagster code-server start`, because the latter does not restart its inner server.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resmon_cli import processes
from resmon_cli.environment import (
    code_socket,
    log_folder,
    run_folder,
    service_variables,
)
from resmon_cli.live_runs import LiveRuns, WebserverSilent
from resmon_cli.supervisor import (
    Child,
    ChildSpec,
    Report,
    StopSignals,
    read_records,
    tail,
    wait_until,
)
from resmon_resources.errors import ResmonError, StateUnusable
from resmon_resources.settings import Settings

LOCATION_NAME = "resmon"
"""As in the project's workspace.yaml, so that schedules and sensors keep their state in both."""

CODE_SERVER_SECONDS = 180.0
"""Longest wait for the definitions to load: 5 s on two free cores, 60 s on a very busy machine."""

PREPARE_SECONDS = 180.0

DAEMON_GRACE_SECONDS = 4.0
RUNS_GRACE_SECONDS = 8.0
WEBSERVER_GRACE_SECONDS = 3.0
CODE_SERVER_GRACE_SECONDS = 3.0
LEFTOVER_GRACE_SECONDS = 3.0
"""Longest waits of an orderly stop; 21 s in all, so that it stays below 30 with a webserver and a
database that answer late. Usual: 5 to 8 s."""

CRASH_GRACE_SECONDS = 10.0
"""How long what a crash left behind may take to flush."""

_ANSWER_SECONDS = 2.0
_SILENCES = 2
"""Errors of the webserver in a row after which an orderly stop falls back to signals."""

_RUN_POLL_SECONDS = 0.3


class ServiceFailed(ResmonError):
    """A service of ours did not start; carries the end of its log."""


@dataclass(frozen=True)
class Address:
    """Where the webserver listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """URL that a browser on this machine can open."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def program(name: str) -> tuple[str, str]:
    """Command of a console script of our own environment, run by our own interpreter.

    Needs neither PATH nor the script's first line, which cannot hold a path with a space.

    Raises:
        StateUnusable: it is not installed.
    """
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.is_file():
        msg = f"The program {name} is not in {path.parent}. Install Resmon again (make setup)."
        raise StateUnusable(msg)
    return sys.executable, str(path)


def write_workspace(path: Path, socket_path: Path) -> None:
    """The workspace file that names the shared code server. JSON is YAML, so any path is quoted."""
    server = {"socket": str(socket_path), "location_name": LOCATION_NAME}
    path.write_text(json.dumps({"load_from": [{"grpc_server": server}]}, indent=2) + "\n", "utf-8")


def child_environment(settings: Settings, *, ui_url: str | None = None) -> dict[str, str]:
    """Ours, what Dagster and the assets need, and the mark by which leftovers are found.

    Links in messages lead to `ui_url` where RESMON_UI_URL does not say otherwise.
    """
    links = {} if ui_url is None else {"RESMON_UI_URL": ui_url}
    return {
        **links,
        **os.environ,
        **service_variables(settings),
        processes.MARK: str(settings.home),
    }


def prepare_instance(settings: Settings, *, is_stopping: Callable[[], bool]) -> None:
    """Run `resmon_cli.instance` to its end; call it before daemon and webserver run.

    Raises:
        ServiceFailed: it failed, or took too long; carries the end of its log.
    """
    log_path = log_folder(settings) / "instance.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-P", "-m", "resmon_cli.instance", str(code_socket(settings))],
            env=child_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    is_over = wait_until(
        lambda: process.poll() is not None, seconds=PREPARE_SECONDS, is_hurried=is_stopping
    )
    if not is_over:
        process.kill()
        process.wait()
    if process.returncode != 0 and not is_stopping():
        msg = f"Preparing Dagster's storage failed. The end of {log_path}:\n{tail(log_path, 15)}"
        raise ServiceFailed(msg)


def is_listening(socket_path: Path) -> bool:
    """Whether the code server takes connections; it listens once the definitions are loaded."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_ANSWER_SECONDS)
            probe.connect(str(socket_path))
    except OSError:
        return False
    return True


class Services:
    """Code server, daemon and webserver of one state folder."""

    def __init__(
        self, settings: Settings, address: Address, *, module: str, report: Report
    ) -> None:
        """Lay out the commands; nothing is started.

        Args:
            settings: state folder and databases.
            address: where the webserver listens.
            module: Python module with the definitions.
            report: takes lines for the person who watches.
        """
        self._settings = settings
        self._address = address
        self._report = report
        self._socket = code_socket(settings)
        self._workspace = run_folder(settings) / "workspace.yaml"
        self._environment = child_environment(settings, ui_url=address.url)
        workspace = ("-w", str(self._workspace))
        self.code_server = self._child(
            "code-server",
            *program("dagster"),
            *("api", "grpc", "-s", str(self._socket), "-m", module),
            *("--location-name", LOCATION_NAME, "--empty-working-directory"),
            prepare=lambda: self._socket.unlink(missing_ok=True),
        )
        self.daemon = self._child(
            "daemon",
            *program("dagster-daemon"),
            *("run", *workspace, "--log-level", "warning"),
            stop_signal=signal.SIGINT,
        )
        self.webserver = self._child(
            "webserver",
            *program("dagster-webserver"),
            *(*workspace, "-h", address.host, "-p", str(address.port)),
            stop_signal=signal.SIGINT,
        )
        self._all = (self.code_server, self.daemon, self.webserver)

    def _child(
        self,
        name: str,
        *command: str,
        stop_signal: signal.Signals = signal.SIGTERM,
        prepare: Callable[[], None] = lambda: None,
    ) -> Child:
        """One child with our environment, folders and mark."""
        spec = ChildSpec(
            name=name,
            command=command,
            environment=self._environment,
            # The person's own, so that relative paths in their variables keep their meaning.
            working_directory=Path.cwd(),
            stop_signal=stop_signal,
            prepare=prepare,
        )
        return Child(
            spec, log_folder=log_folder(self._settings), run_folder=run_folder(self._settings)
        )

    def start(self, signals: StopSignals) -> None:
        """Prepare the instance, then start the code server, then daemon and webserver.

        One after the other: Dagster makes its tables at the first opening, and of two processes
        that open an empty database at the same time one fails ("type alembic_version exists").

        Returns early when a stop is requested.

        Raises:
            ServiceFailed: one ended, or was not ready in time; carries the end of its log.
        """
        write_workspace(self._workspace, self._socket)
        prepare_instance(self._settings, is_stopping=lambda: signals.is_requested)
        if signals.is_requested:
            return
        self.code_server.start(now=time.monotonic())
        self._await_code_server(signals)
        if signals.is_requested:
            return
        self.daemon.start(now=time.monotonic())
        self.webserver.start(now=time.monotonic())

    def _await_code_server(self, signals: StopSignals) -> None:
        """Wait until the definitions are loaded."""
        child = self.code_server
        wait_until(
            lambda: is_listening(self._socket) or not child.is_running,
            seconds=CODE_SERVER_SECONDS,
            is_hurried=lambda: signals.is_requested,
        )
        if signals.is_requested or (child.is_running and is_listening(self._socket)):
            return
        msg = (
            "The code server did not come up; the definitions may not load. The end of "
            f"{child.log_path}:\n{child.log_tail()}"
        )
        raise ServiceFailed(msg)

    def watch(self, *, now: float) -> None:
        """Restart what has died and bound the logs; call it about twice a second."""
        for child in self._all:
            child.watch(now=now, report=self._report)

    def is_answering(self) -> bool:
        """Whether the UI answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self._address.url}/server_info", timeout=_ANSWER_SECONDS):
                return True
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def stop(self, *, request_stop: Callable[[], None], is_hurried: Callable[[], bool]) -> None:
        """Stop in order: daemon, live runs, webserver, code server, and whatever is left.

        Args:
            request_stop: asks the collectors to end, by their own flag.
            is_hurried: shortens every grace when it turns true.
        """
        if self.daemon.is_running:
            self._report("Stopping the daemon")
        self._end(self.daemon, DAEMON_GRACE_SECONDS, is_hurried)
        request_stop()
        if self.code_server.is_running:
            self._end_runs(is_hurried)
            self._report("Stopping the webserver and the code server")
        self._end(self.webserver, WEBSERVER_GRACE_SECONDS, is_hurried)
        self._end(self.code_server, CODE_SERVER_GRACE_SECONDS, is_hurried)
        processes.end(
            lambda: processes.find_marked(self._settings.home),
            grace_seconds=LEFTOVER_GRACE_SECONDS,
            is_hurried=is_hurried,
        )
        self._socket.unlink(missing_ok=True)
        if self._socket.parent != run_folder(self._settings):
            with suppress(OSError):  # not empty, or gone already
                self._socket.parent.rmdir()

    def _end(self, child: Child, grace_seconds: float, is_hurried: Callable[[], bool]) -> None:
        """Stop one child, and say so when it had to be killed."""
        if not child.stop(grace_seconds=grace_seconds, is_hurried=is_hurried):
            self._report(f"The {child.spec.name} did not end in time and was killed")

    def _end_runs(self, is_hurried: Callable[[], bool]) -> None:
        """Terminate live runs through the webserver, or by signal when it is silent; await them."""
        runs = LiveRuns(self._address.url)
        deadline = time.monotonic() + RUNS_GRACE_SECONDS
        asked: set[str] = set()
        silences = 0
        while True:
            try:
                if not self._ask_runs_to_end(runs, asked, deadline=deadline):
                    return
                silences = 0
            except WebserverSilent:
                # The first answer after a restart of PostgreSQL is an error: a connection of its
                # pool is dead. The next one is good.
                silences += 1
                if silences > _SILENCES or not self.webserver.is_running:
                    self._interrupt_workers()
                    return
            if time.monotonic() >= deadline or is_hurried():
                self._report("Some runs did not end in time; they are killed")
                return
            time.sleep(_RUN_POLL_SECONDS)

    def _ask_runs_to_end(self, runs: LiveRuns, asked: set[str], *, deadline: float) -> bool:
        """Terminate the live runs that were not asked yet; False when there is none any more."""
        ids = runs.to_terminate(timeout_seconds=_ANSWER_SECONDS)
        if new := [run_id for run_id in ids if run_id not in asked]:
            self._report(f"Stopping {len(new)} {'run' if len(new) == 1 else 'runs'}")
            left = max(_ANSWER_SECONDS, deadline - time.monotonic())
            runs.terminate(new, timeout_seconds=left)
            asked.update(new)
        return bool(ids)

    def _interrupt_workers(self) -> None:
        """SIGTERM to everything below the code server; it waits for its runs itself."""
        services = {child.pid for child in self._all}
        for identity in processes.find_marked(self._settings.home):
            if identity.pid not in services:
                processes.send(identity, signal.SIGTERM)


def end_leftovers(settings: Settings, *, report: Report) -> None:
    """End what a supervisor that was killed left behind; call it with the home lock held."""

    def find() -> list[processes.Identity]:
        """Marked processes, and recorded ones where marks cannot be read."""
        return list({*processes.find_marked(settings.home), *read_records(run_folder(settings))})

    asked, killed = processes.end(find, grace_seconds=CRASH_GRACE_SECONDS)
    for path in run_folder(settings).glob("*.json"):
        path.unlink(missing_ok=True)
    if asked:
        noun = "process" if asked == 1 else "processes"
        how = f", {killed} of them by force" if killed else ""
        report(f"Ended {asked} {noun} that an earlier `resmon up` left behind{how}")


def ui_environment(environment: Mapping[str, str]) -> bool:
    """Whether a browser can be opened here: a display, or macOS."""
    if sys.platform == "darwin":
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
