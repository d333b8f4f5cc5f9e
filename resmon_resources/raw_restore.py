"""An archived day back into raw: whole, checked, and in one transaction.

Belongs here: what is written and in which order. Whether a day should be restored is decided by
those who call: the raw asset for a past hour, `resmon archive restore` for a person.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl
import psycopg
from psycopg import sql

from resmon_resources.archive_manifest import ArchivedFile, Manifest
from resmon_resources.archive_store import ArchiveStore
from resmon_resources.database import Database
from resmon_resources.errors import ArchiveDamaged, ArchiveUnusable
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.raw_archive import day_path, read_file, require_manifest
from resmon_resources.raw_days import KEEP_DAYS, day_start, lock_day, record_restored
from resmon_resources.too_late import take_in

RESTORE_SHARD = 0
"""Whose revision counts a restore: the sum over shards is what windows compare, so any will do."""

Progress = Callable[[ArchivedFile], None]
"""Told after each file."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        manifest: of the day.
        new_rows: rows that raw did not have; 0 when the whole day was there.
        kept_until: retention leaves the day alone before.
        late_rows: rows that had come too late for the day, and that raw has now.
    """

    manifest: Manifest
    new_rows: int
    kept_until: datetime
    late_rows: int = 0


def restore_day(
    postgres: Database,
    store: ArchiveStore,
    day: date,
    *,
    now: datetime,
    keep_for: timedelta = timedelta(days=KEEP_DAYS),
    progress: Progress | None = None,
) -> Restored:
    """Put the archived rows of a UTC day back into raw.

    Every file is compared with its checksum. A sample that raw has stays as it is. Rows that came
    too late for the day and waited are taken in with them. The hours that got rows count as
    written, so that what is computed from them is computed again. All or nothing: nobody sees half
    a day. Archiving, restoring and pruning of one day exclude each other.

    Args:
        postgres: the data database.
        store: the archive.
        day: whole UTC day; there is no restore of a part.
        now: aware UTC.
        keep_for: how long retention leaves the day alone, from now.
        progress: told after each file.

    Raises:
        NotArchived: the archive does not have the day.
        ArchiveDamaged: a file is not what its manifest says; nothing was restored.
        ArchiveUnusable: the store cannot be read, or a newer Resmon wrote columns unknown here.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    manifest = require_manifest(store, day)
    columns = [column.name for column in manifest.columns]
    kept_until = now + keep_for
    new_rows: Counter[datetime] = Counter()
    with postgres.connect() as connection:
        lock_day(connection, day)
        _require_columns(connection, manifest, columns)
        # In a transaction of its own: its lock on the parent must not last as long as the copying.
        with postgres.connect() as other:
            other.execute(
                "select ops.ensure_partitions(%s::regclass, 'day', %s, %s)",
                (manifest.table, day_start(day), day_start(day) + timedelta(days=1)),
            )
        connection.execute(load_query("raw", "create_restored_samples").encode())
        for file in manifest.files:
            frame = read_rows(store, manifest, file)
            connection.execute("truncate pg_temp.restored_samples")
            copy_frame(connection, "pg_temp.restored_samples", frame)
            new_rows.update(_insert(connection, columns))
            if progress is not None:
                progress(file)
        for hour in sorted(new_rows):
            connection.execute("select ops.bump_raw_hour(%s, %s)", (hour, RESTORE_SHARD))
        record_restored(connection, day, restored_at=now, kept_until=kept_until)
        late = take_in(connection, day, shard=RESTORE_SHARD)
    return Restored(manifest, new_rows.total(), kept_until, late.inserted)


def read_rows(store: ArchiveStore, manifest: Manifest, file: ArchivedFile) -> pl.DataFrame:
    """Rows of one archived file: the manifest's columns, by server_id and collected_at.

    Raises:
        ArchiveDamaged: the bytes are not those of the manifest, or it does not describe them.
    """
    path = day_path(manifest.day, file.name)
    data = read_file(store, manifest.day, file)
    try:
        frame = pl.read_parquet(data)
        outside = frame.filter(
            ~pl.col("collected_at").is_between(file.start, file.end, closed="left")
        ).height
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = f"{path} has the checksum of its manifest and is not Parquet with samples: {error}."
        raise ArchiveDamaged(msg, path=path) from error
    declared = [column.name for column in manifest.columns]
    if (frame.columns, frame.height, outside) != (declared, file.rows, 0):
        msg = (
            f"{path} has {frame.height} rows, {outside} of them outside its hour, and the columns "
            f"{', '.join(frame.columns)}; its manifest says {file.rows} rows and the columns "
            f"{', '.join(declared)}. The manifest was changed by hand."
        )
        raise ArchiveDamaged(msg, path=path)
    return frame


def _require_columns(
    connection: psycopg.Connection, manifest: Manifest, columns: Sequence[str]
) -> None:
    """Refuse a day that has columns which the table does not have."""
    rows = connection.execute(
        load_query("window", "read_columns").encode(), {"table": manifest.table}
    ).fetchall()
    unknown = sorted(set(columns) - {name for name, _, _ in rows})
    if unknown:
        msg = (
            f"Restoring {manifest.day}: its archive has the columns {', '.join(unknown)}, which "
            f"{manifest.table} does not have; a newer Resmon wrote it (schema version "
            f"{manifest.schema_version}). Upgrade Resmon and apply its migrations."
        )
        raise ArchiveUnusable(msg)


def _insert(connection: psycopg.Connection, columns: Sequence[str]) -> dict[datetime, int]:
    """Take in what was copied; new rows per hour."""
    statement = sql.SQL(load_query("raw", "insert_restored_samples")).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    return dict(connection.execute(statement).fetchall())
