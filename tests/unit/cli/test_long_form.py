"""Anyone's file in long form: what is understood, and how it is said what is not."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_cli.long_form import (
    check_places,
    groups_of_series,
    only_metrics,
    read_long_form,
    write_frame,
)
from resmon_resources.errors import FileUnusable

NEEDED = ("series", "timestamp", "metric", "value")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def csv_file(folder: Path, text: str | bytes, name: str = "in.csv") -> Path:
    """A file with exactly this content."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(path: Path, **options: Any) -> list[tuple[Any, ...]]:
    """What is read of a file."""
    return read_long_form(path, needed=NEEDED, **options).frame.rows()


def stamp_of(folder: Path, text: str) -> datetime:
    """How a stamp in a CSV file is understood."""
    path = csv_file(folder, f'series,timestamp,metric,value\na,"{text}",cpu,1\n')
    return rows_of(path)[0][1]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T12:00:00", NOON),
        ("2026-03-01 12:00:00", NOON),
        ("2026-03-01 12:00", NOON),
        (" 2026-03-01 12:00:00 UTC ", NOON),
        ("2026-03-01T13:00:00+01:00", NOON),
        ("2026-03-01T13:00:00+0100", NOON),
        ("2026-03-01T13:00+01", NOON),
        ("2026-03-01T06:30:00-05:30", NOON),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:00:00.25Z", NOON.replace(microsecond=250_000)),
        ("2026-03-01T12:00:00,25Z", NOON.replace(microsecond=250_000)),
        ("2026-03-01T12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
        ("1772366400", NOON),
        ("1772366400.0", NOON),
        ("1772366400000", NOON),
        ("1772366400000000", NOON),
        ("1772366400000000000", NOON),
    ],
)
def test_stamps_are_understood_as_utc(tmp_path: Path, text: str, moment: datetime) -> None:
    """Would let back: a file shifted by its zone, or refused for how another program writes."""
    assert stamp_of(tmp_path, text) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "20260301", "01.03.2026", "2026-13-01", "2026-02-30", "2026-03-01T25:00"),
        *("2026-03-01T12:00:00+25:00", "2026-03-01T12:00:00+01:99", "12", "-1", "nan", "inf", ""),
        *("2026-03-01T12:00:00 CET", "2026-03-01T", "9999999999999999999999", "12:00"),
    ],
)
def test_unreadable_stamp_names_its_line(tmp_path: Path, text: str) -> None:
    """Would let back: a guess, a null, or a message without the place."""
    with pytest.raises(FileUnusable, match=r"in\.csv, line 2: timestamp is .*ISO 8601") as caught:
        stamp_of(tmp_path, text)
    assert caught.value.row == 2


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_any_iso_stamp_is_read_as_python_reads_it(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime
) -> None:
    """Would let back: digits of a fraction that are lost or shifted."""
    found = stamp_of(tmp_path_factory.getbasetemp(), moment.isoformat())
    assert found == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ([NOON], pl.Datetime("us", "UTC")),
        ([NOON], pl.Datetime("ns", "UTC")),
        ([NOON], pl.Datetime("ms", "Europe/Berlin")),
        ([NOON.replace(tzinfo=None)], pl.Datetime("us")),
        ([date(2026, 3, 1)], pl.Date()),
        ([1_772_366_400], pl.Int64()),
        ([1_772_366_400.0], pl.Float64()),
        ([1_772_366_400_000], pl.Int64()),
        (["2026-03-01T13:00:00+01:00"], pl.String()),
    ],
)
def test_parquet_stamps_of_any_type_are_utc(
    tmp_path: Path, column: list[Any], dtype: pl.DataType
) -> None:
    """Would let back: a naive datetime read as local, or another unit."""
    path = tmp_path / "in.parquet"
    frame = pl.DataFrame({"series": "a", "metric": "cpu", "value": 1})
    frame.with_columns(pl.Series("timestamp", column, dtype=dtype)).write_parquet(path)
    expected = datetime(2026, 3, 1, tzinfo=UTC) if dtype == pl.Date else NOON
    assert rows_of(path) == [("a", expected, "cpu", 1.0)]


