"""Migrations: numbering, from empty, twice, from an older schema with rows, and what is refused."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from resmon_resources import migrations
from resmon_resources.errors import MigrationFailed, SchemaOutdated
from resmon_resources.postgres_connection import open_connection
from tests.fixtures_postgres import SQL_PATH


def silent(_line: str) -> None:
    """A report that nobody reads."""


@pytest.fixture
def sql_path(tmp_path: Path) -> Path:
    """A copy of sql/ that a test may change."""
    return Path(shutil.copytree(SQL_PATH, tmp_path / "sql"))


@pytest.fixture
def connection(empty_database: str) -> Iterator[psycopg.Connection]:
    """A connection to a database without any schema of ours."""
    with open_connection(empty_database) as connection:
        yield connection


def next_migration(sql_path: Path, text: str, *, name: str = "more") -> Path:
    number = len(migrations.read_migrations(sql_path)) + 1
    path = sql_path / "migrations" / f"{number:04d}_{name}.sql"
    path.write_text(text)
    return path


def test_shipped_files_are_numbered_and_explain_themselves():
    """Lets back: two branches that took the same number; a migration without locks and undo."""
    found = migrations.read_migrations(SQL_PATH)
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    for one in found:
        head = one.text.removeprefix(migrations.NO_TRANSACTION).lstrip().splitlines()
        assert [line.split(":")[0] for line in head[:3]] == ["-- Purpose", "-- Locks", "-- Undo"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0002_again.sql", "used twice"),
        ("0099_far.sql", "is missing"),
        ("7_short.sql", "not named like"),
    ],
)
def test_gaps_duplicates_and_odd_names_are_refused(sql_path, name, said):
    """Lets back: an order of application that depends on who merged first."""
    (sql_path / "migrations" / name).write_text("select 1;")
    with pytest.raises(MigrationFailed, match=said):
        migrations.read_migrations(sql_path)


def test_a_folder_without_migrations_is_refused(tmp_path):
    """Lets back: a wrong RESMON_SQL_PATH that looks like a current schema."""
    with pytest.raises(MigrationFailed, match="RESMON_SQL_PATH"):
        migrations.read_migrations(tmp_path)


@pytest.mark.integration
def test_from_empty_then_current_then_nothing_to_do(connection):
    """Lets back: a file applied twice, or a plan that never becomes empty."""
    told: list[str] = []
    with pytest.raises(SchemaOutdated, match="resmon db migrate"):
        migrations.check(connection, SQL_PATH)
    done = migrations.apply(connection, SQL_PATH, report=told.append)
    *named, counted = told
    assert named == [f"applied migrations/{one.path.name}" for one in done.migrations] != []
    assert counted == f"applied {len(done.repeatables)} functions, views and grants of repeatable/"
    migrations.check(connection, SQL_PATH)
    assert migrations.plan(connection, SQL_PATH).is_empty
    again: list[str] = []
    assert migrations.apply(connection, SQL_PATH, report=again.append).is_empty
    assert again == []
    assert not connection.autocommit


@pytest.mark.integration
def test_plan_and_check_write_nothing(connection):
    """Lets back: a check that creates the ledger on somebody's database."""
    migrations.plan(connection, SQL_PATH)
    connection.commit()
    query = "select count(*) from pg_namespace where nspname = 'ops'"
    assert connection.execute(query).fetchone() == (0,)


@pytest.mark.integration
def test_an_older_schema_with_rows_is_upgraded_once(connection, sql_path):
    """Lets back: an upgrade that loses rows, or that an old schema is worked on."""
    migrations.apply(connection, sql_path, report=silent)
    connection.execute(
        "insert into inventory.organizations (name, created_at) values ('kept', '2026-01-01Z')"
    )
    connection.commit()
    added = next_migration(
        sql_path, "alter table inventory.organizations add column note text not null default '-';"
    )
    with pytest.raises(SchemaOutdated, match=added.name):
        migrations.check(connection, sql_path)
    for pending in (1, 0):
        assert len(migrations.apply(connection, sql_path, report=silent).migrations) == pending
    row = connection.execute("select name, note from inventory.organizations").fetchone()
    assert row == ("kept", "-")


@pytest.mark.integration
def test_a_changed_applied_file_is_refused(connection, sql_path):
    """Lets back: two databases with the same ledger and different tables."""
    migrations.apply(connection, sql_path, report=silent)
    first = migrations.read_migrations(sql_path)[0].path
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))
    assert migrations.plan(connection, sql_path).is_empty  # only line ends
    first.write_text(first.read_text() + "\n-- changed")
    for refused in (migrations.plan, migrations.check):
        with pytest.raises(MigrationFailed, match="changed after it had been applied"):
            refused(connection, sql_path)


@pytest.mark.integration
def test_a_newer_database_is_refused(connection, sql_path):
    """Lets back: an old Resmon writing into tables it does not know."""
    path = next_migration(sql_path, "select 1;", name="of_the_future")
    migrations.apply(connection, sql_path, report=silent)
    path.unlink()
    with pytest.raises(MigrationFailed, match=r"of_the_future.*newer"):
        migrations.check(connection, sql_path)


