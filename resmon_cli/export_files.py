"""Exported rows in a file: how they are written, and where a file that was cut off goes on.

Belongs here: formats and files. What is exported is in resmon_resources/exports.py.

CSV and NDJSON can be gone on with: the file ends with whole rows but for the last one, and the last
whole row has the key after which the next one comes. Rows go to FILE.partial, which becomes FILE at
the end; FILE.partial.query says what was asked, so that no other rows are put behind them.
"""

import csv
import errno
import fcntl
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import polars as pl
from pyarrow import parquet

from resmon_resources.errors import ConfigurationInvalid, FileUnusable

Format = Literal["csv", "json", "ndjson", "parquet"]
RESUMABLE: tuple[Format, ...] = ("csv", "ndjson")

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.6fZ"
"""ISO 8601 in UTC with microseconds."""

_TAIL_BYTES = 1 << 20
"""Of the end of a file, to look for its last row in; a row is some kilobytes at most."""


class RowWriter:
    """Frames as bytes of a format, one after the other."""

    def __init__(self, kind: Format, file: IO[bytes], *, is_begun: bool = False) -> None:
        """Write to `file`; when `is_begun`, rows stand in it already."""
        self._kind = kind
        self._file = file
        self._is_begun = is_begun
        self._has_rows = False
        self._parquet: parquet.ParquetWriter | None = None

    def write(self, frame: pl.DataFrame) -> None:
        """Write a frame; the first one may be empty and tells the columns."""
        {
            "csv": self._write_csv,
            "ndjson": self._write_ndjson,
            "json": self._write_json,
            "parquet": self._write_parquet,
        }[self._kind](frame)
        self._is_begun = True
        self._has_rows = self._has_rows or frame.height > 0

    def close(self) -> None:
        """Write what stands after the last row."""
        if self._kind == "json":
            self._file.write((b"" if self._is_begun else b"[") + b"\n]\n")
        if self._parquet is not None:
            self._parquet.close()

    def _write_csv(self, frame: pl.DataFrame) -> None:
        text = _with_lists_as_text(frame).write_csv(
            include_header=not self._is_begun,
            null_value="",
            # With it an empty text is "", and nothing is what is not known.
            quote_style="necessary",
            datetime_format=TIME_FORMAT,
        )
        self._file.write(text.encode())

    def _write_ndjson(self, frame: pl.DataFrame) -> None:
        if frame.height:
            self._file.write(_json_lines(frame))

    def _write_json(self, frame: pl.DataFrame) -> None:
        if not self._is_begun:
            self._file.write(b"[")
        if frame.height:
            lines = _json_lines(frame).rstrip(b"\n").replace(b"\n", b",\n")
            self._file.write((b",\n" if self._has_rows else b"\n") + lines)

    def _write_parquet(self, frame: pl.DataFrame) -> None:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._parquet is None:
            self._parquet = parquet.ParquetWriter(self._file, table.schema, compression="zstd")
        if frame.height:
            self._parquet.write_table(table)


def last_key(
    path: Path, kind: Format, key: Sequence[str]
) -> tuple[int, dict[str, Any] | None]:  # Any: values of the key
    """Where the last whole row of a file ends, and the key of that row.

    Args:
        path: a file of a format of `RESUMABLE`, perhaps cut off.
        kind: its format.
        key: columns of the key; their values are told as the export wrote them.

    Returns:
        Bytes up to the end of the last whole row, and the values of its key; (0, None) when there
        is no whole row.

    Raises:
        FileUnusable: the last row is not one of an export with this key.
    """
    with path.open("rb") as file:
        quotes = 0
        if kind == "csv":
            while chunk := file.read(_TAIL_BYTES):
                quotes += chunk.count(b'"')
        size = file.seek(0, os.SEEK_END)
        begin = max(0, size - _TAIL_BYTES)
        file.seek(begin)
        tail = file.read()
        file.seek(0)
        header = file.readline().decode().rstrip("\n")
    ends = _row_ends(tail, quotes=quotes)
    first = 1 if kind == "csv" and begin == 0 else 0
    if len(ends) <= first:
        return (0, None)
    # Without the end of the row before it stands at the begin of the file, or is too long.
    start = ends[-2] if len(ends) > 1 else 0
    text = tail[start : ends[-1]].decode()
    try:
        row = _csv_row(text, header) if kind == "csv" else json.loads(text)
        values = {name: row[name] for name in key}
    except (ValueError, KeyError, StopIteration) as error:
        msg = (
            f"{path} does not end with a row that has {', '.join(key)}, so nothing can be put "
            "behind it. Remove it and export again."
        )
        raise FileUnusable(msg, path=str(path)) from error
    return begin + ends[-1], values