def test_csv_as_programs_write_it(tmp_path: Path) -> None:
    """Would let back: Excel's mark, empty lines, spaces, quotes or other columns that spoil it."""
    text = (
        "\ufeffhost, value ,series,timestamp,metric,row\r\n"
        'x, 1.5 ,"a,b",2026-03-01T12:00Z,cpu,7\r\n'
        "\r\n"
        'x,,"a,b",2026-03-01T12:05Z,cpu,8\r\n'
        'x,NaN,"a,b",2026-03-01T12:00Z,cpu,9\r\n'
        "x,1e3,c,2026-03-01T12:00Z,cpu,10\r\n"
    )
    frame = read_long_form(csv_file(tmp_path, text), needed=NEEDED, carried=("row",)).frame
    assert frame.columns == [*NEEDED, "row"]
    assert frame["series"].to_list() == ["a,b", "a,b", "a,b", "c"]
    assert frame["value"].to_list() == [1.5, None, None, 1000.0]
    assert frame["row"].to_list() == [7, 8, 9, 10]
    assert frame["timestamp"][2] == NOON, "backward and repeated stamps stay where they are"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a,2026-03-01,cpu,high\n", 2, r"value is 'high'\. It must be a number"),
        ("a,2026-03-01,cpu,1\na,2026-03-01,cpu,inf\n", 3, r"value is 'inf'"),
        ('a,2026-03-01,cpu,"1,5"\n', 2, r"value is '1,5'\. .*point before decimals"),
        ("\n\na,2026-03-01,cpu,x\n", 4, r"value is 'x'"),
        ('"a\nb",2026-03-01,cpu,1\na,2026-03-01,cpu,x\n', 4, r"value is 'x'"),
        (",2026-03-01,cpu,1\n", 2, r"series is empty"),
        ("a,2026-03-01,,1\n", 2, r"metric is empty"),
        ("a,,cpu,1\n", 2, r"timestamp is empty"),
        ("a,2026-03-01,cpu,1\na\n", 3, r"timestamp is empty"),
        ("a,2026-03-01,cpu,1,2\n", 2, r"5 cells, and the header has 4"),
    ],
)
def test_wrong_cell_is_named_as_an_editor_counts(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    """Would let back: a search through a million lines, or a line beside the wrong one."""
    path = csv_file(tmp_path, f"series,timestamp,metric,value\n{text}")
    with pytest.raises(FileUnusable, match=rf"in\.csv, line {line}: {said}") as caught:
        rows_of(path)
    assert caught.value.row == line
    assert caught.value.path == str(path)


def test_wrong_cell_of_parquet_is_named_by_its_row(tmp_path: Path) -> None:
    """Would let back: a row that is counted from 0, or a stack trace."""
    path = tmp_path / "in.parquet"
    frame = pl.DataFrame({"series": ["a", "a"], "metric": "m", "value": [1.0, float("inf")]})
    frame.with_columns(timestamp=pl.lit(NOON)).write_parquet(path)
    with pytest.raises(FileUnusable, match=r"in\.parquet, row 2: value is 'inf'"):
        rows_of(path)
    frame.with_columns(timestamp=pl.lit(NOON), value=pl.lit("low")).write_parquet(path)
    with pytest.raises(FileUnusable, match=r"row 1: value is 'low'"):
        rows_of(path)
    frame.with_columns(timestamp=pl.lit(None, pl.Datetime("us"))).write_parquet(path)
    with pytest.raises(FileUnusable, match=r"row 1: timestamp is empty"):
        rows_of(path)
    frame.with_columns(timestamp=pl.lit(NOON), value=pl.lit(value=True)).write_parquet(path)
    with pytest.raises(FileUnusable, match=r"column value has the type Boolean"):
        rows_of(path)


def test_integer_series_keep_their_type(tmp_path: Path) -> None:
    """Would let back: a result that can not be joined with where it came from."""
    path = tmp_path / "in.parquet"
    pl.DataFrame({"series": [7], "timestamp": [NOON], "metric": "m", "value": 1}).write_parquet(
        path
    )
    read = read_long_form(path, needed=NEEDED)
    assert read.series_dtype == pl.Int64
    assert read.frame["series"].to_list() == ["7"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"series,timestamp,metric,value\n", "has a header and no rows"),
        (b"series,timestamp,value\na,2026-03-01,1\n", "lacks the column metric. It has: series"),
        (b"a,b\n1,2\n", "lacks the columns series, timestamp, metric, value. It has: a, b"),
        (b"series;timestamp;metric;value\na;2026-03-01;m;1\n", "not separated by commas"),
        (b"series,series,timestamp,metric,value\n", "series stands there twice"),
        (b"series,timestamp,metric,value\n\xe9,2026-03-01,m,1\n", "not UTF-8"),
        (b'series,timestamp,metric,value\n"a,2026-03-01,m,1\n', "a quote that is not closed"),
    ],
)
def test_file_of_another_shape_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """Would let back: a library's own message, which names neither the file nor a cure."""
    path = csv_file(tmp_path, content)
    with pytest.raises(FileUnusable, match=r"in\.csv") as caught:
        rows_of(path)
    assert said in str(caught.value)


