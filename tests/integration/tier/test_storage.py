"""Compact rows of one minute as their readers in SQL see them."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from resmon_assets.frames import INSTANT, METRICS, STATISTICS, TIER_ROWS, schema_of
from resmon_assets.naming import TIER_1MIN
from resmon_assets.tier.expectation import complete
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.storage import decode, encode
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.sample_reader import columns_of, stream_rows
from tests.integration.tier.fleet import HOUR, Fleet
from tests.unit.tier.builders import raw_frame, sample

pytestmark = pytest.mark.integration

MINUTE, ONE_HOUR = timedelta(minutes=1), timedelta(hours=1)
VALUES = [f"{metric}_{statistic}" for metric in METRICS for statistic in STATISTICS]
NOTHING_EXPECTED = pl.Schema(
    {
        "server_id": pl.Int32(),
        "organization_id": pl.Int32(),
        "bucket_start": INSTANT,
        "expected_count": pl.Int32(),
    }
).to_frame()


def awkward_rows(server_id: int, organization_id: int) -> pl.DataFrame:
    """An hour of minutes: no value, one, two, three, equal ones, huge and tiny ones."""
    random = np.random.default_rng(2026)
    samples = []
    for minute in range(60):
        for k in range(int(random.integers(1, 5))):
            scale = float(random.choice([0, 1, 1e3, 1e9, 1e13, 4.6e18]))
            samples.append(
                sample(
                    60 * minute + k,
                    server_id=server_id,
                    organization_id=organization_id,
                    cpu_pct=[None, 0.0, 100.0, float(np.float32(random.random()))][
                        random.integers(4)
                    ],
                    memory_used_bytes=int(random.random() * scale),
                    disk_used_bytes=1 << 62 if random.random() < 0.7 else None,
                    network_in_bytes=int(random.integers(0, 3)),
                    network_out_bytes=int(random.random() * scale),
                    elapsed_ms=[1, 7, 30_001, (1 << 31) - 1, None][random.integers(5)],
                )
            )
    return complete(bucket_statistics(raw_frame(*samples), width=MINUTE), NOTHING_EXPECTED)


def stored(fleet: Fleet) -> tuple[int, pl.DataFrame]:
    """The awkward rows, encoded and stored; the server, and the rows with all values."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    rows = awkward_rows(server, organization)
    with fleet.postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions('tier.metrics_1min', 'day', %s, %s)",
            (HOUR, HOUR + ONE_HOUR),
        )
    with fleet.postgres.connect() as connection:
        copy_frame(connection, "tier.metrics_1min", encode(rows))
    return server, rows


def doubles(rows: pl.DataFrame) -> pl.DataFrame:
    """The values as exact doubles, by time."""
    return rows.sort("bucket_start").select(pl.col(VALUES).cast(pl.Float64))


def test_view_gives_back_every_value_bit_by_bit(fleet: Fleet) -> None:
    """Another order of operations in SQL would publish figures that were never measured."""
    _, rows = stored(fleet)
    with fleet.postgres.snapshot() as snapshot:
        kept = snapshot.read_frame(
            "select * from tier.metrics_1min", schema=schema_of(TIER_ROWS)
        ).sort("bucket_start")
        seen = snapshot.read_frame(
            "select * from resmon.metric_aggregations where granularity = '1min'"
        )
    assert kept.select(VALUES).null_count().sum_horizontal().item() > 400
    assert decode(kept).equals(rows)
    assert doubles(seen).equals(doubles(rows))


def test_command_line_reads_every_value(fleet: Fleet) -> None:
    """`resmon metrics` would show gaps where nothing was missing."""
    server, rows = stored(fleet)
    with fleet.postgres.connect() as connection:
        (batch,) = stream_rows(
            connection, granularity="1min", server_ids=[server], start=HOUR, end=HOUR + ONE_HOUR
        )
    names = list(columns_of("1min"))
    seen = pl.DataFrame(batch, schema=names, orient="row").sort("bucket_start")
    assert seen.select(pl.col(VALUES).cast(pl.Float32)).equals(rows.select(VALUES))


def test_derived_values_cost_no_function_call(postgres: PostgresResource) -> None:
    """Twenty calls a row are felt in a query of a week; PostgreSQL must inline the body."""
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions('tier.metrics_1min', 'day', %s, %s)",
            (HOUR, HOUR + ONE_HOUR),
        )
        plan = connection.execute(
            "explain (verbose) select cpu_pct_p95 from resmon.metric_aggregations "
            "where granularity = '1min' and bucket_start >= '2026-03-01'"
        ).fetchall()
    text = "\n".join(row[0] for row in plan)
    assert "0.95" in text
    assert "derived" not in text


def test_rows_stored_whole_before_are_read_and_made_lean_once(fleet: Fleet) -> None:
    """Rows from before this rule must stay valid, and a recomputation must settle."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, HOUR, HOUR + ONE_HOUR)
    assert fleet.refresh(TIER_1MIN, HOUR).success
    lean = fleet.rows(TIER_1MIN)
    statistics = [f"{m}_{s}" for m in METRICS for s in STATISTICS]
    seen = "select * from resmon.metric_aggregations where granularity = '1min' order by 2"
    before = fleet.execute(seen)
    fleet.execute(
        "update tier.metrics_1min as m set "
        + ", ".join(f"{name} = v.{name}" for name in statistics)
        + " from resmon.metric_aggregations as v where v.granularity = '1min' "
        "and (v.server_id, v.organization_id, v.bucket_start) "
        "= (m.server_id, m.organization_id, m.bucket_start)"
    )
    assert fleet.execute(seen) == before
    assert fleet.refresh(TIER_1MIN, HOUR).figures("rows_changed") == (60,)
    assert fleet.rows(TIER_1MIN) == lean
    assert fleet.refresh(TIER_1MIN, HOUR).figures("rows_changed") == (0,)
