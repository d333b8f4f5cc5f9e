"""Connections to PostgreSQL, advisory locks and query files, for every process of Resmon.

Belongs here: what commands and the supervisor need of the database. Imports neither Dagster nor
polars, which cost a second and 150 MB at each start; those who need them use postgres.py.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from resmon_resources.errors import (
    ConfigurationInvalid,
    DatabaseTooOld,
    DatabaseUnreachable,
    LockHeld,
)
from resmon_resources.settings import load_settings

MINIMUM_VERSION = 150_000
"""security_invoker views came with PostgreSQL 15."""

CONNECT_SECONDS = 10
SESSION_SETTINGS: Mapping[str, str] = {
    "TimeZone": "UTC",
    "statement_timeout": "15min",
    "lock_timeout": "60s",
    # A run that hangs in Python must not keep a snapshot, and with it dead rows, for ever.
    "idle_in_transaction_session_timeout": "60min",
}
TCP_SETTINGS: Mapping[str, int] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A network that swallows packets ends a connection after about a minute instead of hours."""


@contextmanager
def open_connection(url: str, *, autocommit: bool = False) -> Iterator[psycopg.Connection]:
    """A connection; commits at the end of the block, rolls back when it raises, and closes.

    Raises:
        ConfigurationInvalid: the URL cannot be read.
        DatabaseUnreachable: no connection; names host and database, never the password.
        DatabaseTooOld: the server is older than PostgreSQL 15.
    """
    try:
        connection = psycopg.connect(connection_string(url), autocommit=True)
    except psycopg.OperationalError as error:
        raise _unreachable(url, error) from error
    with closing(connection):
        _prepare_session(connection)
        connection.autocommit = autocommit
        with connection:
            yield connection


def advisory_lock(connection: psycopg.Connection, *names: str) -> None:
    """Wait for the one lock that these names make up together; held until the transaction ends.

    `advisory_lock(connection, "tier.metrics_1min", "2026-01-01-00:00")` excludes only callers with
    both names equal.

    Raises:
        LockHeld: another session kept it for longer than this session's lock_timeout.
    """
    key = {"name": "\x1f".join(names)}
    row = connection.execute(
        "select pg_try_advisory_xact_lock(hashtextextended(%(name)s, 0))", key
    ).fetchone()
    if row is not None and row[0]:
        return
    # Asked now: after the timeout the transaction answers nothing any more.
    holder = connection.execute(load_query("ops", "select_lock_holder"), key).fetchone()
    try:
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", key)
    except psycopg.errors.LockNotAvailable as error:
        raise LockHeld(_held(names, holder)) from error


def _held(names: tuple[str, ...], holder: tuple[Any, ...] | None) -> str:
    """Who was in the way, and what ends it."""
    told = f"The lock of {' '.join(names)} was not free within lock_timeout."
    if holder is None:
        return f"{told} Try again."
    pid, role_name, application_name = holder
    return (
        f"{told} Session {pid} of role {role_name} ({application_name or 'no application name'}) "
        f"held it when the wait began. If it is none of Resmon's, let a superuser end it with "
        f"pg_terminate_backend({pid}); sql/bootstrap/database.sql keeps readers from such locks."
    )


def array_parameter(values: list[Any]) -> list[Any] | str:
    """A column of numbers or times in PostgreSQL's own text form of an array, others as they are.

    The driver adapts a list element by element in Python, which was a tenth of a collector's CPU.
    """
    first = next((value for value in values if value is not None), None)
    if isinstance(first, int | float) and not isinstance(first, bool):
        return f"{{{','.join(['NULL' if value is None else repr(value) for value in values])}}}"
    if isinstance(first, datetime):
        return f"{{{','.join(['NULL' if v is None else v.isoformat() for v in values])}}}"
    return values


def load_query(stage: str, name: str) -> str:
    """Text of sql/queries/<stage>/<name>.sql.

    Raises:
        ConfigurationInvalid: there is no such file.
    """
    return _read_query(load_settings().sql_path / "queries" / stage / f"{name}.sql")


@functools.cache
def _read_query(path: Path) -> str:
    """Text of a query file, read once per process."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        msg = (
            f"Reading the query {path} failed: {error.strerror}. Set RESMON_SQL_PATH to the sql "
            "folder of this Resmon."
        )
        raise ConfigurationInvalid(msg) from error


def connection_string(url: str) -> str:
    """Connection string with our limits under what the URL itself says."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Its text may quote the URL, and with it the password.
        msg = (
            "The PostgreSQL URL cannot be read. Give RESMON_POSTGRES_DSN the form "
            "postgresql://user:password@host:5432/database, special characters percent-encoded."
        )
        raise ConfigurationInvalid(msg) from None
    ours: dict[str, Any] = {  # conninfo's own parameter type
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "resmon",
        **TCP_SETTINGS,
    }
    return conninfo.make_conninfo("", **{**ours, **given})


def database_identity(url: str) -> str:
    """Which database a URL means, without user and password: `host:port/name`."""
    given = conninfo.conninfo_to_dict(url)
    host = given.get("host") or given.get("hostaddr") or ""
    return f"{host}:{given.get('port') or 5432}/{given.get('dbname') or ''}"


def _prepare_session(connection: psycopg.Connection) -> None:
    """Zone and limits; refuses an old server."""
    version = connection.info.server_version
    if version < MINIMUM_VERSION:
        msg = (
            f"PostgreSQL on {connection.info.host} is version {version // 10_000}; Resmon needs "
            "15 or newer. Upgrade it, or unset RESMON_POSTGRES_DSN to use the embedded server."
        )
        raise DatabaseTooOld(msg)
    parts = ", ".join(["set_config(%s, %s, false)"] * len(SESSION_SETTINGS))
    values = [text for pair in SESSION_SETTINGS.items() for text in pair]
    connection.execute(f"select {parts}".encode(), values)


def _unreachable(url: str, error: psycopg.OperationalError) -> DatabaseUnreachable:
    """Our error, with host and database and without the password."""
    given = conninfo.conninfo_to_dict(url)
    text = " ".join(str(error).split())
    password = given.get("password")
    if password:
        text = text.replace(str(password), "***")
    host = str(given.get("host") or given.get("hostaddr") or "the local socket")
    port = given.get("port") or 5432
    if host.startswith("/") and not (Path(host) / f".s.PGSQL.{port}").exists():
        msg = f"PostgreSQL is not running: there is no socket in {host}. Start it with: resmon up"
        return DatabaseUnreachable(msg)
    advice = (
        "Is it running? Start Resmon with: resmon up"
        if host.startswith("/")
        else "Check RESMON_POSTGRES_DSN, and that this machine may connect"
    )
    if "FATAL" in text and ("pg_hba.conf" in text or "authentication failed" in text):
        advice = "It runs, and refuses this login: see its pg_hba.conf, and the password"
    return DatabaseUnreachable(
        f"Connecting to PostgreSQL on {host}, database {given.get('dbname', '(default)')}, "
        f"failed: {text}. {advice}."
    )