def test_parquet_that_is_none_is_refused(tmp_path: Path) -> None:
    """Would let back: a stack trace for a download that was cut off."""
    with pytest.raises(FileUnusable, match=r"in\.parquet cannot be read as Parquet"):
        rows_of(csv_file(tmp_path, "series,timestamp\n", "in.parquet"))


def test_places_are_checked_before_the_work(tmp_path: Path) -> None:
    """Would let back: minutes of work whose result has no place, or the input overwritten."""
    source = csv_file(tmp_path, "x")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to(source)
    for wrong, said in (
        ((tmp_path / "none.csv", tmp_path / "out.csv"), "there is no such file"),
        ((tmp_path / "folder.csv", tmp_path / "out.csv"), "it is a folder"),
        ((tmp_path / "in.xlsx", tmp_path / "out.csv"), r"ends in \.xlsx"),
        ((source, tmp_path / "out"), "has no ending"),
        ((source, tmp_path / "none" / "out.csv"), "mkdir -p"),
        ((source, tmp_path / "folder.csv"), "it is a folder"),
        ((source, source), "is the input itself"),
        ((source, tmp_path / "link.csv"), "is the input itself"),
    ):
        with pytest.raises(FileUnusable, match=said):
            check_places(*wrong)
    check_places(source, tmp_path / "out.parquet")


def test_unknown_metric_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    """Would let back: an empty result for a slip of the finger."""
    frame = pl.DataFrame({"metric": ["cpu_pct", "memory", "cpu_pct"], "value": [1, 2, 3]})
    assert only_metrics(frame, (), path=tmp_path).height == 3
    assert only_metrics(frame, ("cpu_pct",), path=tmp_path)["value"].to_list() == [1, 3]
    with pytest.raises(FileUnusable, match=r"Did you mean cpu_pct\? It has: cpu_pct, memory\."):
        only_metrics(frame, ("cpu_pc",), path=tmp_path)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_result_is_read_back_as_it_was(tmp_path: Path, name: str) -> None:
    """Would let back: stamps without a zone, or half a file that looks whole."""
    frame = pl.DataFrame(
        {"series": ["a"], "timestamp": [NOON], "metric": ["m"], "value": [0.1 + 0.2]},
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    )
    path = tmp_path / name
    path.write_text("an older result")
    write_frame(frame, path)
    assert read_long_form(path, needed=NEEDED).frame.equals(frame)
    assert [found.name for found in tmp_path.iterdir()] == [name]
    if name == "out.csv":
        assert path.read_text().splitlines()[1].startswith("a,2026-03-01T12:00:00Z,m,0.3")


def test_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """Would let back: a result lost for one that could not be written."""
    path = csv_file(tmp_path, "older", "out.csv")
    nested = pl.DataFrame({"timestamp": [NOON], "value": [[1.0]]})
    with pytest.raises(FileUnusable, match=r"Writing .*out\.csv failed"):
        write_frame(nested, path)
    assert path.read_text() == "older"
    assert [found.name for found in tmp_path.iterdir()] == ["out.csv"]


def test_parts_hold_whole_series_and_every_row_once() -> None:
    """Would let back: a series judged in two halves, or rows that come back in others' places."""
    names = ["a", "b", "a", "c", "b", "a", "d"]
    frame = pl.DataFrame({"series": names, "value": range(7)})
    parts = list(groups_of_series(frame, most_rows=3))
    assert [part["series"].to_list() for part in parts] == [["a", "a", "a"], ["b", "c", "b"], ["d"]]
    assert [part["position"].to_list() for part in parts] == [[0, 2, 5], [1, 3, 4], [6]]
    assert len(list(groups_of_series(frame, most_rows=7))) == 1
    assert [part.height for part in groups_of_series(frame, most_rows=1)] == [3, 2, 1, 1]
