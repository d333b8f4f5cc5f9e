"""Migrations: which SQL files are pending, apply them, or refuse to work on an old schema.

Belongs here: reading sql/migrations and sql/repeatable, the ledgers ops.schema_migrations and
ops.schema_repeatables, and the order of application (sql/README.md). Knows no table of the
platform.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from resmon_resources.errors import MigrationFailed, SchemaOutdated

MIGRATION_NAME = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
NO_TRANSACTION = "-- resmon: no transaction"
"""First line of a migration that PostgreSQL refuses inside a transaction; its statements must be
repeatable.
"""

REPEATABLE_FOLDERS = ("functions", "views", "grants")
"""Order of application: views use functions, grants name views."""

LOCK_KEY = 7_203_411_968
"""Session advisory lock of the runner; any number that nothing else in this database uses."""

LOCK_WAIT_SECONDS = 600.0
LOCK_POLL_SECONDS = 0.2

NAMED_REPEATABLES = 10
"""Changed functions, views and grants that are named one by one; of more, a new database for one,
a count is told.
"""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Migration:
    """One file of sql/migrations.

    Attributes:
        number: place in the order, from 1 without gaps.
        name: the words of the file's name.
        path: the file.
        sha256: checksum of its bytes.
        text: its SQL.
    """

    number: int
    name: str
    path: Path
    sha256: str
    text: str

    @property
    def is_transactional(self) -> bool:
        """Whether it runs inside a transaction."""
        return not self.text.startswith(NO_TRANSACTION)


@dataclass(frozen=True)
class Repeatable:
    """One file of sql/repeatable: idempotent, applied again whenever it changes.

    Attributes:
        path: folder and file below sql/repeatable, for example `views/resmon.server_status.sql`.
        sha256: checksum of its bytes.
        text: its SQL.
    """

    path: str
    sha256: str
    text: str

    @property
    def is_grant(self) -> bool:
        """Whether it grants; grants are applied in every run: a role may have been made since."""
        return self.path.startswith("grants/")


@dataclass(frozen=True)
class Plan:
    """What is to be applied, in order."""

    migrations: tuple[Migration, ...]
    repeatables: tuple[Repeatable, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the schema is current."""
        return not self.migrations and not self.repeatables


def read_migrations(sql_path: Path) -> tuple[Migration, ...]:
    """All migrations, ordered; numbers run from 1 without gaps or duplicates.

    Raises:
        MigrationFailed: a file's name is malformed, or two files share a number, or one is missing.
    """
    folder = sql_path / "migrations"
    paths = sorted(folder.glob("*.sql"))
    if not paths:
        msg = (
            f"There are no migrations in {folder}. Set RESMON_SQL_PATH to the sql folder of this "
            "Resmon."
        )
        raise MigrationFailed(msg)
    migrations = []
    for expected, path in enumerate(paths, start=1):
        match = MIGRATION_NAME.fullmatch(path.name)
        if match is None:
            msg = f"{path} is not named like 0001_what_it_does.sql. Rename it."
            raise MigrationFailed(msg)
        number = int(match["number"])
        if number != expected:
            problem = (
                "is used twice" if number < expected else f"leaves a gap: {expected:04d} is missing"
            )
            msg = (
                f"Number {number:04d} of {path.name} {problem}. Renumber the newer file in "
                f"{folder}."
            )
            raise MigrationFailed(msg)
        sha256, text = _read(path)
        migrations.append(
            Migration(number=number, name=match["name"], path=path, sha256=sha256, text=text)
        )
    return tuple(migrations)


def read_repeatables(sql_path: Path) -> tuple[Repeatable, ...]:
    """All repeatable files in the order functions, views, grants, each by name.

    Those of schema resmon come after the others of their folder: its views read views of theirs.
    """
    repeatables = []
    for folder in REPEATABLE_FOLDERS:
        paths = (sql_path / "repeatable" / folder).glob("*.sql")
        for path in sorted(paths, key=lambda one: (one.name.startswith("resmon."), one.name)):
            sha256, text = _read(path)
            repeatables.append(Repeatable(path=f"{folder}/{path.name}", sha256=sha256, text=text))
    return tuple(repeatables)


