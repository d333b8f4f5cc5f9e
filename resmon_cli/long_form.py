"""Files of measurements in long form, CSV or Parquet: one row per series, time and (metric) value.

Belongs here: reading anyone's file into a frame with declared types, saying exactly which row is
wrong when it cannot be, and writing a result that appears only when it is complete. Shared by
`resmon detect` and `resmon forecast`. Computes nothing; needs no database and no environment.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import polars as pl

from resmon_cli.output_file import whole_file
from resmon_resources.errors import FileUnusable
from resmon_resources.words import listed, suggestion

CSV_ENDINGS = (".csv",)
PARQUET_ENDINGS = (".parquet", ".pq")
ENDINGS_TEXT = ".csv, .parquet or .pq"

SHOWN_CHARACTERS = 60
"""Of a cell in a message; a cell may hold a whole document."""

_LISTED_NAMES = 12
"""Metrics or columns that a message lists; files with hundreds of metrics exist."""

_EPOCH_SCALES = (1.0, 1e3, 1e6, 1e9)
"""Units of a second in which programs count since 1970."""

_EPOCH_SECONDS = (946_684_800.0, 4_102_444_800.0)
"""2000 to 2100. Within it a number has one scale only, because they lie a thousand apart; 20260301
has none, which is right."""

_WANTED = {
    "series": "It must be a text or an integer that names the series.",
    "metric": "It must be a text that names the metric.",
    "value": "It must be a number, with a point before decimals, or empty when not measured.",
    "timestamp": (
        "It must be ISO 8601 (2026-03-01, 2026-03-01T12:00:00, 2026-03-01T12:00:00+01:00; UTC when "
        "no zone is given) or seconds since 1970."
    ),
}
"""What a column must hold, for messages."""

_STAMP = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<clock>\d{2}:\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s?(?P<zone>[Zz]|UTC|[+-]\d{2}(?::?\d{2})?)?)?$"
)
"""ISO 8601 as programs write it: a date, or a date and a time, with or without a zone."""


@dataclass(frozen=True, slots=True)
class LongForm:
    """What a file holds.

    Attributes:
        frame: in the order of the file: series (text), timestamp (us, UTC), metric (text, if it was
            asked for), value (f64; null is "not measured"), and `row` as it stands in the file,
            when it was asked for and is there. No other columns.
        series_dtype: what series was in the file; text or an integer.
    """

    frame: pl.DataFrame
    series_dtype: pl.DataType


def check_places(path: Path, output: Path) -> None:
    """See to it, before anything is computed, that there is an input and a place for the output.

    Raises:
        FileUnusable: not there, not readable, an unknown ending, no folder for the output, or both
            are the same file.
    """
    _ending_of(path, "read")
    _ending_of(output, "written")
    if path.is_dir() or not path.exists():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        msg = f"{path} cannot be read: {what}. Give a file in {ENDINGS_TEXT}."
        raise FileUnusable(msg, path=str(path))
    if not os.access(path, os.R_OK):
        msg = f"{path} cannot be read: you may not. Change its permissions, or copy it."
        raise FileUnusable(msg, path=str(path))
    if output.is_dir():
        msg = f"{output} cannot be written: it is a folder. Name a file in it: --output {output}/…"
        raise FileUnusable(msg, path=str(output))
    if not output.parent.is_dir():
        msg = (
            f"{output} cannot be written: there is no folder {output.parent}. "
            f"Make it with `mkdir -p {output.parent}`, or choose another --output."
        )
        raise FileUnusable(msg, path=str(output))
    if output.exists() and output.samefile(path):
        msg = f"{output} is the input itself, which would be lost. Choose another --output."
        raise FileUnusable(msg, path=str(output))


def read_long_form(path: Path, *, needed: Sequence[str], carried: Sequence[str] = ()) -> LongForm:
    """Read a file and check every cell of the columns that are needed.

    Args:
        path: CSV (UTF-8, comma, a header) or Parquet, by its ending.
        needed: of series, timestamp, metric, value.
        carried: columns that are taken along as they are when they are there.

    Raises:
        FileUnusable: a column is missing, a cell is not what it must be (names the row), or the
            file has no rows or is not of its format.
    """
    if _ending_of(path, "read") == "csv":
        frame = _read_csv(path, needed, carried)
        series_dtype: pl.DataType = pl.String()
    else:
        frame, series_dtype = _read_parquet(path, needed, carried)
    if frame.is_empty():
        msg = f"{path} has a header and no rows. There is nothing to compute from."
        raise FileUnusable(msg, path=str(path))
    return LongForm(frame, series_dtype)


def only_metrics(frame: pl.DataFrame, metrics: Sequence[str], *, path: Path) -> pl.DataFrame:
    """Rows of these metrics; all rows when none is named.

    Raises:
        FileUnusable: the file has no such metric; names those that it has.
    """
    if not metrics:
        return frame
    present: list[str] = frame["metric"].unique(maintain_order=True).to_list()
    for metric in metrics:
        if metric not in present:
            hint = suggestion(metric, present)
            has = listed(present, most=_LISTED_NAMES)
            msg = f"{path} has no metric {metric}.{hint} It has: {has}."
            raise FileUnusable(msg, path=str(path))
    return frame.filter(pl.col("metric").is_in(list(metrics)))


def write_frame(frame: pl.DataFrame, output: Path) -> None:
    """Write a result beside its place and rename it: there is never half a file.

    CSV has stamps as ISO 8601 text in UTC (2026-03-01T12:00:00Z) and true, false; Parquet is zstd.

    Raises:
        FileUnusable: the folder or the disk does not take it.
    """
    ending = _ending_of(output, "written")
    try:
        with whole_file(output) as file:
            if ending == "csv":
                frame.with_columns(_iso_text("timestamp")).write_csv(file)
            else:
                frame.write_parquet(file, compression="zstd")
    except pl.exceptions.PolarsError as error:
        msg = f"Writing {output} failed: {error}. Choose another --output."
        raise FileUnusable(msg, path=str(output)) from error


def groups_of_series(frame: pl.DataFrame, *, most_rows: int) -> Iterator[pl.DataFrame]:
    """The frame in parts of whole series, so that memory is bounded by a part.

    Args:
        frame: any rows with a column `series`.
        most_rows: of a part; a longer series is a part of its own.

    Yields:
        Parts with the frame's columns and `position` (u32, number of the row in the frame), rows in
        the order of the frame, series in the order of their first appearance.
    """
    sizes = frame.group_by("series", maintain_order=True).len()
    numbers, group, filled = [], 0, 0
    for size in sizes["len"].to_list():
        if filled and filled + size > most_rows:
            group, filled = group + 1, 0
        numbers.append(group)
        filled += size
    if group == 0:
        yield frame.with_row_index("position")
        return
    of_series = sizes.select("series", pl.Series("group", numbers, dtype=pl.UInt32))
    of_row = frame.select("series").join(
        of_series, on="series", how="left", maintain_order="left", validate="m:1"
    )["group"]
    indexed = frame.with_row_index("position")
    for number in range(group + 1):
        yield indexed.filter(of_row == number)


def _ending_of(path: Path, verb: str) -> str:
    """`csv` or `parquet`, by the name."""
    ending = path.suffix.lower()
    if ending in CSV_ENDINGS:
        return "csv"
    if ending in PARQUET_ENDINGS:
        return "parquet"
    told = f"its name ends in {ending}" if ending else "its name has no ending"
    msg = f"{path} cannot be {verb}: {told}. The format is told by the name: {ENDINGS_TEXT}."
    raise FileUnusable(msg, path=str(path))


def _check_columns(path: Path, present: Sequence[str], needed: Sequence[str]) -> None:
    """All columns that are needed are there, or a message that names them."""
    missing = [name for name in needed if name not in present]
    if not missing:
        return
    columns = "column" if len(missing) == 1 else "columns"
    has = listed(present, most=_LISTED_NAMES)
    msg = (
        f"{path} lacks the {columns} {', '.join(missing)}. It has: {has}. "
        f"Needed in long form, one value per row: {', '.join(needed)}; rename yours to these."
    )
    if len(present) == 1 and any(mark in present[0] for mark in (";", "\t", "|")):
        msg = (
            f"{path}: line 1 is not separated by commas: {_cell_text(present[0])}. "
            f"Save it as CSV with commas and the columns {', '.join(needed)}."
        )
    raise FileUnusable(msg, path=str(path))


# ---------------------------------------------------------------------------------------------- CSV
def _read_csv(path: Path, needed: Sequence[str], carried: Sequence[str]) -> pl.DataFrame:
    """Typed columns of a CSV file; empty lines are skipped."""
    header = _csv_header(path)
    names = [name.strip() for name in header]
    _check_columns(path, names, needed)
    columns = [*needed, *(name for name in carried if name in names)]
    try:
        text = pl.scan_csv(path, infer_schema=False).rename(dict(zip(header, names, strict=True)))
        is_blank = pl.all_horizontal(pl.all().is_null())
        typed = text.select(
            is_blank.alias("is_blank"),
            *(typed for name in columns for typed in _typed_text(name, pl.col(name))),
        ).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        _fail_at_shape(path, error)
    kept = typed.with_row_index("record")
    if typed["is_blank"].any():
        kept = kept.filter(~pl.col("is_blank"))
    for name in needed:
        wrong = kept.filter(_is_wrong(name))
        if wrong.height:
            _fail_at_csv_cell(path, name, record=int(wrong["record"][0]))
    frame = kept.select(columns)
    if "row" in columns:
        frame = frame.with_columns(_as_integer_if_all(frame["row"]))
    return frame


def _typed_text(name: str, column: pl.Expr) -> list[pl.Expr]:
    """A text column as its type: null where it is not one, and whether a value cannot be used."""
    text = column.str.strip_chars()
    if name == "timestamp":
        number = _stamp_of_number(text.cast(pl.Float64, strict=False))
        return [pl.coalesce(_stamp_of_text(text), number).alias("timestamp")]
    if name == "value":
        number = text.cast(pl.Float64, strict=False)
        is_text = number.is_null() & (text.fill_null("") != "")
        return [
            number.fill_nan(None).alias("value"),
            (number.is_infinite().fill_null(value=False) | is_text).alias("value_is_wrong"),
        ]
    return [column]


def _is_wrong(name: str) -> pl.Expr:
    """Whether the cell of a needed column cannot be used."""
    if name == "value":
        return pl.col("value_is_wrong")
    if name == "timestamp":
        return pl.col("timestamp").is_null()
    return pl.col(name).is_null() | (pl.col(name).str.strip_chars() == "")


def _stamp_of_text(text: pl.Expr) -> pl.Expr:
    """ISO 8601 text as an instant; null when it is not such text.

    Without a zone it is UTC; another zone is converted.
    """
    parts = text.str.extract_groups(_STAMP)
    fraction = parts.struct.field("fraction").fill_null("0")
    whole = pl.concat_str(
        parts.struct.field("date"),
        pl.lit("T"),
        parts.struct.field("clock").fill_null("00:00"),
        pl.lit(":"),
        parts.struct.field("second").fill_null("00"),
        pl.lit("."),
        fraction,
    )
    local = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    zone = parts.struct.field("zone").fill_null("Z").str.replace(":", "", literal=True)
    is_offset = zone.str.contains(r"^[+-]")
    hours = zone.str.slice(1, 2).cast(pl.Int64, strict=False)
    minutes = zone.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    is_sound = (hours <= 23) & (minutes <= 59)  # noqa: PLR2004
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    offset = pl.duration(minutes=sign * (hours * 60 + minutes))
    return (
        pl.when(~is_offset)
        .then(local)
        .when(is_sound)
        .then(local - offset)
        .otherwise(None)
        .dt.replace_time_zone("UTC")
    )


def _stamp_of_number(number: pl.Expr) -> pl.Expr:
    """Seconds (milli, micro, nano) since 1970 as an instant; null outside 2000 to 2100."""
    instant = pl.lit(None, pl.Datetime("us"))
    for scale in _EPOCH_SCALES:
        seconds = number / scale
        instant = (
            pl.when(seconds.is_between(*_EPOCH_SECONDS))
            .then((seconds * 1e6).round().cast(pl.Int64, strict=False).cast(pl.Datetime("us")))
            .otherwise(instant)
        )
    return instant.dt.replace_time_zone("UTC")


def _csv_header(path: Path) -> list[str]:
    """Names of the columns of a CSV file."""
    for _, cells in _csv_records(path):
        if cells:
            names = [name.strip() for name in cells]
            twice = [name for name in names if name and names.count(name) > 1]
            if twice:
                msg = f"{path}, line 1: the column {twice[0]} stands there twice. Rename one."
                raise FileUnusable(msg, path=str(path), row=1)
            return cells
        break
    msg = (
        f"{path} is empty, or its first line is. A header with the columns' names must come first."
    )
    raise FileUnusable(msg, path=str(path), row=1)


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Records of a CSV file with the line that each begins at; slow, for messages only."""
    limit = csv.field_size_limit(1 << 30)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            line = 1
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text ({error.reason}). Save it as CSV in UTF-8."
        raise FileUnusable(msg, path=str(path)) from error
    except csv.Error as error:
        msg = f"{path}, line {line}: no CSV ({error}). Correct the line."
        raise FileUnusable(msg, path=str(path), row=line) from error
    finally:
        csv.field_size_limit(limit)


