"""How a day is cut into files, and what their bytes depend on."""

import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from pyarrow import parquet

from resmon_assets.archive.checks import judge_freshness, judge_schema
from resmon_assets.archive.days import archived_columns, encode_rows, slices_of
from resmon_assets.frames import ARCHIVED_SAMPLES, RAW_SAMPLES, schema_of
from resmon_resources.archive_manifest import Manifest

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = schema_of(RAW_SAMPLES, only=ARCHIVED_SAMPLES)


@pytest.mark.parametrize(
    ("rows", "widths"),
    [(1, [60]), (100, [60]), (101, [30] * 2), (601, [6] * 10), (10**9, [1] * 60)],
)
def test_an_hour_is_cut_into_equal_parts_that_cover_it(rows: int, widths: list[int]) -> None:
    """Lets back: a gap or an overlap between files, or parts above the bound."""
    slices = slices_of({MIDNIGHT: rows}, limit=100)
    assert [(end - start) / timedelta(minutes=1) for start, end in slices] == widths
    assert slices[0][0] == MIDNIGHT
    assert slices[-1][1] == MIDNIGHT + HOUR
    assert all(a[1] == b[0] for a, b in pairwise(slices))


def test_hours_come_in_order_and_those_without_rows_not_at_all() -> None:
    """Lets back: files named for hours in which nothing was collected."""
    counts = {MIDNIGHT + 5 * HOUR: 1, MIDNIGHT: 1}
    starts = [start for start, _ in slices_of(counts, limit=100)]
    assert starts == [MIDNIGHT, MIDNIGHT + 5 * HOUR]
    assert slices_of({}, limit=100) == []


def some_rows() -> pl.DataFrame:
    """100,000 rows of 1,000 servers, by time, as raw has them."""
    return (
        pl.DataFrame({"k": pl.int_range(100_000, eager=True)})
        .select(
            server_id=pl.col("k") % 1000,
            organization_id=1,
            collected_at=pl.lit(MIDNIGHT) + pl.duration(milliseconds=pl.col("k") * 36),
            cpu_pct=(pl.col("k") * 7919 % 1009) / 10,
            memory_used_bytes=pl.col("k") * 104_729,
        )
        .with_columns(
            pl.lit(None, SCHEMA[n]).alias(n)
            for n in SCHEMA
            if n
            not in {"server_id", "organization_id", "collected_at", "cpu_pct", "memory_used_bytes"}
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def test_the_same_rows_give_the_same_bytes_in_any_order() -> None:
    """Lets back: an archive written anew with each run, because its bytes are never the same."""
    rows = some_rows()
    data = encode_rows(rows)
    assert encode_rows(rows.sample(fraction=1, shuffle=True, seed=1)) == data
    back = pl.read_parquet(io.BytesIO(data))
    assert back.schema == SCHEMA
    assert back.equals(rows.sort("server_id", "collected_at"))


def test_a_reader_of_one_server_can_skip_row_groups() -> None:
    """Lets back: files without statistics, which every query must read whole."""
    groups = parquet_groups(encode_rows(some_rows()))
    assert len(groups) == 2
    assert groups[0][1] <= groups[1][0]


def parquet_groups(data: bytes) -> list[tuple[int, int]]:
    """Least and greatest server_id of each row group, as its statistics say."""
    metadata = parquet.ParquetFile(io.BytesIO(data)).metadata
    found = []
    for k in range(metadata.num_row_groups):
        column = metadata.row_group(k).column(0)
        assert column.path_in_schema == "server_id"
        assert column.compression == "ZSTD"
        found.append((column.statistics.min, column.statistics.max))
    return found


def a_manifest() -> Manifest:
    return Manifest(
        "raw.server_resource_metrics", MIDNIGHT.date(), 1, MIDNIGHT, archived_columns(), ()
    )


def test_schema_check_is_green_on_the_declared_columns_and_red_on_others() -> None:
    """Lets back: files whose columns changed with a library, seen by the first who reads them."""
    assert judge_schema(a_manifest(), [SCHEMA, SCHEMA]).is_good
    narrower = pl.Schema({**SCHEMA, "memory_used_bytes": pl.Int32()})
    red = judge_schema(a_manifest(), [SCHEMA, narrower])
    assert (red.is_good, red.actual) == (False, 2)
    other_order = pl.Schema(dict(reversed(SCHEMA.items())))
    assert not judge_schema(a_manifest(), [other_order]).is_good


def test_freshness_warns_and_names_the_days() -> None:
    """Lets back: an archive that stopped, noticed when a day is needed."""
    assert judge_freshness([]).is_good
    late = judge_freshness([MIDNIGHT.date()])
    assert (late.is_good, late.is_warning, late.actual) == (False, True, 1)
    assert late.examples["day"].to_list() == ["2026-03-01"]