def plan(connection: psycopg.Connection, sql_path: Path) -> Plan:
    """What `apply` would do now; writes nothing.

    Raises:
        MigrationFailed: an applied file has another checksum, or the database is newer than these
            files.
    """
    migrations = read_migrations(sql_path)
    repeatables = read_repeatables(sql_path)
    with connection.transaction():
        applied = _applied_migrations(connection)
        known = _applied_repeatables(connection)
    _verify(migrations, applied)
    return Plan(
        migrations=tuple(one for one in migrations if one.number not in applied),
        repeatables=tuple(one for one in repeatables if known.get(one.path) != one.sha256),
    )


def apply(connection: psycopg.Connection, sql_path: Path, *, report: Report) -> Plan:
    """Bring the schema up to date and return what was done; `report` gets a line per migration.

    Changed repeatable files have a line each too, or one for all of many.

    One process at a time (session advisory lock). Each migration and its ledger row are one
    transaction, all changed repeatable files another. The connection must be idle; its autocommit
    setting is restored.

    Raises:
        MigrationFailed: as `plan`, or the SQL of a file failed; files before it stay applied.
    """
    with _autocommit(connection), _unlimited(connection), _runner_lock(connection, report):
        todo = plan(connection, sql_path)
        for migration in todo.migrations:
            _apply_migration(connection, migration)
            report(f"applied migrations/{migration.path.name}")
        changed = {one.path for one in todo.repeatables}
        with connection.transaction():
            for repeatable in read_repeatables(sql_path):
                if repeatable.path in changed or repeatable.is_grant:
                    _apply_repeatable(connection, repeatable)
        if len(todo.repeatables) > NAMED_REPEATABLES:
            report(f"applied {len(todo.repeatables)} functions, views and grants of repeatable/")
        else:
            for repeatable in todo.repeatables:
                report(f"applied repeatable/{repeatable.path}")
    return todo


def check(connection: psycopg.Connection, sql_path: Path) -> None:
    """Refuse a schema that is not current.

    Raises:
        SchemaOutdated: something is pending; names the command.
        MigrationFailed: as `plan`.
    """
    pending = plan(connection, sql_path)
    if pending.is_empty:
        return
    names = [one.path.name for one in pending.migrations] + [
        one.path for one in pending.repeatables
    ]
    info = connection.info
    where = f"database {info.dbname} on {info.host or 'the local socket'}"
    if len(pending.migrations) == len(read_migrations(sql_path)):
        msg = (
            f"There are no tables of Resmon in {where} yet. Make them, as the role that owns the "
            "database, with: resmon db migrate"
        )
        raise SchemaOutdated(msg)
    shown = 5
    listed = ", ".join(names[:shown]) + (
        f" and {len(names) - shown} more" if len(names) > shown else ""
    )
    msg = (
        f"The schema of {where} is older than this Resmon; pending: {listed}. Apply them with: "
        "resmon db migrate"
    )
    raise SchemaOutdated(msg)


def statements_of(text: str, *, name: str) -> list[str]:
    """Statements of a file that runs outside a transaction, cut at semicolons that end a line.

    Raises:
        MigrationFailed: the file quotes with dollars, where that rule would cut in the middle.
    """
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    if "$$" in code or re.search(r"\$[A-Za-z_]\w*\$", code):
        msg = (
            f"{name} is marked `no transaction` and holds a function body. Move the body to a "
            "file with a transaction."
        )
        raise MigrationFailed(msg)
    return [part.strip() for part in re.split(r";[ \t]*(?:\n|$)", code) if part.strip()]


def _read(path: Path) -> tuple[str, str]:
    """Checksum and text of a file; the style of line ends does not count."""
    content = path.read_bytes().replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest(), content.decode("utf-8")


def _applied_migrations(connection: psycopg.Connection) -> dict[int, tuple[str, str]]:
    """Number -> name and checksum from the ledger; empty without one."""
    if not _exists(connection, "ops.schema_migrations"):
        return {}
    rows = connection.execute("select number, name, sha256 from ops.schema_migrations").fetchall()
    return {number: (name, sha256) for number, name, sha256 in rows}


def _applied_repeatables(connection: psycopg.Connection) -> dict[str, str]:
    """Path -> checksum from the ledger; empty without one."""
    if not _exists(connection, "ops.schema_repeatables"):
        return {}
    return dict(connection.execute("select path, sha256 from ops.schema_repeatables").fetchall())


