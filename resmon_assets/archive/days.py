"""One day of raw into the archive: read in slices of one snapshot, write, read back, manifest last.

Belongs here: which bytes are written in which order, and what is refused. Knows no Dagster; what is
reported is in `assets.py` and `checks.py`. Where files lie is in resmon_resources/raw_archive.py.

The order keeps this true at every moment: a day with a manifest has exactly the files that the
manifest names. So the manifest goes first when files change, and comes last. Meanwhile raw has the
day: it was just read from there, and retention waits for the lock of the day.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
from pyarrow import parquet

from resmon_assets.frames import ARCHIVED_SAMPLES, POSTGRES_TYPES, RAW_SAMPLES, schema_of
from resmon_assets.naming import RAW_SAMPLES as RAW_KEY
from resmon_assets.naming import table_of
from resmon_assets.windows import raw_revision
from resmon_resources.archive_manifest import ArchivedColumn, ArchivedFile, Manifest
from resmon_resources.archive_store import ArchiveStore
from resmon_resources.errors import ArchiveDamaged, RawGone
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.raw_archive import (
    MANIFEST,
    checksum,
    day_folder,
    day_path,
    read_manifest,
    verify_files,
    write_manifest,
)
from resmon_resources.raw_days import day_start, lock_day, record_archived
from resmon_resources.window_ledger import record_window

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

MAXIMUM_FILE_ROWS = 1_500_000
"""Rows held at a time: an hour of 12,500 servers, about 0.6 GiB with what is read back. Longer
hours are cut into equal stretches of minutes."""

ROW_GROUP_ROWS = 60_000
"""Rows of a row group: a reader of one server skips all but one or two of twenty."""

COMPRESSION_LEVEL = 3
"""Of zstd."""

_STEADY = {"collected_at", "uptime_seconds", "disk_used_bytes"}
"""Columns that grow by nearly the same from row to row: stored as differences, 0.9 bytes a row in
all instead of 4.7 (synthetic fleet). polars' own writer cannot, hence pyarrow's."""

_PLAIN = {"memory_used_bytes", "network_in_bytes", "network_out_bytes", "cpu_pct"}
"""Columns whose values hardly repeat: a dictionary of them costs a third more than none."""

_SCHEMA = schema_of(RAW_SAMPLES, only=ARCHIVED_SAMPLES)
_MINUTES = (60, 30, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1)


@dataclass(frozen=True, slots=True)
class Archived:
    """What became of one day.

    Attributes:
        manifest: what the archive says now.
        raw_rows: rows of the day in the snapshot, counted by PostgreSQL; None when raw of the day
            is gone and the archive was only verified.
        written_files: files that were not there in this form.
        removed_files: files that no longer belong to the day.
        schema: columns and dtypes that every file was read back with.
    """

    manifest: Manifest
    raw_rows: int | None
    written_files: int
    removed_files: int
    schema: pl.Schema


def archive_day(
    postgres: PostgresResource, store: ArchiveStore, day: date, *, asset: str, now: datetime
) -> Archived:
    """Make the archive of a closed UTC day equal to raw, and record the revision it was read at.

    Repeatable: with the same raw no file is written again. Files that are damaged or missing are
    written again while raw has the day. A day whose raw is gone keeps its archive, which is then
    verified; a day without any sample gets a manifest without files.

    Args:
        postgres: the data database.
        store: the archive.
        day: a UTC day that is over.
        asset: name in the ledger.
        now: recorded as the time of writing, aware UTC.

    Raises:
        RawGone: raw has less of the day than the archive, or none and there is no archive.
        ArchiveDamaged: what was written does not read back the same, or raw is gone and the archive
            is not what its manifest says.
        ArchiveUnusable: the store cannot be reached, read or written.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    start = day_start(day)
    with postgres.connect() as connection:
        lock_day(connection, day)
        # Opened under the lock: of two runs the later one reads what is newer.
        with postgres.snapshot() as snapshot:
            window = {"start": start, "end": start + DAY}
            revision = raw_revision(snapshot.connection, **window)
            counts: dict[datetime, int] = dict(
                snapshot.connection.execute(
                    load_query("archive", "count_hours").encode(), window
                ).fetchall()
            )
            stored = _stored_manifest(store, day, has_raw=bool(counts))
            if counts:
                archived = _write_day(
                    snapshot, store, day, counts, stored=stored, revision=revision, now=now
                )
            else:
                archived = _without_raw(
                    snapshot, store, day, stored=stored, revision=revision, now=now
                )
        manifest = archived.manifest
        record_window(
            connection,
            asset,
            start,
            revision=revision,
            computed_at=now,
            complete_until=start + DAY,
            row_count=manifest.rows,
            sample_count=manifest.rows,
        )
        record_archived(
            connection,
            day,
            archived_at=now,
            revision=revision,
            row_count=manifest.rows,
            byte_count=manifest.bytes,
        )
    return archived


