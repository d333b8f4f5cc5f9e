"""Records of the spool: batches as bytes and back, and where readable bytes end.

Belongs here: the encoding, described in docs/decisions/0003-spool.md. Opens no file; spool.py does.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

from resmon_resources.sample_store import Failure, FileSystemUsage, Sample

SEGMENT_HEADER = b"RESMON spool 1\n"
"""First bytes of every segment; the number is the version of all that follows."""

_HEADER = struct.Struct(">IIIq")
"""Bytes of the payload, CRC-32 of what follows in the record, samples, first instant (µs)."""
_CHECKED = struct.Struct(">Iq")
"""The part of the header that the checksum covers."""

HEADER_BYTES = _HEADER.size
MAXIMUM_PAYLOAD_BYTES = 64 * 2**20
"""Above any batch (10,000 servers in one second are 2 MB); a longer length is damage."""

_COMPRESSION_LEVEL = 1
"""The fastest: it halves the bytes of a record, and disk is what a spool is short of, not CPU."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Row = TypeVar("Row", Sample, Failure, FileSystemUsage)


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read together and is stored together.

    Attributes:
        samples: grain (server_id, collected_at).
        failures: scheduled instants without a sample.
        file_systems: grain (server_id, mount, collected_at).
    """

    samples: Sequence[Sample] = ()
    failures: Sequence[Failure] = ()
    file_systems: Sequence[FileSystemUsage] = ()

    @property
    def row_count(self) -> int:
        """Rows of all kinds."""
        return len(self.samples) + len(self.failures) + len(self.file_systems)

    def joined(self, later: "Batch") -> "Batch":
        """Both as one, this one's rows first."""
        return Batch(
            [*self.samples, *later.samples],
            [*self.failures, *later.failures],
            [*self.file_systems, *later.file_systems],
        )


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What the header of a record says.

    Attributes:
        payload_bytes: length of the payload that follows.
        checksum: CRC-32 over the rest of the header and the payload.
        samples: samples in the batch.
        first_at: first instant in the batch, aware UTC.
    """

    payload_bytes: int
    checksum: int
    samples: int
    first_at: datetime


def encode_record(batch: Batch) -> bytes:
    """A record of a batch that has at least one row."""
    instants = [
        *(sample.collected_at for sample in batch.samples),
        *(failure.attempted_at for failure in batch.failures),
        *(item.collected_at for item in batch.file_systems),
    ]
    first = (min(instants) - _EPOCH) // _MICROSECOND
    text = json.dumps(
        {
            "samples": _table_of(Sample, batch.samples),
            "failures": _table_of(Failure, batch.failures),
            "file_systems": _table_of(FileSystemUsage, batch.file_systems),
        },
        separators=(",", ":"),
    )
    payload = zlib.compress(text.encode("ascii"), _COMPRESSION_LEVEL)
    checked = _CHECKED.pack(len(batch.samples), first)
    checksum = zlib.crc32(payload, zlib.crc32(checked))
    return _HEADER.pack(len(payload), checksum, len(batch.samples), first) + payload


def read_header(data: bytes) -> RecordHeader | None:
    """The header at the begin of `data`; None when these bytes are not a whole and likely one."""
    if len(data) < HEADER_BYTES:
        return None
    payload_bytes, checksum, samples, first = _HEADER.unpack_from(data)
    if payload_bytes > MAXIMUM_PAYLOAD_BYTES:
        return None
    try:
        first_at = _EPOCH + first * _MICROSECOND
    except OverflowError:
        return None
    return RecordHeader(payload_bytes, checksum, samples, first_at)


def decode_record(header: RecordHeader, payload: bytes) -> Batch | None:
    """The batch of a record; None when the bytes are not those that were written.

    Columns that this release does not know are left out; those that the record lacks are None.
    """
    first = (header.first_at - _EPOCH) // _MICROSECOND
    checked = _CHECKED.pack(header.samples, first)
    if len(payload) != header.payload_bytes or header.checksum != zlib.crc32(
        payload, zlib.crc32(checked)
    ):
        return None
    try:
        tables = json.loads(zlib.decompress(payload))
        return Batch(
            _rows_of(Sample, tables["samples"]),
            _rows_of(Failure, tables["failures"]),
            _rows_of(FileSystemUsage, tables["file_systems"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, zlib.error):
        return None


def _table_of(kind: type[Row], rows: Sequence[Row]) -> dict[str, Any]:
    """Column names once, then one list a row; instants are microseconds since the epoch."""
    names = [field.name for field in fields(kind)]
    at = names.index("attempted_at" if kind is Failure else "collected_at")
    values_of = attrgetter(*names)
    found = []
    for row in rows:
        values = list(values_of(row))
        values[at] = (values[at] - _EPOCH) // _MICROSECOND
        found.append(values)
    return {"columns": names, "rows": found}


def _rows_of(kind: type[Row], table: dict[str, Any]) -> list[Row]:
    """The records of a table; raises TypeError or ValueError when it is not one of `kind`."""
    if not table["rows"]:
        return []
    instant = "attempted_at" if kind is Failure else "collected_at"
    known = {field.name: field for field in fields(kind)}
    positions = {name: at for at, name in enumerate(table["columns"]) if name in known}
    missing = {name: _default_of(field) for name, field in known.items() if name not in positions}
    found = []
    for values in table["rows"]:
        row = {name: values[at] for name, at in positions.items()}
        row[instant] = _EPOCH + row[instant] * _MICROSECOND
        found.append(kind(**row, **missing))
    return found


def _default_of(field: "Field[Any]") -> Any:  # a column may be of any type
    """Value of a column that a record lacks; raises ValueError when there is none."""
    if field.default is MISSING:
        msg = f"the column {field.name} is missing"
        raise ValueError(msg)
    return field.default
