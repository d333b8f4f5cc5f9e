"""The manifest of one archived day: what its files are, so that they can be trusted and read later.

Belongs here: the record and its JSON. Pure: no store, no database, no clock. A day counts as
archived when its manifest is there; it is written last.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from resmon_resources.errors import ArchiveDamaged

FORMAT_VERSION = 1
"""Of the manifest itself; a higher one is refused, it may mean something else."""

SCHEMA_VERSION = 1
"""Of the columns. Grows when one is added; none is ever renamed or given another meaning, so a
reader takes null for those that an older day does not have."""


@dataclass(frozen=True, slots=True)
class ArchivedColumn:
    """One column of the files.

    Attributes:
        name: as in raw.server_resource_metrics.
        type: PostgreSQL's name of its type.
        unit: what one step of the number means; empty for identifiers and instants.
    """

    name: str
    type: str
    unit: str


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One Parquet file: an hour of all servers, or a part of one.

    Attributes:
        name: beside the manifest.
        start: of the half-open stretch that it holds, aware UTC.
        end: of that stretch.
        rows: in it.
        bytes: its size.
        sha256: of its bytes, hexadecimal.
        first_at: its earliest collected_at.
        last_at: its latest one.
    """

    name: str
    start: datetime
    end: datetime
    rows: int
    bytes: int
    sha256: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was archived of one UTC day.

    Attributes:
        table: the table that it was read from.
        day: the UTC day.
        revision: of raw, in the snapshot that all files were read in.
        written_at: when.
        columns: of the files, in their order.
        files: by time; none for a day on which nothing was collected.
        schema_version: of the columns.
    """

    table: str
    day: date
    revision: int
    written_at: datetime
    columns: tuple[ArchivedColumn, ...]
    files: tuple[ArchivedFile, ...]
    schema_version: int = SCHEMA_VERSION

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def first_at(self) -> datetime | None:
        """Earliest collected_at; None without rows."""
        return min((file.first_at for file in self.files), default=None)

    @property
    def last_at(self) -> datetime | None:
        """Latest collected_at; None without rows."""
        return max((file.last_at for file in self.files), default=None)

    def rows_between(self, start: datetime, end: datetime) -> int:
        """Rows of the files that lie in [start, end)."""
        return sum(f.rows for f in self.files if start <= f.start and f.end <= end)


def manifest_text(manifest: Manifest) -> bytes:
    """The manifest as JSON, in an order that does not change."""
    document = {
        "format_version": FORMAT_VERSION,
        "schema_version": manifest.schema_version,
        "table": manifest.table,
        "day": manifest.day.isoformat(),
        "revision": manifest.revision,
        "written_at": manifest.written_at.isoformat(),
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "first_at": _text(manifest.first_at),
        "last_at": _text(manifest.last_at),
        "columns": [asdict(column) for column in manifest.columns],
        "files": [
            {name: _text(value) for name, value in asdict(file).items()} for file in manifest.files
        ],
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def parse_manifest(text: bytes, *, path: str) -> Manifest:
    """The manifest of these bytes.

    Args:
        text: JSON as `manifest_text` writes it, of this format version or an older one.
        path: where it was read, for messages.

    Raises:
        ArchiveDamaged: not a manifest, of a newer format, or its sums contradict its files.
    """
    try:
        document = json.loads(text)
        version = int(document["format_version"])
        if version > FORMAT_VERSION:
            msg = (
                f"Reading {path}: its format version is {version}, this Resmon knows up to "
                f"{FORMAT_VERSION}. Read it with the Resmon that wrote it, or a newer one."
            )
            raise ArchiveDamaged(msg, path=path)
        manifest = Manifest(
            table=str(document["table"]),
            day=date.fromisoformat(document["day"]),
            revision=int(document["revision"]),
            written_at=_instant(document["written_at"]),
            columns=tuple(
                ArchivedColumn(str(one["name"]), str(one["type"]), str(one["unit"]))
                for one in document["columns"]
            ),
            files=tuple(_file(one) for one in document["files"]),
            schema_version=int(document["schema_version"]),
        )
        sums = (int(document["rows"]), int(document["bytes"]))
    except (ValueError, KeyError, TypeError) as error:
        msg = (
            f"Reading {path}: it is not a manifest ({type(error).__name__}: {error}). The day does "
            "not count as archived; while raw has it, it can be archived again."
        )
        raise ArchiveDamaged(msg, path=path) from error
    if sums != (manifest.rows, manifest.bytes):
        msg = (
            f"Reading {path}: it says {sums[0]} rows and {sums[1]} bytes, but its files make "
            f"{manifest.rows} and {manifest.bytes}. It was changed by hand."
        )
        raise ArchiveDamaged(msg, path=path)
    return manifest


def _file(document: Mapping[str, Any]) -> ArchivedFile:  # Any: a value of JSON
    """One entry of `files`."""
    return ArchivedFile(
        name=str(document["name"]),
        start=_instant(document["start"]),
        end=_instant(document["end"]),
        rows=int(document["rows"]),
        bytes=int(document["bytes"]),
        sha256=str(document["sha256"]),
        first_at=_instant(document["first_at"]),
        last_at=_instant(document["last_at"]),
    )


def _instant(text: str) -> datetime:
    """Aware UTC; a time without a zone is refused."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        msg = f"{text} has no time zone"
        raise ValueError(msg)
    return instant.astimezone(UTC)


def _text(value: object) -> object:
    """Instants as text, all else as it is."""
    return value.isoformat() if isinstance(value, datetime) else value