def encode_rows(frame: pl.DataFrame) -> bytes:
    """Samples as the bytes of a Parquet file of the archive: the same rows give the same bytes.

    Args:
        frame: columns `frames.ARCHIVED_SAMPLES`, in any order of rows.
    """
    buffer = io.BytesIO()
    parquet.write_table(
        frame.sort("server_id", "collected_at").to_arrow(),
        buffer,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=[name for name in frame.columns if name not in _PLAIN | _STEADY],
        column_encoding=dict.fromkeys(sorted(_STEADY), "DELTA_BINARY_PACKED"),
        write_statistics=True,
    )
    return buffer.getvalue()


def slices_of(counts: Mapping[datetime, int], *, limit: int) -> list[tuple[datetime, datetime]]:
    """Stretches [start, end) that become a file each: hours, or equal parts of a long one.

    Args:
        counts: rows per UTC hour; hours without rows are left out.
        limit: rows of a stretch, if they are spread evenly over the hour.
    """
    found = []
    for hour, rows in sorted(counts.items()):
        minutes = next((m for m in _MINUTES if rows * m <= limit * 60), _MINUTES[-1])
        width = timedelta(minutes=minutes)
        found += [(hour + k * width, hour + (k + 1) * width) for k in range(HOUR // width)]
    return found


def _stored_manifest(store: ArchiveStore, day: date, *, has_raw: bool) -> Manifest | None:
    """What is archived of the day; a manifest that cannot be read is none while raw has the day."""
    try:
        return read_manifest(store, day)
    except ArchiveDamaged:
        if has_raw:
            return None
        raise


def _write_day(
    snapshot: Snapshot,
    store: ArchiveStore,
    day: date,
    counts: Mapping[datetime, int],
    *,
    stored: Manifest | None,
    revision: int,
    now: datetime,
) -> Archived:
    """Write what differs, read everything back, write the manifest."""
    if stored is not None:
        _refuse_less(counts, stored, revision=revision)
    writer = _DayWriter(store, day, stored)
    files = [
        writer.write(snapshot, start, end)
        for start, end in slices_of(counts, limit=MAXIMUM_FILE_ROWS)
    ]
    present = [file for file in files if file is not None]
    removed = writer.remove_others({file.name for file in present})
    manifest = _manifest(day, present, revision=revision, now=now)
    write_manifest(store, manifest)
    return Archived(manifest, sum(counts.values()), writer.written, removed, writer.schema)


def _without_raw(
    snapshot: Snapshot,
    store: ArchiveStore,
    day: date,
    *,
    stored: Manifest | None,
    revision: int,
    now: datetime,
) -> Archived:
    """Verify what is archived of a day that raw does not have; an empty manifest if it never had.

    Raises:
        RawGone: samples were stored once, and neither raw nor the archive has them.
    """
    if stored is not None and stored.files:
        for _ in verify_files(store, stored):
            pass
        return Archived(stored, None, 0, 0, _SCHEMA)
    window = {"start": day_start(day), "end": day_start(day) + DAY}
    row = snapshot.connection.execute(
        load_query("window", "had_raw_samples").encode(), window
    ).fetchone()
    if row is not None and row[0]:
        msg = (
            f"Archiving {day}: raw.server_resource_metrics has no row of it, but coverage says "
            f"that samples were stored, and {store.url} has no archive of it. They are gone. "
            "Nothing was written, so that the day does not look archived."
        )
        raise RawGone(msg, revision=revision)
    manifest = _manifest(day, [], revision=revision, now=now)
    write_manifest(store, manifest)
    return Archived(manifest, 0, 0, 0, _SCHEMA)


def _refuse_less(counts: Mapping[datetime, int], stored: Manifest, *, revision: int) -> None:
    """Raise when an hour has fewer rows in raw than in the archive: rows of raw never go singly."""
    known: dict[datetime, int] = {}
    for file in stored.files:
        hour = file.start.replace(minute=0)
        known[hour] = known.get(hour, 0) + file.rows
    less = [hour for hour, rows in sorted(known.items()) if counts.get(hour, 0) < rows]
    if less:
        hours = ", ".join(f"{hour:%H:%M}" for hour in less)
        msg = (
            f"Archiving {stored.day}: raw.server_resource_metrics has {sum(counts.values())} rows "
            f"of it, the archive {stored.rows}; fewer are in raw of the hours {hours} UTC. The "
            f"archive was kept. If it is of this database: resmon archive restore {stored.day}, "
            "then archive again. If it is of another one, set RESMON_ARCHIVE_URL to a place of its "
            "own."
        )
        raise RawGone(msg, revision=revision)


class _DayWriter:
    """Writes the files of one day; the manifest goes when the first file changes."""

    def __init__(self, store: ArchiveStore, day: date, stored: Manifest | None) -> None:
        self._store = store
        self._day = day
        self._known = {file.name: file.sha256 for file in stored.files} if stored else {}
        self._has_manifest = True
        self.written = 0
        self.schema = _SCHEMA

    def write(self, snapshot: Snapshot, start: datetime, end: datetime) -> ArchivedFile | None:
        """The file of [start, end), written if it is not there in this form, and read back.

        None when the stretch has no rows: a part of a long hour may be empty.
        """
        query = load_query("archive", "read_samples")
        frame = snapshot.read_frame(query, {"start": start, "end": end}, _SCHEMA)
        if frame.is_empty():
            return None
        frame = frame.sort("server_id", "collected_at")
        data = encode_rows(frame)
        name, digest = f"{start:%H%M}.parquet", checksum(data)
        path = day_path(self._day, name)
        back = self._store.get(path) if self._known.get(name) == digest else None
        if back is None or checksum(back) != digest:
            self._unmake()
            self._store.put(path, data)
            self.written += 1
            back = self._store.get(path)
        self._compare(path, None if back is None or checksum(back) != digest else back, frame)
        instants = frame["collected_at"]
        return ArchivedFile(
            name=name,
            start=start,
            end=end,
            rows=frame.height,
            bytes=len(data),
            sha256=digest,
            first_at=_instant(instants.min()),
            last_at=_instant(instants.max()),
        )

    def remove_others(self, names: set[str]) -> int:
        """Remove files that do not belong to the day: leftovers of a crash, or another cut."""
        others = set(self._store.names(day_folder(self._day))) - names - {MANIFEST}
        for name in sorted(others):
            self._unmake()
            self._store.delete(day_path(self._day, name))
        return len(others)

    def _unmake(self) -> None:
        """Remove the manifest before the first change: from here on the day does not count."""
        if self._has_manifest:
            self._store.delete(day_path(self._day, MANIFEST))
            self._has_manifest = False

    def _compare(self, path: str, back: bytes | None, frame: pl.DataFrame) -> None:
        """Raise unless what the store gives back holds exactly the rows of raw."""
        found = None if back is None else pl.read_parquet(back)
        if found is None or not found.equals(frame):
            msg = (
                f"{path} was written to {self._store.url} and does not read back the same. The day "
                "does not count as archived. Check the store, then materialize the day again."
            )
            raise ArchiveDamaged(msg, path=path)
        self.schema = found.schema


def _manifest(day: date, files: list[ArchivedFile], *, revision: int, now: datetime) -> Manifest:
    """The manifest of files with the columns of today."""
    return Manifest(
        table=table_of(RAW_KEY),
        day=day,
        revision=revision,
        written_at=now,
        columns=archived_columns(),
        files=tuple(files),
    )


def archived_columns() -> tuple[ArchivedColumn, ...]:
    """Columns of the archive with PostgreSQL's types and units."""
    declared = {column.name: column for column in RAW_SAMPLES}
    return tuple(
        ArchivedColumn(name, POSTGRES_TYPES[declared[name].dtype], declared[name].unit)
        for name in ARCHIVED_SAMPLES
    )


def days_between(start: datetime, end: datetime) -> Iterator[date]:
    """UTC days of [start, end), which are the begins of days."""
    while start < end:
        yield start.astimezone(UTC).date()
        start += DAY


def _instant(value: object) -> datetime:
    """The least or greatest instant of a frame that has rows."""
    if not isinstance(value, datetime):  # pragma: no cover - the column is not null
        msg = f"{value} is not an instant"
        raise TypeError(msg)
    return value.astimezone(UTC)
