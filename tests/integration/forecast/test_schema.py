"""The table of forecasts against frames.py, and arrays on their way there and back."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from resmon_assets.frames import (
    CAPACITY_FORECAST_KEY,
    CAPACITY_FORECAST_ROWS,
    POSTGRES_TYPES,
    schema_of,
)
from resmon_assets.windows import compare_rows
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import copy_frame

pytestmark = pytest.mark.integration

TABLE = "forecast.capacity_forecasts"
DAY = datetime(2026, 3, 1, tzinfo=UTC)
ROWS = schema_of(CAPACITY_FORECAST_ROWS)


def row(**values):
    known = {
        "bucket_start": DAY,
        "organization_id": 1,
        "server_id": 2,
        "history_days": 9,
        "metric": "cpu_pct",
        "mount": "",
        "method": "best",
        "status": "ok",
    }
    return pl.DataFrame([{**dict.fromkeys(ROWS), **known, **values}], schema=ROWS)


def test_declared_columns_are_those_of_the_table(postgres: PostgresResource) -> None:
    """A migration without its change in frames.py would fail at night, in a run."""
    with postgres.connect() as connection:
        rows = connection.execute(load_query("window", "read_columns"), {"table": TABLE}).fetchall()
    assert rows == [
        (c.name, POSTGRES_TYPES[c.dtype], c.is_nullable) for c in CAPACITY_FORECAST_ROWS
    ]


def test_arrays_and_dates_come_back_bit_by_bit(postgres: PostgresResource) -> None:
    """Lets back: an array that COPY rounds, so that every rerun finds all rows changed."""
    values = [1e-7, 123_456.789, 3.4e38, 1e16, -0.1, 16_777_217.0, 1.5e9, 0.0]
    rows = pl.concat(
        [
            row(value=values, lower_80=[], reach_85_on=date(2026, 4, 5), mount='a "b",{c}'),
            row(value=None, upper_95=[None, 2.5], mount=""),
        ]
    )
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, 'month', %s, %s)",
            (TABLE, DAY, DAY + timedelta(days=1)),
        )
        copy_frame(connection, TABLE, rows)
    with postgres.snapshot() as snapshot:
        stored = snapshot.read_frame(f"select {', '.join(ROWS)} from {TABLE}", None, ROWS)
    assert stored.sort("mount").equals(rows.sort("mount"))
    difference = compare_rows(stored, rows, key=CAPACITY_FORECAST_KEY)
    assert (difference.new.height, difference.changed.height, difference.vanished.height) == (
        0,
    ) * 3


def test_a_change_within_an_array_is_a_change_of_the_row() -> None:
    """Lets back: a comparison of arrays by identity, which would keep yesterday's forecast."""
    before, after = row(value=[1.0, 2.0]), row(value=[1.0, 2.5])
    assert compare_rows(before, after, key=CAPACITY_FORECAST_KEY).changed.height == 1
