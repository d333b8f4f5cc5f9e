"""An external PostgreSQL: Dagster's database is made, or it is said who must make it."""

import psycopg
import pytest
from psycopg import sql

from resmon_resources.embedded_postgres import (
    dagster_url,
    database_of,
    ensure_dagster_database,
    with_database,
)
from resmon_resources.errors import DatabaseError, DatabaseUnreachable
from resmon_resources.settings import load_settings
from tests.fixtures_postgres import drop_database

pytestmark = pytest.mark.integration


@pytest.fixture
def external(empty_database, postgres_server):
    """Settings that name an external server; the session's plays it."""
    settings = load_settings({"RESMON_POSTGRES_DSN": empty_database})
    yield settings
    drop_database(postgres_server, database_of(dagster_url(settings)))


def answers(url):
    with psycopg.connect(url) as connection:
        return connection.execute("select current_database()").fetchone()[0]


def test_dagsters_database_is_made_once(external):
    """Lets back: a first start on an external server that fails in Dagster's storage."""
    for _ in range(2):
        ensure_dagster_database(external)
    assert answers(dagster_url(external)) == database_of(external.postgres_dsn) + "_dagster"


def test_missing_permission_names_the_statement(external, postgres_server):
    """Lets back: "permission denied" without a word about what an administrator has to do."""
    role = f"resmon_plain_{database_of(external.postgres_dsn)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
    try:
        dsn = external.postgres_dsn.replace("//resmon@", f"//{role}@")
        with pytest.raises(
            DatabaseError, match=f'CREATE DATABASE "[a-z0-9_]+_dagster" OWNER "{role}"'
        ):
            ensure_dagster_database(load_settings({"RESMON_POSTGRES_DSN": dsn}))
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def test_dagsters_own_dsn_is_made_on_its_server(external, postgres_server):
    """Lets back: a database that must exist beforehand although it could be made."""
    own = with_database(postgres_server, database_of(external.postgres_dsn) + "_dagster")
    settings = load_settings(
        {
            "RESMON_POSTGRES_DSN": "postgresql://nobody@127.0.0.1:1/x",
            "RESMON_DAGSTER_POSTGRES_DSN": own,
        }
    )
    ensure_dagster_database(settings)
    assert answers(own)


def test_an_unreachable_server_is_named():
    """Lets back: a traceback of psycopg when the host is down."""
    settings = load_settings({"RESMON_POSTGRES_DSN": "postgresql://u:hush@127.0.0.1:1/x"})
    with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1") as caught:
        ensure_dagster_database(settings)
    assert "hush" not in str(caught.value)
    own = load_settings(
        {
            "RESMON_POSTGRES_DSN": "postgresql://u@127.0.0.1:1/x",
            "RESMON_DAGSTER_POSTGRES_DSN": "postgresql://u@127.0.0.1:1/y",
        }
    )
    with pytest.raises(DatabaseUnreachable):
        ensure_dagster_database(own)
