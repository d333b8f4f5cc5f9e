"""The database for `resmon up`, and `resmon db`: migrate, psql, start, stop.

Belongs here: bringing the embedded server up and keeping it up, or checking an external one; and
the commands around it. How PostgreSQL is started is in resmon_resources/embedded_postgres.py.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import click
import psycopg

from resmon_cli.connection import told_to_people
from resmon_cli.environment import (
    prepare_home,
    replace_process,
    shell_variables,
    up_lock_path,
    warn_when_not_running,
)
from resmon_cli.guards import HomeLock
from resmon_cli.lazy import NamedGroup
from resmon_cli.services import prepare_instance
from resmon_cli.supervisor import Report, bound_log, restart_delay_seconds
from resmon_resources import migrations
from resmon_resources.embedded_postgres import (
    EmbeddedPostgres,
    data_url,
    ensure_dagster_database,
)
from resmon_resources.errors import ConfigurationInvalid, DatabaseError
from resmon_resources.inventory import ensure_local_server
from resmon_resources.postgres_connection import open_connection
from resmon_resources.settings import Settings, load_settings

STOP_SECONDS = 4.0
"""A fast shutdown takes 0.06 s; after this it is an immediate one, and the next start recovers."""

STEADY_SECONDS = 60.0


class StopRequested(Exception):
    """Somebody wants us to stop while we wait for the database."""


class DataServer:
    """The PostgreSQL behind `resmon up`: embedded, hence ours to start and stop, or external."""

    def __init__(
        self, settings: Settings, *, report: Report, is_stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._report = report
        self._is_stopping = is_stopping
        self._embedded = EmbeddedPostgres(settings) if settings.is_embedded else None
        self._deaths = 0
        self._started_at = 0.0
        self._restart_at: float | None = None

    def start(self, *, now: float) -> None:
        """Start or adopt the embedded server, or reach the external one; create what is missing.

        Raises:
            DatabaseUnreachable: it does not answer.
            DatabaseTooOld: it is older than PostgreSQL 15.
            StopRequested: a stop was requested while it was starting.
        """
        if self._embedded is None:
            with open_connection(data_url(self._settings)):
                pass
            ensure_dagster_database(self._settings)
            return
        self._start_embedded(self._embedded)
        self._started_at = now
        self._embedded.ensure_databases()

    def _start_embedded(self, server: EmbeddedPostgres) -> None:
        """Start it; recovery may take minutes, so its progress is told and can be interrupted."""
        server.start(progress=self._on_progress)
        what = "adopted the one that runs already" if server.was_adopted else "started"
        self._report(f"PostgreSQL: {what} (pid {server.pid})")

    def _on_progress(self, text: str) -> None:
        """Tell how the start goes on; end the wait when a stop is requested."""
        if self._is_stopping():
            raise StopRequested
        self._report(text)

    def bring_up_schema(self) -> None:
        """Migrate the embedded database; refuse an external one that is not current.

        Raises:
            SchemaOutdated: external, and migrations are pending; names the command.
        """
        with open_connection(data_url(self._settings)) as connection:
            if self._embedded is None:
                migrations.check(connection, self._settings.sql_path)
            else:
                migrations.apply(connection, self._settings.sql_path, report=self._report)

    def register_this_machine(self) -> None:
        """Make this machine the first server of an inventory that never had one."""
        with open_connection(data_url(self._settings)) as connection:
            server = ensure_local_server(connection, now=datetime.now(UTC))
        if server is not None:
            self._report(f"This machine is the first server: {server.name}, transport local")

    def watch(self, *, now: float) -> None:
        """Start the embedded server again, with back-off, when it has died."""
        server = self._embedded
        if server is None:
            return
        bound_log(server.log_file)
        if server.is_running:
            return
        if self._restart_at is None:
            is_steady = now - self._started_at >= STEADY_SECONDS
            self._deaths = 1 if is_steady else self._deaths + 1
            self._restart_at = now + restart_delay_seconds(self._deaths)
            self._report(f"PostgreSQL ended; starting it again. Log: {server.log_file}")
        if now < self._restart_at:
            return
        self._restart_at = None
        self._started_at = now
        try:
            self._start_embedded(server)
        except DatabaseError as error:
            self._report(str(error))

    def leave_running(self) -> None:
        """Let the embedded server outlive this process; the next start adopts it."""
        if self._embedded is not None:
            self._embedded.leave_running()

    def stop(self) -> None:
        """Stop the embedded server, adopted or not; an external one is left alone."""
        if self._embedded is not None and self._embedded.is_running:
            self._report("Stopping PostgreSQL")
            self._embedded.stop(limit_seconds=STOP_SECONDS)


@click.group("db", cls=NamedGroup)
def db_command() -> None:
    """Migrate the database, open psql, start or stop the embedded server."""


@db_command.command("migrate")
@click.option(
    "--check", is_flag=True, help="Change nothing; exit status 1 when something is pending."
)
def migrate_command(*, check: bool) -> None:
    """Apply the pending migrations and changed functions, views and grants."""
    settings = load_settings()
    with told_to_people(), open_connection(data_url(settings)) as connection:
        if check:
            _check_schema(connection, settings)
            return
        done = migrations.apply(connection, settings.sql_path, report=click.echo)
    if done.is_empty:
        click.echo("The schema is current; nothing to do.")


def _check_schema(connection: psycopg.Connection, settings: Settings) -> None:
    """Say that the schema is current, or raise."""
    migrations.check(connection, settings.sql_path)
    click.echo("The schema is current.")


@db_command.command("psql", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql_command(arguments: tuple[str, ...]) -> None:
    """Open psql on the data database; ARGUMENTS go to psql, for example -c 'select 1'."""
    settings = load_settings()
    variables = shell_variables(settings, current_path=os.environ.get("PATH", os.defpath))
    warn_when_not_running(settings)
    replace_process(("psql", *arguments), {**os.environ, **variables})


@db_command.command("start")
def start_command() -> None:
    """Start the embedded PostgreSQL alone, in the background; `resmon up` adopts it."""
    settings = _embedded_settings()
    prepare_home(settings)
    with HomeLock(up_lock_path(settings)):
        server = DataServer(settings, report=click.echo, is_stopping=lambda: False)
        server.start(now=0.0)
        server.bring_up_schema()
        server.register_this_machine()
        prepare_instance(settings, is_stopping=lambda: False)
        server.leave_running()


@db_command.command("stop")
def stop_command() -> None:
    """Stop the embedded PostgreSQL."""
    settings = _embedded_settings()
    server = EmbeddedPostgres(settings)
    if not server.data_directory.exists() or not settings.home.exists():
        click.echo("The embedded PostgreSQL is not running.")
        return
    with HomeLock(up_lock_path(settings)):
        if not server.adopt():
            click.echo("The embedded PostgreSQL is not running.")
            return
        server.stop()
    click.echo("PostgreSQL stopped.")


def _embedded_settings() -> Settings:
    """The settings, when they mean the embedded server.

    Raises:
        ConfigurationInvalid: RESMON_POSTGRES_DSN names another server.
    """
    settings = load_settings()
    if not settings.is_embedded:
        msg = (
            "RESMON_POSTGRES_DSN is set, so Resmon uses that PostgreSQL and does not start or stop "
            "one. Unset the variable to use the embedded server."
        )
        raise ConfigurationInvalid(msg)
    return settings
