"""The database of bench-queries, generated once and kept between runs.

Belongs here: where it lies, whether it can be used again, how it is generated quickly, how its
caches are emptied. What is in it is in `_history.py`.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from _history import SIZES, VERSION, generate
from _history_rows import NOW
from _measuring import migrated, remove_server, say, server_in

from resmon_resources.embedded_postgres import EmbeddedPostgres
from resmon_resources.errors import MigrationFailed
from resmon_resources.postgres import PostgresResource
from resmon_resources.settings import load_settings

LOADING = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "8GB",
    "shared_buffers": "1GB",
}
"""Settings while rows are generated; taken back before anything is measured."""


READERS: dict[str, int | None] = {"bench_granted": 1, "bench_granted_all": None}
"""Roles under row-level security and the organization that they were granted: the root with all
below it, which is every row; and all organizations without naming one."""


class NotUsable(Exception):
    """The database cannot be had; the message says why, and what helps."""


def default_folder(size: str) -> Path:
    """Where the database of a size lies: in the user's cache, the same for every checkout."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "resmon" / f"bench-queries-{size}"


@contextmanager
def kept(folder: Path, *, size: str, is_fresh: bool) -> Iterator["Kept"]:
    """The generated database, running; stopped afterwards, its files stay.

    Args:
        folder: state folder; under root the data lie in /var/lib/resmon instead.
        size: a key of SIZES.
        is_fresh: generate it even if it is there.

    Raises:
        NotUsable: another run uses it, or it has to be generated and the disk is too full.
    """
    with alone(folder):
        server = server_in(folder.resolve())
        found = Kept(server, size)
        if is_fresh:
            found.remove()
        try:
            found.open()
            found.ensure_readers()
            yield found
        finally:
            server.stop()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this run.

    Raises:
        NotUsable: another run has it, or it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        msg = f"Another run uses the database of {folder}. Wait for it, or give --keep FOLDER."
        raise NotUsable(msg) from error
    except OSError as error:
        msg = f"{folder} cannot be used: {error.strerror}. Give another one: --keep FOLDER."
        raise NotUsable(msg) from error


class Kept:
    """A generated database and its server.

    Attributes:
        server: the embedded PostgreSQL.
        postgres: the database; its schema is the present one.
        seconds: that its generation took, now or then.
    """

    def __init__(self, server: EmbeddedPostgres, size: str) -> None:
        """Nothing is started before `open`."""
        self.server = server
        self.size = size
        self.postgres = PostgresResource(dsn=server.url("resmon"))
        self.seconds = 0.0

    @property
    def fingerprint(self) -> str:
        """What must be equal for a database to be used again; newer migrations are applied."""
        return f"resmon bench-queries {self.size}, generator {VERSION}"

    @property
    def unfinished(self) -> str:
        """What a database says while it is generated."""
        return f"{self.fingerprint}, unfinished"

    def open(self) -> None:
        """Start the server; generate the database unless the right one is there."""
        if self.server.data_directory.exists():
            self.server.start()
            try:
                found = self._fingerprint()
                if found == self.fingerprint:
                    migrated(self.server)
                    return
                if found == self.unfinished:
                    migrated(self.server)
                    say("The kept database was not finished: it is completed.")
                    self._generate()
                    return
                say(f"The kept database is not of {self.fingerprint}: it is made anew.")
            except MigrationFailed as error:
                say(f"The kept database is made anew: {error}")
            self.remove()
        self._generate()

    def ensure_readers(self) -> None:
        """Make the roles of READERS, as docs/access.md says, and grant them what they see."""
        with psycopg.connect(self.server.url("resmon"), autocommit=True) as connection:
            roles = load_settings().sql_path / "bootstrap" / "roles.sql"
            connection.execute(roles.read_bytes())
            for role in READERS:
                found = connection.execute("select from pg_roles where rolname = %s", (role,))
                if not found.rowcount:
                    connection.execute(f"create role {role} login in role resmon_reader".encode())
        migrated(self.server)  # rights and policies of roles that exist
        with psycopg.connect(self.server.url("resmon"), autocommit=True) as connection:
            for role, organization in READERS.items():
                connection.execute(
                    "insert into inventory.access_grant (role_name, organization_id, granted_at) "
                    "values (%s, %s, %s) on conflict do nothing",
                    (role, organization, NOW),
                )
            connection.execute("analyze inventory.access_grant, inventory.organization_access")

    def remove(self) -> None:
        """Stop the server and delete the database."""
        remove_server(self.server)

    def restart(self, *, is_cold: bool) -> None:
        """Start the server anew; `is_cold` also has the kernel drop the pages of its files."""
        self.server.stop()
        if is_cold:
            forget_pages(self.server.data_directory)
        self.server.start()

    def _fingerprint(self) -> str:
        """What the database says it is; empty when it does not say."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            row = connection.execute(
                "select shobj_description(oid, 'pg_database') from pg_database "
                "where datname = 'resmon'"
            ).fetchone()
        text = (row[0] or "") if row is not None else ""
        fingerprint, _, seconds = text.partition(", seconds ")
        self.seconds = float(seconds or 0)
        return str(fingerprint)

    def _sign(self, text: str) -> None:
        """Have the database say what it is."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"comment on database resmon is '{text}'".encode())

    def _generate(self) -> None:
        """Make the database; it gets its fingerprint last."""
        needed = SIZES[self.size].gib
        place = self.server.data_directory
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free / (1 << 30)
        if free < needed:
            msg = (
                f"The database of size {self.size} needs {needed:.0f} GiB below {place}, where "
                f"{free:.0f} GiB are free. Make room, give another place (--keep FOLDER), or take "
                "--size small."
            )
            raise NotUsable(msg)
        say(f"Generating size {self.size} in {self.server.data_directory}: up to {needed:.0f} GiB.")
        begun = time.monotonic()
        self.server.start()
        self._set(LOADING)
        postgres = migrated(self.server)
        self._sign(self.unfinished)
        generate(postgres, SIZES[self.size])
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute("alter system reset all")
            connection.execute("checkpoint")
        os.sync()  # Nothing was fsynced while rows were generated.
        self.restart(is_cold=False)
        self.seconds = time.monotonic() - begun
        self._sign(f"{self.fingerprint}, seconds {self.seconds:.0f}")
        say(f"Generated in {self.seconds:.0f} s.")

    def _set(self, settings: dict[str, str]) -> None:
        """Change settings that need a new start."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"alter system set {name} = '{value}'".encode())
        self.restart(is_cold=False)


def forget_pages(folder: Path) -> None:
    """Have the kernel drop the cached pages of every file below a folder.

    By posix_fadvise, which drops clean pages of these files only and needs no rights beyond reading
    them. What lies below the kernel, the cache of a disk or of a virtual machine's host, stays.
    """
    os.sync()
    for file in folder.rglob("*"):
        if not file.is_file() or file.is_symlink():
            continue
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def remove(folder: Path) -> None:
    """Delete a kept database and its folder.

    Raises:
        NotUsable: another run uses it.
    """
    with alone(folder):
        server = server_in(folder.resolve())
        if server.data_directory.exists():
            server.start()
        remove_server(server)
        for name in ("logs", "run"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("version.json", "lock"):
            (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