def _exists(connection: psycopg.Connection, table: str) -> bool:
    """Whether a table exists."""
    row = connection.execute("select to_regclass(%s) is not null", [table]).fetchone()
    return row is not None and bool(row[0])


def _verify(migrations: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> None:
    """Refuse a ledger that these files do not explain."""
    by_number = {migration.number: migration for migration in migrations}
    for number, (name, sha256) in sorted(applied.items()):
        migration = by_number.get(number)
        if migration is None:
            msg = (
                f"The database has migration {number:04d}_{name}, which this Resmon does not "
                "know: a newer one wrote it. Install that Resmon, or set RESMON_POSTGRES_DSN to "
                "another database."
            )
            raise MigrationFailed(msg)
        if migration.sha256 != sha256:
            msg = (
                f"{migration.path} was changed after it had been applied as {number:04d}_{name} "
                f"(sha256 {sha256[:12]}… in the database, {migration.sha256[:12]}… on disk). "
                "Restore the file and put the change into a new one."
            )
            raise MigrationFailed(msg)


def _apply_migration(connection: psycopg.Connection, migration: Migration) -> None:
    """Run one file and record it."""
    record = "insert into ops.schema_migrations (number, name, sha256) values (%s, %s, %s)"
    row = [migration.number, migration.name, migration.sha256]
    try:
        if migration.is_transactional:
            with connection.transaction():
                connection.execute(migration.text.encode())
                connection.execute(record, row)
        else:
            for statement in statements_of(migration.text, name=migration.path.name):
                connection.execute(statement.encode())
            connection.execute(record, row)
    except psycopg.Error as error:
        raise _failed(migration.path, error) from error


def _apply_repeatable(connection: psycopg.Connection, repeatable: Repeatable) -> None:
    """Run one file and record its checksum."""
    try:
        connection.execute(repeatable.text.encode())
        connection.execute(
            "insert into ops.schema_repeatables (path, sha256) values (%s, %s) "
            "on conflict (path) do update set sha256 = excluded.sha256, applied_at = now()",
            [repeatable.path, repeatable.sha256],
        )
    except psycopg.Error as error:
        raise _failed(Path("repeatable", repeatable.path), error) from error


def _failed(file: Path, error: psycopg.Error) -> MigrationFailed:
    """Our error for SQL that failed."""
    position = error.diag.statement_position
    where = f" at character {position}" if position else ""
    cause = "correct the cause and run: resmon db migrate"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        cause = (
            "run it as the role that owns the database (RESMON_POSTGRES_DSN=postgresql://"
            "resmon_admin@... resmon db migrate; docs/access.md)"
        )
    return MigrationFailed(
        f"Applying {file} failed{where}: {error.diag.message_primary or error}. Nothing of "
        f"this file was kept unless it is marked `no transaction`; {cause}"
    )


@contextmanager
def _autocommit(connection: psycopg.Connection) -> Iterator[None]:
    """Autocommit inside, so that each `transaction()` block is a real one."""
    before = connection.autocommit
    connection.set_autocommit(True)
    try:
        yield
    finally:
        if not connection.closed:
            connection.set_autocommit(before)


@contextmanager
def _unlimited(connection: psycopg.Connection) -> Iterator[None]:
    """No statement limit inside: an index takes as long as it takes; locks keep their limit."""
    row = connection.execute("select current_setting('statement_timeout')").fetchone()
    before = row[0] if row is not None else "0"
    connection.execute("select set_config('statement_timeout', '0', false)")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select set_config('statement_timeout', %s, false)", [before])


@contextmanager
def _runner_lock(connection: psycopg.Connection, report: Report) -> Iterator[None]:
    """Only one runner at a time; waits for another one."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    is_told = False
    while not _try_lock(connection):
        if not is_told:
            report("waiting for another process that migrates this database")
            is_told = True
        if time.monotonic() > deadline:
            msg = (
                f"Another process has been migrating this database for {LOCK_WAIT_SECONDS:.0f} s. "
                "Look for it in pg_stat_activity, then run: resmon db migrate"
            )
            raise MigrationFailed(msg)
        time.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", [LOCK_KEY])


def _try_lock(connection: psycopg.Connection) -> bool:
    """Take the runner's lock when it is free."""
    row = connection.execute("select pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
    return row is not None and bool(row[0])