def _fail_at_csv_cell(path: Path, name: str, *, record: int) -> NoReturn:
    """Name the line of a record (counted from 0 behind the header) and what stands in the cell."""
    header: list[str] = []
    for number, (line, cells) in enumerate(_csv_records(path)):
        if number == 0:
            header = [cell.strip() for cell in cells]
        elif number == record + 1:
            place = header.index(name)
            text = cells[place] if place < len(cells) else ""
            _fail_at_cell(path, name, text, where=f"line {line}", row=line)
    msg = f"{path} changed while it was read. Try again when it is complete."
    raise FileUnusable(msg, path=str(path))


def _fail_at_shape(path: Path, error: Exception) -> NoReturn:
    """Name the line whose number of cells is not the header's, or what else is wrong."""
    width = 0
    for line, cells in _csv_records(path):
        if not width:
            width = len(cells)
        elif len(cells) > width:
            msg = (
                f"{path}, line {line}: {len(cells)} cells, and the header has {width}. "
                "Correct the line; a text with a comma must stand in quotes."
            )
            raise FileUnusable(msg, path=str(path), row=line) from error
    reason = " ".join(str(error).split())[:200]
    msg = f"{path} cannot be read as CSV: {reason}. Look for a quote that is not closed."
    raise FileUnusable(msg, path=str(path)) from error


