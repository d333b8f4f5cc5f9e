"""`resmon up`: everything in one command, from an empty folder to a live table, and an orderly end.

Belongs here: the order of starting and stopping, and what the person sees meanwhile. The parts are
in guards.py (locks), database.py (PostgreSQL), services.py (Dagster), supervisor.py (children),
watchdog.py (heartbeat and messages of outages) and live.py (the table).

Start: lock the folder, end what a crash left, see that the port is free, PostgreSQL, lock the
database, schema, this machine, Dagster. Stop: daemon, live runs, webserver, code server,
PostgreSQL.
"""

import logging
import os
import shlex
import shutil
import sysconfig
import time
import webbrowser
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import click
import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from resmon_cli.database import DataServer, StopRequested
from resmon_cli.environment import log_folder, note_ui_address, prepare_home, up_lock_path
from resmon_cli.guards import DaemonLock, Hold, HomeLock, check_port_is_free
from resmon_cli.live import (
    ChangeLines,
    Fleet,
    ServerRow,
    read_fleet,
    read_servers,
    server_table,
)
from resmon_cli.services import Address, Services, end_leftovers, ui_environment
from resmon_cli.supervisor import StopSignals
from resmon_cli.watchdog import Watchdog
from resmon_resources.alert_routes import OpenAlerts, count_open_alerts, open_alerts_text
from resmon_resources.collector_registry import request_stop_of_all
from resmon_resources.embedded_postgres import dagster_url, data_url
from resmon_resources.errors import DatabaseError, ResmonError, StateUnusable
from resmon_resources.inventory import list_servers
from resmon_resources.postgres_connection import open_connection
from resmon_resources.process_limits import (
    limit_problems,
    need_of,
    raise_open_files,
    read_limits,
)
from resmon_resources.settings import Settings, load_settings
from resmon_resources.words import first_line

DEFINITIONS_MODULE = "resmon_assets.definitions"
"""What the code server loads; also named in the project's workspace.yaml."""

LOOP_SECONDS = 0.5
TABLE_SECONDS = 2.0
LINES_SECONDS = 5.0
LOCK_SECONDS = 5.0

_LOG_BYTES = 2_000_000
_NOTE_COUNT = 3
_ROOM_BELOW_TABLE = 8
_SMALLEST_TABLE = 5

logger = logging.getLogger(__name__)


@click.command("up")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port of the web UI.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the web UI.")
@click.option("--no-browser", is_flag=True, help="Do not open the web UI in a browser.")
def up_command(port: int, host: str, no_browser: bool) -> None:
    """Run everything: database, Dagster, collection, and a live table. Ctrl-C stops it in order."""
    with StopSignals().installed() as signals:
        run(
            load_settings(),
            Address(host=host, port=port),
            signals=signals,
            screen=Screen(PatientConsole()),
            opens_browser=not no_browser,
        )


def run(
    settings: Settings,
    address: Address,
    *,
    signals: StopSignals,
    screen: "Screen",
    opens_browser: bool,
) -> None:
    """Start, watch until a stop is requested, stop.

    Args:
        settings: state folder and databases.
        address: where the web UI listens.
        signals: installed stop signals; they must be caught before the first child is started.
        screen: what the person sees.
        opens_browser: open the UI when it answers and there is a display.

    Raises:
        ResmonError: something could not be started, or another supervisor took the database.
    """
    with _state_folder_writable(settings):
        _run(settings, address, signals=signals, screen=screen, opens_browser=opens_browser)


@contextmanager
def _state_folder_writable(settings: Settings) -> Iterator[None]:
    """Say of a full disk, and of a folder that may not be written, what a person can do.

    Raises:
        StateUnusable: a file below the state folder could not be made or written.
    """
    try:
        yield
    except OSError as error:
        msg = (
            f"Resmon cannot run on the state folder {settings.home}: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}. See that there is room and that "
            "this user can write there, then start again; what was stored stays."
        )
        raise StateUnusable(msg) from error


def _run(
    settings: Settings,
    address: Address,
    *,
    signals: StopSignals,
    screen: "Screen",
    opens_browser: bool,
) -> None:
    """`run`, with errors of the operating system as they come."""
    prepare_home(settings)
    with HomeLock(up_lock_path(settings)), FileLog(log_folder(settings) / "up.log"):
        end_leftovers(settings, report=screen.say)
        check_port_is_free(address.host, address.port)
        platform = Platform(settings, address, signals=signals, screen=screen)
        try:
            with suppress(StopRequested):
                platform.start()
                platform.watch(opens_browser=opens_browser)
        except ResmonError as error:
            logger.error("%s", error)  # noqa: TRY400 (the message is the whole story)
            raise
        except psycopg.Error as error:
            msg = (
                f"PostgreSQL failed while Resmon was starting: {error}. See the logs in "
                f"{log_folder(settings)}, then start again."
            )
            raise DatabaseError(msg) from error
        finally:
            screen.close()
            platform.stop()


