"""What must hold while `resmon up` runs: one supervisor a folder, one a database, a free port.

Belongs here: the two locks and the test of the port. Starts and stops nothing.
"""

import fcntl
import os
import socket
import time
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from resmon_resources.errors import ConfigurationInvalid, DatabaseUnreachable, StateUnusable

DAEMON_LOCK = (0x5245534D, 1)
"""Session advisory lock on Dagster's database ("RESM", 1); the collectors' are on the other one."""

_ACQUIRE_SECONDS = 3.0
"""A killed supervisor's session ends with its socket, but not in the same instant."""

_HOLDER = """
select activity.application_name
from pg_locks as locks
inner join pg_stat_activity as activity using (pid)
where
    locks.locktype = 'advisory'
    and locks.classid = %s::bigint::oid
    and locks.objid = %s::bigint::oid
    and locks.database = (select oid from pg_database where datname = current_database())
limit 1
"""

_END_LOST = """
select pg_terminate_backend(locks.pid, 5000)
from pg_locks as locks
inner join pg_stat_activity as activity using (pid)
where
    locks.locktype = 'advisory'
    and locks.classid = %s::bigint::oid
    and locks.objid = %s::bigint::oid
    and locks.database = (select oid from pg_database where datname = current_database())
    and locks.pid = %s
    and activity.application_name = %s
"""


class HomeLock:
    """The lock on a state folder, held while the block runs; the kernel frees it when we die."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StateUnusable: another process holds it; names it.
        """
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._path.read_text("utf-8").strip() or "unknown"
            os.close(self._descriptor)
            msg = (
                f"`resmon up` runs already on the state folder {self._path.parent} (pid {holder}). "
                "Stop that one first, or use another folder by the variable RESMON_HOME."
            )
            raise StateUnusable(msg) from error
        os.truncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode("ascii"))
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Free the lock; the file stays, because removing it would let two in."""
        os.truncate(self._descriptor, 0)
        os.close(self._descriptor)


class Hold(Enum):
    """Whether we have the lock on the database."""

    HELD = "held"
    AWAY = "away"  # the database does not answer; nobody else can take it either
    TAKEN = "taken"  # another supervisor has it


class DaemonLock:
    """The lock that lets one supervisor run on a Dagster database, held by an open session."""

    def __init__(self, url: str) -> None:
        self._name = f"resmon up, pid {os.getpid()} on {socket.gethostname()}"
        self._conninfo = make_conninfo(
            url,
            application_name=self._name,
            connect_timeout=3,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=8000,
        )
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._is_locked = False
        self._holding_pid: int | None = None  # of the server's process that had the lock for us

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StateUnusable: another supervisor has it; names it.
            DatabaseUnreachable: no connection.
        """
        deadline = time.monotonic() + _ACQUIRE_SECONDS
        while (hold := self.ensure()) is Hold.TAKEN and time.monotonic() < deadline:
            time.sleep(0.1)
        if hold is Hold.TAKEN:
            holder = self._holder()
            self.release()
            msg = (
                f"Another `resmon up` works on this database ({holder}). Two would collect and "
                "schedule everything twice. Stop that one first, or use another database."
            )
            raise StateUnusable(msg)
        if hold is Hold.AWAY:
            msg = (
                "Dagster's database does not answer. Check that PostgreSQL runs, and "
                "RESMON_POSTGRES_DSN and RESMON_DAGSTER_POSTGRES_DSN when they are set."
            )
            raise DatabaseUnreachable(msg)

    def ensure(self) -> Hold:
        """See that we still have the lock, and take it again after the session was lost.

        Of a session that broke the server may learn much later: until then it holds the lock, and
        is ended here.
        """
        try:
            if self._connection is not None:
                self._connection.execute("select 1")
                if self._is_locked:
                    return Hold.HELD
            else:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
            self._is_locked = _try_lock(self._connection)
            if not self._is_locked and self._holding_pid is not None:
                lost = (*DAEMON_LOCK, self._holding_pid, self._name)
                self._connection.execute(_END_LOST, lost)
                self._is_locked = _try_lock(self._connection)
        except psycopg.OperationalError:
            self._close()
            return Hold.AWAY
        if not self._is_locked:
            return Hold.TAKEN
        self._holding_pid = self._connection.info.backend_pid
        return Hold.HELD

    def _holder(self) -> str:
        """Name of the session that has it."""
        if self._connection is None:
            return "unknown"
        row = self._connection.execute(_HOLDER, DAEMON_LOCK).fetchone()
        return "unknown" if row is None else str(row[0])

    def release(self) -> None:
        """Close the session, and with it the lock."""
        self._close()
        self._holding_pid = None

    def _close(self) -> None:
        """Close the session, or what is left of it."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._is_locked = False


def _try_lock(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Take the lock if nobody has it."""
    row = connection.execute("select pg_try_advisory_lock(%s, %s)", DAEMON_LOCK).fetchone()
    return row is not None and bool(row[0])


def check_port_is_free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on.

    Raises:
        ConfigurationInvalid: it is in use, or not an address of this machine.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in addresses:
            with socket.socket(family, kind, protocol) as probe:
                # As uvicorn does it: a connection of a former server that still winds down is fine.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        msg = (
            f"The web UI cannot listen on {host} port {port}: {error.strerror or error}. Stop the "
            "program that uses it, or choose another with `resmon up --port N` or `--host H`."
        )
        raise ConfigurationInvalid(msg) from error