# ------------------------------------------------------------------------------------------ Parquet
def _read_parquet(
    path: Path, needed: Sequence[str], carried: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataType]:
    """Typed columns of a Parquet file, and what series is there."""
    try:
        schema = pl.read_parquet_schema(path)
        _check_columns(path, list(schema), needed)
        columns = [*needed, *(name for name in carried if name in schema)]
        raw = pl.read_parquet(path, columns=columns).select(columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{path} cannot be read as Parquet: {reason}. Is it complete, and of this format?"
        raise FileUnusable(msg, path=str(path)) from error
    _check_types(path, schema, needed)
    typed = raw.select(
        *(expression for name in columns for expression in _typed_cell(name, schema[name]))
    )
    for name in needed:
        wrong = typed.select(_is_wrong(name).arg_true().first()).item()
        if wrong is not None:
            text = str(raw[name][wrong])
            _fail_at_cell(path, name, text, where=f"row {wrong + 1}", row=wrong + 1)
    series = schema["series"]
    return typed.select(columns), series if series.is_integer() else pl.String()


def _check_types(path: Path, schema: Mapping[str, pl.DataType], needed: Sequence[str]) -> None:
    """Each column that is needed has a type that can hold what it must."""
    for name in needed:
        dtype = schema[name]
        is_text = isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Null))
        fits = {
            "series": is_text or dtype.is_integer(),
            "metric": is_text,
            "timestamp": is_text or dtype.is_numeric() or isinstance(dtype, (pl.Datetime, pl.Date)),
            "value": is_text or dtype.is_numeric(),
        }
        if not fits[name]:
            msg = f"{path}: the column {name} has the type {dtype}. {_WANTED[name]}"
            raise FileUnusable(msg, path=str(path))


