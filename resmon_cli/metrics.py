"""`resmon metrics`: samples or statistics of servers in a range of time, as a table or a file.

Belongs here: which range and granularity is meant, and writing rows in a format. Reads through
resmon_resources/sample_reader.py, a batch at a time, so that a long range needs no more memory.
"""

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Literal, cast

import click
from rich.measure import Measurement
from rich.table import Table

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.options import time_range
from resmon_cli.output_file import whole_file
from resmon_cli.times import window_of
from resmon_resources import inventory
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.sample_reader import Granularity, Kind, columns_of, stream_rows

Batch = Sequence[tuple[Any, ...]]  # Any: a row of the database
Format = Literal["table", "csv", "json", "parquet"]

POINTS_PER_SERVER = 200
"""Auto granularity takes the finest that gives at most about this many rows per server."""

TABLE_ROWS = 2_000
"""A table is for reading; more rows than this are cut, and the formats for more are named."""

_WIDTHS: Mapping[Granularity, timedelta] = {
    "raw": timedelta(seconds=30),
    "1min": timedelta(minutes=1),
    "5min": timedelta(minutes=5),
    "1hour": timedelta(hours=1),
    "1day": timedelta(days=1),
}


@click.command("metrics")
@click.argument("names", metavar="SERVER...", nargs=-1, required=True)
@time_range(since="-1h")
@click.option(
    "--granularity",
    type=click.Choice(["auto", "raw", "1min", "5min", "1hour", "1day"]),
    default="auto",
    show_default=True,
    help="raw samples, or statistics per bucket; auto: the finest that gives a readable table.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="A table has the columns that matter most, the others all.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; default: standard output.",
)
def metrics_command(
    names: tuple[str, ...],
    *,
    from_text: str,
    to_text: str,
    granularity: str,
    output_format: Format,
    output: Path | None,
) -> None:
    """Show samples or statistics of servers in [--from, --to).

    TIME is ISO 8601 (2026-03-01, 2026-03-01T12:00, 2026-03-01T12:00+01:00; UTC when no offset is
    given), `now`, or relative to now: -90s, -30m, -2h, -7d, -4w.
    """
    now = datetime.now(UTC)
    start, end = window_of(from_text, to_text, now=now)
    chosen = auto_granularity(start, end) if granularity == "auto" else granularity
    kind = cast("Granularity", chosen)
    if output_format == "parquet" and output is None and sys.stdout.isatty():
        msg = "Parquet is binary and would spoil the terminal. Give --output FILE, or pipe it."
        raise ConfigurationInvalid(msg)
    with data_connection() as connection:
        servers = inventory.find_servers(connection, names=names)
        # Closed before the connection is, also when only its first rows are wanted.
        with contextlib.closing(
            stream_rows(
                connection,
                granularity=kind,
                server_ids=[server.server_id for server in servers],
                start=start,
                end=end,
            )
        ) as batches:
            count = _write(batches, kind, output_format=output_format, output=output)
    _tell(count, kind, start=start, end=end, output=output)


def auto_granularity(start: datetime, end: datetime) -> Granularity:
    """The finest granularity that gives at most `POINTS_PER_SERVER` rows per server."""
    for granularity, width in _WIDTHS.items():
        if (end - start) / width <= POINTS_PER_SERVER:
            return granularity
    return "1day"


def _tell(
    count: int, granularity: Granularity, *, start: datetime, end: datetime, output: Path | None
) -> None:
    """Say what there is not, or where it went."""
    if not count:
        what = "samples" if granularity == "raw" else f"{granularity} buckets"
        render.note(
            f"No {what} from {render.time_text(start)} to {render.time_text(end)} UTC. "
            "See `resmon status` for what is collected; --from and --granularity choose others."
        )
    elif output is not None:
        render.note(f"Wrote {count:,} rows of granularity {granularity} to {output}.")


def _write(
    batches: Iterator[Batch],
    granularity: Granularity,
    *,
    output_format: Format,
    output: Path | None,
) -> int:
    """Write all rows in a format; returns their number."""
    if output_format == "table":
        with _text_output(output) as write:
            return _write_table(batches, granularity, write)
    writer = {"csv": _write_csv, "json": _write_json}.get(output_format)
    if writer is None:
        from resmon_cli.metrics_parquet import write_parquet  # noqa: PLC0415 - pyarrow: 0.1 s

        writer = write_parquet
    with _binary_output(output) as file:
        return writer(batches, columns_of(granularity), file)