@pytest.mark.integration
def test_a_failing_file_leaves_nothing_of_itself_and_keeps_those_before(connection, sql_path):
    """Lets back: a half-applied migration that can be neither repeated nor skipped."""
    next_migration(sql_path, "create table ops.first (n int);")
    broken = next_migration(sql_path, "create table ops.half (n int);\nselect 1/0;")
    with pytest.raises(MigrationFailed, match=f"{broken.name} failed.*division by zero"):
        migrations.apply(connection, sql_path, report=silent)
    query = "select to_regclass('ops.first') is null, to_regclass('ops.half') is null"
    assert connection.execute(query).fetchone() == (False, True)
    connection.commit()
    broken.write_text("create table ops.half (n int);")
    migrations.apply(connection, sql_path, report=silent)
    migrations.check(connection, sql_path)


@pytest.mark.integration
def test_a_file_marked_no_transaction_runs_outside_one(connection, sql_path):
    """Lets back: CREATE INDEX CONCURRENTLY refused inside a transaction block."""
    next_migration(
        sql_path,
        f"{migrations.NO_TRANSACTION}\n-- Purpose: an index; with a semicolon;\n"
        "create index concurrently if not exists hour_revision\n    on ops.raw_hour (revision);\n"
        "select 1;\n",
    )
    migrations.apply(connection, sql_path, report=silent)
    assert connection.execute("select to_regclass('ops.hour_revision')").fetchone() != (None,)
    migrations.check(connection, sql_path)


@pytest.mark.parametrize("body", ["do $$ begin end $$;", "do $body$ begin end $body$;"])
def test_function_bodies_without_a_transaction_are_refused(body):
    """Lets back: a body cut in two at one of its semicolons."""
    with pytest.raises(MigrationFailed, match="function body"):
        migrations.statements_of(body, name="0009_x.sql")


@pytest.mark.integration
def test_a_changed_repeatable_is_applied_again(connection, sql_path):
    """Lets back: a function in the repository that the database never sees."""
    migrations.apply(connection, sql_path, report=silent)
    path = sql_path / "repeatable" / "functions" / "ops.answer.sql"
    path.write_text("create or replace function ops.answer() returns int return 42;")
    told: list[str] = []
    migrations.apply(connection, sql_path, report=told.append)
    path.write_text("create or replace function ops.answer() returns int return 43;")
    with pytest.raises(SchemaOutdated, match=r"functions/ops\.answer\.sql"):
        migrations.check(connection, sql_path)
    migrations.apply(connection, sql_path, report=told.append)
    assert told == ["applied repeatable/functions/ops.answer.sql"] * 2
    assert connection.execute("select ops.answer()").fetchone() == (43,)


@pytest.mark.integration
def test_a_broken_repeatable_keeps_all_of_them_as_they_were(connection, sql_path):
    """Lets back: new functions under old views."""
    migrations.apply(connection, sql_path, report=silent)
    functions = sql_path / "repeatable" / "functions"
    (functions / "ops.a_answer.sql").write_text(
        "create function ops.answer() returns int return 1;"
    )
    (functions / "ops.b_broken.sql").write_text("create function ops.broken() rubbish;")
    with pytest.raises(MigrationFailed, match=r"repeatable/functions/ops\.b_broken\.sql failed"):
        migrations.apply(connection, sql_path, report=silent)
    assert connection.execute("select to_regproc('ops.answer')").fetchone() == (None,)


@pytest.mark.integration
def test_two_runners_at_once_take_turns(empty_database, monkeypatch):
    """Lets back: two processes creating the same tables, one of them failing."""
    monkeypatch.setattr(migrations, "LOCK_POLL_SECONDS", 0.01)
    told: list[str] = []

    def run() -> None:
        with open_connection(empty_database) as connection:
            migrations.apply(connection, SQL_PATH, report=told.append)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    applied = [line for line in told if line.startswith("applied migrations/")]
    assert len(applied) == len(set(applied)) == len(migrations.read_migrations(SQL_PATH))


@pytest.mark.integration
def test_a_runner_that_never_ends_is_reported(empty_database, monkeypatch):
    """Lets back: `resmon up` hanging without a word behind a stuck migration."""
    monkeypatch.setattr(migrations, "LOCK_POLL_SECONDS", 0.01)
    monkeypatch.setattr(migrations, "LOCK_WAIT_SECONDS", 0.0)
    told: list[str] = []
    with open_connection(empty_database, autocommit=True) as holder:
        assert migrations._try_lock(holder)
        with open_connection(empty_database) as connection:
            with pytest.raises(MigrationFailed, match="pg_stat_activity"):
                migrations.apply(connection, SQL_PATH, report=told.append)
            assert connection.execute("show statement_timeout").fetchone() == ("15min",)
    assert told == ["waiting for another process that migrates this database"]