def _typed_cell(name: str, dtype: pl.DataType) -> list[pl.Expr]:
    """As `_typed_text`, from what a Parquet column may be."""
    column = pl.col(name)
    if name == "timestamp":
        return _typed_stamp(column, dtype)
    if name == "value" and dtype.is_numeric():
        number = column.cast(pl.Float64)
        return [
            number.fill_nan(None).alias("value"),
            number.is_infinite().fill_null(value=False).alias("value_is_wrong"),
        ]
    if name == "value":
        return _typed_text(name, column.cast(pl.String))
    return [column.cast(pl.String) if name in {"series", "metric"} else column]


def _typed_stamp(column: pl.Expr, dtype: pl.DataType) -> list[pl.Expr]:
    """Instants in UTC from datetimes, dates, numbers or text."""
    if isinstance(dtype, pl.Datetime):
        in_utc = (
            column.dt.replace_time_zone("UTC")
            if dtype.time_zone is None
            else column.dt.convert_time_zone("UTC")
        )
        return [in_utc.dt.cast_time_unit("us")]
    if isinstance(dtype, pl.Date):
        return [column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")]
    if dtype.is_numeric():
        return [_stamp_of_number(column.cast(pl.Float64)).alias("timestamp")]
    return _typed_text("timestamp", column.cast(pl.String))


def _fail_at_cell(path: Path, name: str, text: str, *, where: str, row: int) -> NoReturn:
    """What a cell holds, and what it should."""
    held = (
        f"{name} is {_cell_text(text)}" if text.strip() and text != "None" else f"{name} is empty"
    )
    msg = f"{path}, {where}: {held}. {_WANTED[name]} Nothing was written."
    raise FileUnusable(msg, path=str(path), row=row)


def _cell_text(text: str) -> str:
    """A cell in quotes, shortened."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…")


def _iso_text(name: str) -> pl.Expr:
    """Stamps as 2026-03-01T12:00:00Z, with a fraction where there is one."""
    return pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")


def _as_integer_if_all(column: pl.Series) -> pl.Series:
    """Text as integers when all of it is."""
    numbers = column.cast(pl.Int64, strict=False)
    return numbers if numbers.null_count() == column.null_count() else column