def typed_key(values: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Values of a key as read from a file, as values of the database; Any: both."""
    return {name: _typed(value, columns[name]) for name, value in values.items()}


@contextmanager
def partial_file(path: Path, *, at: int) -> Iterator[IO[bytes]]:
    """FILE.partial, to go on with at a byte (0: anew), locked against another export.

    Raises:
        ConfigurationInvalid: it cannot be written, or another export writes it.
    """
    partial = partial_of(path)
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigurationInvalid(_unwritten(path, error)) from error
    with open(descriptor, "r+b", buffering=1 << 20) as file:  # noqa: PTH123 - of a descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"Another export writes {partial}. Wait for it, or choose another --output."
            raise ConfigurationInvalid(msg) from error
        try:
            file.truncate(at)
            file.seek(at)
            yield file
            file.flush()
            os.fsync(descriptor)
        except OSError as error:
            raise ConfigurationInvalid(_unwritten(path, error)) from error


def partial_of(path: Path) -> Path:
    """Where rows go until all are there."""
    return path.with_name(f"{path.name}.partial")


def question_of(path: Path) -> Path:
    """Where it is noted what was asked."""
    return path.with_name(f"{path.name}.partial.query")


def note_question(path: Path, asked: Mapping[str, Any]) -> None:
    """Note what was asked; Any: JSON.

    Raises:
        ConfigurationInvalid: it cannot be written.
    """
    try:
        question_of(path).write_text(json.dumps(asked, indent=1), encoding="utf-8")
    except OSError as error:
        raise ConfigurationInvalid(_unwritten(path, error)) from error


def noted_question(path: Path) -> dict[str, Any] | None:  # Any: JSON
    """What was asked of a partial file; None: nothing is to be gone on with.

    Raises:
        FileUnusable: the note cannot be read.
    """
    if not partial_of(path).exists():
        return None
    try:
        noted: dict[str, Any] = json.loads(question_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = (
            f"What was asked of {partial_of(path)} is not known: {question_of(path)} cannot be "
            "read. Remove both and export again."
        )
        raise FileUnusable(msg, path=str(question_of(path))) from error
    return noted


def finish(path: Path) -> None:
    """All rows are there: FILE.partial becomes FILE."""
    partial_of(path).replace(path)
    question_of(path).unlink(missing_ok=True)


def give_up(path: Path) -> None:
    """Remove what was written of a file that cannot be gone on with."""
    for one in (partial_of(path), question_of(path)):
        with suppress(OSError):
            one.unlink(missing_ok=True)


@contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """Standard output, for bytes."""
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _row_ends(tail: bytes, *, quotes: int) -> list[int]:
    """Bytes after the ends of the last two rows of a text; fewer when there are fewer.

    An end of line within quotes ends no row. `quotes` is the number of quotes of the whole file:
    before an end of a row there is an even one. 0: the format has no such quotes.
    """
    ends: list[int] = []
    place, after = len(tail), 0
    while len(ends) < 2:  # noqa: PLR2004 - the last two
        found = tail.rfind(b"\n", 0, place)
        if found < 0:
            break
        if quotes:
            after += tail.count(b'"', found, place)
        if not quotes or (quotes - after) % 2 == 0:
            ends.insert(0, found + 1)
        place = found
    return ends


def _csv_row(text: str, header: str) -> dict[str, str]:
    """The values of a row by name."""
    names = next(csv.reader(io.StringIO(header)))
    return dict(zip(names, next(csv.reader(io.StringIO(text, newline=""))), strict=True))


def _typed(value: Any, kind: str) -> Any:  # Any: see typed_key
    """One value of a key."""
    if kind.startswith("timestamp"):
        return datetime.fromisoformat(value).astimezone(UTC)
    if kind in ("integer", "bigint", "smallint"):
        return None if value in ("", None) else int(value)
    return value


def _with_lists_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists as JSON: [1.5,null]; what is not known stays so."""
    texts = [
        pl.when(pl.col(name).is_not_null())
        .then(
            pl.concat_str(
                pl.lit("["),
                pl.col(name)
                .list.eval(pl.element().cast(pl.String).fill_null("null"))
                .list.join(","),
                pl.lit("]"),
            )
        )
        .alias(name)
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.List)
    ]
    return frame.with_columns(texts) if texts else frame


def _json_lines(frame: pl.DataFrame) -> bytes:
    """A JSON object per line."""
    times = [
        pl.col(name).dt.strftime(TIME_FORMAT)
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.Datetime)
    ]
    return frame.with_columns(times).write_ndjson().encode()


def _unwritten(path: Path, error: OSError) -> str:
    """Message about a file that cannot be written."""
    advice = "Make room, or choose" if error.errno == errno.ENOSPC else "Choose"
    return f"Writing {path} failed: {error.strerror or error}. {advice} another --output."
