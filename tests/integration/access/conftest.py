"""A server with passwords, its roles as sql/bootstrap/roles.sql says, and a database that a login
without superuser rights migrated.

A cluster has its roles once, so the server is of its own: other tests make these roles and drop
them.
"""

import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from resmon_resources import migrations
from resmon_resources.postgres_connection import open_connection
from tests.fixtures_postgres import (
    SQL_PATH,
    create_database,
    drop_database,
    remove_embedded,
    start_light,
)
from tests.integration.access.tenants import (
    ACME,
    ACME_EU,
    GLOBEX,
    HOLDING,
    PARENTS,
    Tenants,
    add_rows,
)

ADMIN = "resmon_admin"
PLATFORM = "resmon_platform"
PASSWORD = secrets.token_hex(8)
"""Of every role but the superuser."""

READERS: Mapping[str, int | Literal["everything", "nothing"]] = {
    "acme_reader": ACME,
    "globex_reader": GLOBEX,
    "all_reader": "everything",
    "nobody_reader": "nothing",
}
"""Logins that are members of resmon_reader, and what they are granted where rows are."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """A server that asks for passwords.

    Attributes:
        url: its maintenance database as superuser.
    """

    url: str

    def dsn(self, database: str, role: str) -> str:
        """Connection string of a role with its password."""
        given = conninfo_to_dict(self.url)
        host, port = given["host"], given["port"]
        return f"postgresql://{role}:{PASSWORD}@/{database}?host={host}&port={port}"

    @contextmanager
    def connect(self, database: str, role: str) -> Iterator[psycopg.Connection[Any]]:
        """A connection of a role, in autocommit."""
        with psycopg.connect(self.dsn(database, role), autocommit=True) as connection:
            yield connection

    @contextmanager
    def superuser(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A connection of the superuser, in autocommit."""
        dsn = make_conninfo(self.url, dbname=database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection


def create_login(connection: psycopg.Connection[Any], name: str, *, group: str | None) -> None:
    """A login with the password, member of a group or of none."""
    connection.execute(
        sql.SQL("create role {} login connection limit 20 password {}").format(
            sql.Identifier(name), sql.Literal(PASSWORD)
        )
    )
    if group is not None:
        connection.execute(
            sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(name))
        )


def grant(connection: psycopg.Connection[Any], role: str, organization_id: int | None) -> None:
    """Let a role read an organization with all below it; None: everything."""
    connection.execute(
        "insert into inventory.access_grant (role_name, organization_id, granted_at) "
        "values (%s, %s, now())",
        [role, organization_id],
    )


@contextmanager
def server_with_passwords(home: Path) -> Iterator[Server]:
    """An embedded server that lets in its superuser alone, and others with a password."""
    # A queue of notices that a test can fill: half a MiB.
    postgres = start_light(home, more_settings={"max_notify_queue_pages": "64"})
    try:
        (postgres.data_directory / "pg_hba.conf").write_text(
            "local all resmon trust\nlocal all all scram-sha-256\n", encoding="utf-8"
        )
        server = Server(postgres.url("postgres"))
        with server.superuser() as connection:
            connection.execute("select pg_reload_conf()")
        yield server
    finally:
        remove_embedded(postgres)


@pytest.fixture(scope="session")
def password_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded server whose roles need passwords, but for its superuser."""
    with server_with_passwords(tmp_path_factory.mktemp("passwords")) as server:
        with server.superuser() as connection:
            for _ in range(2):
                connection.execute((SQL_PATH / "bootstrap" / "roles.sql").read_bytes())
            create_login(connection, ADMIN, group="resmon_owner")
            connection.execute(f"alter role {ADMIN} set role resmon_owner")
            create_login(connection, PLATFORM, group="resmon_writer")
            for reader in READERS:
                create_login(connection, reader, group="resmon_reader")
        yield server


@pytest.fixture(scope="session")
def owned_template(password_server: Server) -> str:
    """Name of a database that belongs to resmon_owner and was migrated by a login of that role."""
    name = "resmon_template"
    create_database(password_server.url, name)
    with password_server.superuser(name) as connection:
        connection.execute(f"alter database {name} owner to resmon_owner")
        connection.execute((SQL_PATH / "bootstrap" / "database.sql").read_bytes())
    with open_connection(password_server.dsn(name, ADMIN)) as connection:
        migrations.apply(connection, SQL_PATH, report=lambda _: None)
    return name


@pytest.fixture
def database(password_server: Server, owned_template: str) -> Iterator[str]:
    """Name of a database of this test's own, with the current schema and no rows."""
    name = f"resmon_access_{next(_numbers)}"
    create_database(password_server.url, name, template=owned_template)
    with password_server.superuser() as connection:
        # Privileges of a database are not copied with it. Readers may make temporary tables here:
        # that is what a server allows unless it is forbidden, and it helps who tries to get out.
        connection.execute(f"alter database {name} owner to resmon_owner")
    yield name
    drop_database(password_server.url, name)


def _tenants(server: Server, template: str, organization_ids: Sequence[int]) -> Iterator[Tenants]:
    """A database with rows of these organizations, and what `READERS` says granted."""
    name = f"resmon_tenants_{next(_numbers)}"
    create_database(server.url, name, template=template)
    with server.superuser() as connection:
        connection.execute(f"alter database {name} owner to resmon_owner")
    with server.connect(name, PLATFORM) as connection:
        add_rows(connection, organization_ids)
        for role, granted in READERS.items():
            if granted == "everything" or granted in organization_ids:
                grant(connection, role, None if granted == "everything" else int(granted))
    with server.superuser(name) as connection:
        # Statistics of every column: what the planner knows is one more thing to look into.
        connection.execute("analyze")
    yield Tenants(server, name)
    drop_database(server.url, name)


@pytest.fixture(scope="module")
def tenants(password_server: Server, owned_template: str) -> Iterator[Tenants]:
    """A database with rows of several organizations in every table that readers read.

    Tests of a module share it and leave it as it was.
    """
    yield from _tenants(password_server, owned_template, tuple(PARENTS))


@pytest.fixture(scope="module")
def alone(password_server: Server, owned_template: str) -> Iterator[Tenants]:
    """The same without any organization but acme, and those above and below it."""
    yield from _tenants(password_server, owned_template, (HOLDING, ACME, ACME_EU))
