"""Real PostgreSQL for tests: one server per session, a template migrated once, a clone of it per
test.

RESMON_TEST_POSTGRES_DSN (a role that may create databases) is used instead of an embedded server
when it is set.
"""

import itertools
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from resmon_resources import migrations
from resmon_resources.embedded_postgres import EmbeddedPostgres, with_database
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import open_connection
from resmon_resources.settings import PROJECT_ROOT, Settings, load_settings

SQL_PATH = PROJECT_ROOT / "sql"
LIGHT_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "max_connections": "60",
    # A worker that comes by changes plans and page counts, and holds up who clones a template.
    "autovacuum": "off",
}
"""A test's data need not survive the machine, and statistics come when a test asks for them."""

MEMORY = Path("/dev/shm")
MEMORY_FREE_BYTES = 4 * 2**30
"""A server of the tests takes up to half a gigabyte there, and each of the workers has two."""

TEST_OS_USER = "nobody"
"""Exists everywhere, so that tests run by root leave no account behind."""

_numbers = itertools.count(1)


def embedded_settings(home: Path, **environment: str) -> Settings:
    """Settings of an embedded server in `home`."""
    return load_settings(
        {"RESMON_HOME": str(home), "RESMON_POSTGRES_OS_USER": TEST_OS_USER, **environment}
    )


def remove_embedded(server: EmbeddedPostgres) -> None:
    """Stop a server and remove what it keeps outside its home."""
    server.stop()
    shutil.rmtree(server.data_directory, ignore_errors=True)
    shutil.rmtree(server.socket_directory, ignore_errors=True)


def start_light(home: Path, *, more_settings: Mapping[str, str] | None = None) -> EmbeddedPostgres:
    """Start a server with `LIGHT_SETTINGS` and more; its data lies in memory where there is room.

    A clone of a database is 500 files: on a disk they are most of what such a test costs.
    """
    settings = {**LIGHT_SETTINGS, **(more_settings or {})}
    server = EmbeddedPostgres(embedded_settings(home), extra_settings=settings)
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_FREE_BYTES:
        server.data_directory = MEMORY / f"resmon-tests-{uuid.uuid4().hex}"
    server.start()
    return server


def create_database(maintenance_url: str, name: str, *, template: str = "template0") -> str:
    """Create a database and return its URL."""
    with psycopg.connect(maintenance_url, autocommit=True) as connection:
        # In memory a copy of the files takes a quarter of the processor time of one through the
        # log (520 relations); but it makes two checkpoints, for which a disk would be waited for.
        has_disk = connection.execute("show fsync").fetchone() == ("on",)
        connection.execute(
            sql.SQL("create database {} template {} strategy {}").format(
                sql.Identifier(name),
                sql.Identifier(template),
                sql.SQL("wal_log" if has_disk else "file_copy"),
            )
        )
    return with_database(maintenance_url, name)


def drop_database(maintenance_url: str, name: str) -> None:
    """Drop a database, ending what still uses it."""
    with psycopg.connect(maintenance_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        )


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a maintenance database on the session's server."""
    external = os.environ.get("RESMON_TEST_POSTGRES_DSN")
    if external:
        yield external
        return
    server = start_light(tmp_path_factory.mktemp("pg"))
    try:
        yield server.url("postgres")
    finally:
        remove_embedded(server)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """Name of a database with the current schema and no rows; clone it, do not write to it."""
    name = f"resmon_template_{uuid.uuid4().hex[:12]}"
    url = create_database(postgres_server, name)
    with open_connection(url) as connection:
        migrations.apply(connection, SQL_PATH, report=lambda _: None)
    yield name
    drop_database(postgres_server, name)


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    """URL of a database without any schema of ours."""
    name = f"resmon_empty_{os.getpid()}_{next(_numbers)}"
    yield create_database(postgres_server, name)
    drop_database(postgres_server, name)


@pytest.fixture
def postgres(postgres_server: str, migrated_template: str) -> Iterator[PostgresResource]:
    """The data database with the current schema and no rows, this test's own; its URL is
    `postgres.dsn`.
    """
    name = f"resmon_test_{os.getpid()}_{next(_numbers)}"
    yield PostgresResource(dsn=create_database(postgres_server, name, template=migrated_template))
    drop_database(postgres_server, name)


@pytest.fixture
def postgres_connection(postgres: PostgresResource) -> Iterator[psycopg.Connection]:
    """One autocommit connection to this test's database."""
    with postgres.connect(autocommit=True) as connection:
        yield connection