def _write_table(
    batches: Iterator[Batch], granularity: Granularity, write: Callable[[str], None]
) -> int:
    """The columns that matter most, for reading; a single server goes without its column."""
    rows = _rows_for_table(batches, granularity)
    if not rows:
        return 0
    view = dict(_RAW_VIEW if granularity == "raw" else _TIER_VIEW)
    if len({row["server_name"] for row in rows}) == 1:
        del view["SERVER"]
    console = render.console()
    unlimited = console.options.update_width(_UNLIMITED_COLUMNS)
    table = _table_of(rows, view)
    for column in _DROPPED_WHEN_NARROW:
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            break
        if view.pop(column, None) is not None:
            table = _table_of(rows, view)
    with console.capture() as captured:
        console.print(table)
    write(captured.get())
    return len(rows)


def _table_of(rows: Sequence[Mapping[str, Any]], view: Mapping[str, "Cell"]) -> Table:
    """Rows as a table with the columns of a view; Any: values of the database."""
    table = render.plain_table(*view, right=[name for name in view if name not in _TEXT_COLUMNS])
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(cell(row) for cell in view.values()))
    return table


def _rows_for_table(
    batches: Iterator[Batch], granularity: Granularity
) -> list[dict[str, Any]]:  # Any: values of the database
    """The first rows by column name; says so when there are more."""
    names = list(columns_of(granularity))
    rows: list[dict[str, Any]] = []  # Any: as above
    for batch in batches:
        rows += [dict(zip(names, row, strict=True)) for row in batch]
        if len(rows) > TABLE_ROWS:
            render.note(f"Only the first {TABLE_ROWS} rows are shown; all of them: --format csv.")
            break
    return rows[:TABLE_ROWS]


_TEXT_COLUMNS = ("TIME", "SERVER")
_UNLIMITED_COLUMNS = 10_000
_DROPPED_WHEN_NARROW = ("LOAD", "DISK", "P95", "NET OUT", "NET IN")
"""Left out of a table, in this order, until it fits; the other formats have every column."""

Cell = Callable[[Mapping[str, Any]], render.Cell]

_RAW_VIEW: Mapping[str, Cell] = {
    "TIME": lambda row: render.time_text(row["collected_at"]),
    "SERVER": lambda row: row["server_name"],
    "CPU": lambda row: render.percent_text(row["cpu_pct"]),
    "MEMORY": lambda row: render.bytes_text(row["memory_used_bytes"]),
    "DISK": lambda row: render.bytes_text(row["disk_used_bytes"]),
    "NET IN": lambda row: render.rate_text(row["network_in_bytes_per_second"]),
    "NET OUT": lambda row: render.rate_text(row["network_out_bytes_per_second"]),
    "LOAD": lambda row: render.number_text(row["load_1m"]),
}
_TIER_VIEW: Mapping[str, Cell] = {
    "TIME": lambda row: render.time_text(row["bucket_start"])[:16],
    "SERVER": lambda row: row["server_name"],
    "SAMPLES": lambda row: f"{row['sample_count']}/{row['expected_count']}",
    "CPU": lambda row: render.percent_text(row["cpu_pct_avg"]),
    "P95": lambda row: render.percent_text(row["cpu_pct_p95"]),
    "MEMORY": lambda row: render.bytes_text(row["memory_used_bytes_avg"]),
    "DISK": lambda row: render.bytes_text(row["disk_used_bytes_avg"]),
    "NET IN": lambda row: render.rate_text(row["network_in_bytes_per_second_avg"]),
    "NET OUT": lambda row: render.rate_text(row["network_out_bytes_per_second_avg"]),
}


def _write_csv(batches: Iterator[Batch], columns: Mapping[str, Kind], file: IO[bytes]) -> int:
    """A header and a line per row; nothing for what was not measured."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for batch in batches:
        writer.writerows([_plain(value) for value in row] for row in batch)
        count += len(batch)
        file.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    file.write(text.getvalue().encode())
    return count


def _write_json(batches: Iterator[Batch], columns: Mapping[str, Kind], file: IO[bytes]) -> int:
    """One array, an object per line and row."""
    names = list(columns)
    count = 0
    file.write(b"[")
    for batch in batches:
        for row in batch:
            record = dict(zip(names, map(_plain, row), strict=True))
            file.write(b",\n" if count else b"\n")
            file.write(json.dumps(record).encode())
            count += 1
    file.write(b"\n]\n" if count else b"]\n")
    return count


def _plain(value: object) -> object:
    """Moments as ISO 8601 in UTC; the rest as it is."""
    return render.iso_text(value) if isinstance(value, datetime) else value


@contextlib.contextmanager
def _text_output(output: Path | None) -> Iterator[Callable[[str], None]]:
    """Where a table goes."""
    if output is None:
        yield lambda text: click.echo(text, nl=False)
        return
    with _binary_output(output) as file:
        yield lambda text: cast("None", file.write(click.unstyle(text).encode()))


@contextlib.contextmanager
def _binary_output(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that appears only when it is complete."""
    if output is not None:
        with whole_file(output) as file:
            yield file
        return
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()