class FileLog:
    """Keep the supervisor's lines in a file of bounded size while the block runs."""

    def __init__(self, path: Path) -> None:
        self._handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
        formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        formatter.converter = time.gmtime
        self._handler.setFormatter(formatter)

    def __enter__(self) -> None:
        """Begin."""
        logger.addHandler(self._handler)
        logger.setLevel(logging.INFO)

    def __exit__(self, *_: object) -> None:
        """End, and close the file."""
        logger.removeHandler(self._handler)
        self._handler.close()


class PatientConsole(Console):
    """A console that tells of a closed reader; the usual one ends the process on the spot."""

    def on_broken_pipe(self) -> None:
        """Leave the decision to the caller.

        Raises:
            BrokenPipeError: always.
        """
        raise BrokenPipeError


class Screen:
    """A live table on a terminal, timestamped lines elsewhere; silent once nobody can read it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._is_mute = False
        self._notes: deque[str] = deque(maxlen=_NOTE_COUNT)
        self._lines = ChangeLines()
        self._alerts = ""

    @property
    def is_terminal(self) -> bool:
        """Whether the table is shown."""
        return self._console.is_terminal

    @property
    def table_rows(self) -> int:
        """Servers that fit into the table."""
        return max(_SMALLEST_TABLE, self._console.height - _ROOM_BELOW_TABLE)

    def say(self, text: str) -> None:
        """One message: a line, and below the table while it is shown."""
        logger.info("%s", text)
        if self._live is not None:
            self._notes.append(f"{datetime.now(UTC):%H:%M:%S} {text}")
            return
        self._print(text)

    def _print(self, text: str) -> None:
        """A line, timestamped where it goes into a file."""
        stamp = "" if self.is_terminal else f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z "
        self._guard(
            lambda: self._console.print(escape(stamp + text), highlight=False, soft_wrap=True)
        )

    def show(self, rows: list[ServerRow], fleet: Fleet, *, now: datetime, alerts: str = "") -> None:
        """The latest state of the fleet, and one line about open alerts (empty: none is open)."""
        if not self.is_terminal:
            for line in self._lines.round(rows, fleet, now=now):
                self._print(line)
            if alerts != self._alerts:
                self._print(alerts or "No alert is open any more.")
            self._alerts = alerts
            return
        told = (alerts,) if alerts else ()
        table = server_table(rows, fleet, now=now, notes=(*told, *self._notes))
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._guard(self._live.start)
        live = self._live
        self._guard(lambda: live.update(table, refresh=True))

    def close(self) -> None:
        """Leave the table as it stands; later messages are lines again."""
        if self._live is not None:
            self._guard(self._live.stop)
            self._live = None

    def _guard(self, write: Callable[[], object]) -> None:
        """Write, unless the reader is gone (closed terminal, `| head`): that must stop nothing."""
        if self._is_mute:
            return
        try:
            write()
            self._console.file.flush()
        except OSError:
            self._is_mute = True
            # What is still buffered must not fail again when the interpreter ends.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._console.file.fileno())


class FleetReader:
    """The connection that the screen reads through; opened again after the database was away."""

    def __init__(self, url: str) -> None:
        self._conninfo = make_conninfo(
            url,
            connect_timeout=3,
            application_name="resmon up, screen",
            options="-c statement_timeout=3s",
        )
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def read(
        self, *, limit: int | None, now: datetime
    ) -> tuple[list[ServerRow], Fleet, OpenAlerts]:
        """Servers (worst first, at most `limit`), counts, and open alerts.

        Raises:
            psycopg.Error: the database does not answer; the next call connects again.
        """
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
            fleet = read_fleet(self._connection)
            rows = (
                read_servers(self._connection)
                if limit is None
                else read_servers(self._connection, limit=limit)
            )
            alerts = count_open_alerts(self._connection, now=now)
        except psycopg.Error:
            self.close()
            raise
        return rows, fleet, alerts

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Every:
    """True at most once per period."""

    seconds: float
    _due_at: float = field(default=float("-inf"))

    def is_due(self, now: float) -> bool:
        """Whether the period is over; starts the next one."""
        if now < self._due_at:
            return False
        self._due_at = now + self.seconds
        return True


class Platform:
    """All parts of one `resmon up`, in their order."""

    def __init__(
        self, settings: Settings, address: Address, *, signals: StopSignals, screen: Screen
    ) -> None:
        self._settings = settings
        self._address = address
        self._signals = signals
        self._screen = screen
        self._data = DataServer(
            settings, report=screen.say, is_stopping=lambda: signals.is_requested
        )
        self._lock = DaemonLock(dagster_url(settings))
        self._services = Services(settings, address, module=DEFINITIONS_MODULE, report=screen.say)
        self._reader = FleetReader(data_url(settings))
        self._watchdog = Watchdog(
            settings, is_daemon_running=lambda: self._services.daemon.is_running
        )
        self._is_started = False
        self._is_announced = False
        self._is_silent = False

    def start(self) -> None:
        """PostgreSQL, the lock on it, schema, this machine, limits, Dagster.

        Raises:
            ResmonError: a part did not start; what was started must be stopped by `stop`.
            StopRequested: a stop was requested meanwhile.
        """
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._data.start(now=time.monotonic()),
            self._lock.acquire,
            self._data.bring_up_schema,
            self._data.register_this_machine,
            self._check_limits,
            self._say_starting,
            lambda: self._services.start(self._signals),
        )
        for step in steps:
            self._stop_if_requested()
            step()
        self._stop_if_requested()

    def _stop_if_requested(self) -> None:
        """Leave the sequence of starting."""
        if self._signals.is_requested:
            raise StopRequested

    def _check_limits(self) -> None:
        """Raise what may be raised, for the collectors inherit it, and name what is too low."""
        raise_open_files()
        with open_connection(data_url(self._settings)) as connection:
            need = need_of(list_servers(connection), shards=self._settings.shards)
        for problem in limit_problems(read_limits(), need):
            self._screen.say(f"Limit too low: {problem}")

    def _say_starting(self) -> None:
        """Dagster takes seconds; say so."""
        self._is_started = True
        self._screen.say("Starting Dagster: code server, daemon and webserver")

    def watch(self, *, opens_browser: bool) -> None:
        """Keep everything alive and show the fleet until a stop is requested.

        Raises:
            StateUnusable: another supervisor took the database while it was away.
        """
        self._watchdog.start()
        screen_is_due = Every(TABLE_SECONDS if self._screen.is_terminal else LINES_SECONDS)
        lock_is_due = Every(LOCK_SECONDS)
        while not self._signals.is_requested:
            now = time.monotonic()
            self._data.watch(now=now)
            self._services.watch(now=now)
            if lock_is_due.is_due(now):
                self._check_lock()
            for line in self._watchdog.lines():
                self._screen.say(line)
            if not self._is_announced and self._services.is_answering():
                self._announce(opens_browser=opens_browser)
            elif self._is_announced and screen_is_due.is_due(now):
                self._show()
            self._signals.wait(LOOP_SECONDS)

    def _check_lock(self) -> None:
        """See that we are still the only one on the database."""
        if self._lock.ensure() is Hold.TAKEN:
            msg = (
                "Another `resmon up` took this database while it was away; this one stops, because "
                "two would collect and schedule everything twice."
            )
            raise StateUnusable(msg)

    def _announce(self, *, opens_browser: bool) -> None:
        """Say where everything is, once the UI answers."""
        self._is_announced = True
        note_ui_address(self._settings, self._address.url)
        for line in announcement(self._settings, self._address, command=command_name()):
            self._screen.say(line)
        if opens_browser and ui_environment(os.environ):
            with suppress(webbrowser.Error):
                webbrowser.open(self._address.url)

    def _show(self) -> None:
        """The fleet on the screen; one message when the database does not answer."""
        limit = self._screen.table_rows if self._screen.is_terminal else None
        now = datetime.now(UTC)
        try:
            rows, fleet, alerts = self._reader.read(limit=limit, now=now)
        except psycopg.Error as error:
            if not self._is_silent:
                reason = first_line(error)
                self._screen.say(f"The database does not answer ({reason}); trying again")
            self._is_silent = True
            return
        self._is_silent = False
        self._screen.show(rows, fleet, now=now, alerts=open_alerts_text(alerts))

    def stop(self) -> None:
        """Stop everything that was started, in order; may be called at any stage of starting."""
        self._watchdog.stop()
        self._reader.close()
        began = time.monotonic()
        try:
            self._services.stop(
                request_stop=self._request_stop, is_hurried=lambda: self._signals.is_hurried
            )
        finally:
            self._lock.release()
            self._data.stop()
        if self._is_started:
            self._screen.say(f"Stopped after {time.monotonic() - began:.1f} s")

    def _request_stop(self) -> None:
        """Ask the collectors to end by their own flag; it also reaches those without a parent."""
        url = data_url(self._settings)
        with suppress(psycopg.Error), psycopg.connect(url, connect_timeout=2) as connection:
            request_stop_of_all(connection, now=datetime.now(UTC))


def command_name() -> str:
    """How the person calls us: `resmon` when it is on PATH, else the path of the script."""
    script = Path(sysconfig.get_path("scripts")) / "resmon"
    found = shutil.which("resmon")
    if found is not None and Path(found) == script:
        return "resmon"
    with suppress(ValueError):
        script = script.relative_to(Path.cwd())
    return shlex.quote(str(script))


def announcement(settings: Settings, address: Address, *, command: str) -> list[str]:
    """What a newcomer needs to know once everything runs."""
    return [
        f"Web UI         {address.url}",
        f"Add a server   {command} server add NAME --host HOST --user USER",
        f"Open psql      {command} db psql",
        f"Logs           {log_folder(settings)}",
        "Stop           Ctrl-C (again to hurry)",
    ]
