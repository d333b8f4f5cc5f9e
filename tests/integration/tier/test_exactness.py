"""All four tiers against PostgreSQL's own aggregates over the same raw rows, bit by bit."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from resmon_assets.frames import METRICS, PERCENTILES, RAW_SAMPLES, STATISTICS, schema_of
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_runs import BucketAsset
from resmon_resources.errors import SampleUnusable
from resmon_resources.postgres_frames import copy_frame
from tests.integration.tier.fleet import Fleet
from tests.unit.tier.builders import sample

pytestmark = pytest.mark.integration

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = DAY + timedelta(hours=5)
EXPRESSIONS = {
    "cpu_pct": "cpu_pct::float8",
    "memory_used_bytes": "memory_used_bytes::float8",
    "disk_used_bytes": "disk_used_bytes::float8",
    "network_in_bytes_per_second": "network_in_bytes / seconds",
    "network_out_bytes_per_second": "network_out_bytes / seconds",
}
EACH_TIER = pytest.mark.parametrize("asset", TIERS, ids=[asset.period for asset in TIERS])


def store(fleet: Fleet, rows: list[dict]) -> None:
    """Raw rows as they are."""
    frame = pl.DataFrame(rows, schema=schema_of(RAW_SAMPLES, only=tuple(rows[0])), orient="row")
    with fleet.postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)",
            (DAY, DAY + timedelta(days=1)),
        )
    with fleet.postgres.connect() as connection:
        copy_frame(connection, "raw.server_resource_metrics", frame)
        connection.execute("select ops.bump_raw_hour(%s, 0)", (HOUR,))


def awkward_day(fleet: Fleet) -> None:
    """A day, most of it in the hour of 05:00, of servers of every kind that statistics differ by.

    30 s with gaps and nulls; 5 s; constant; one sample; no value at all; moved there and back.
    """
    random = np.random.default_rng(20260301)
    alpha, beta = fleet.organization("alpha"), fleet.organization("beta")
    names = ("gaps", "fast", "constant", "once", "blind", "moved")
    servers = {name: fleet.server(name, alpha) for name in names}
    fleet.execute(
        "update inventory.servers set interval_seconds = 5, changed_at = %s where server_id = %s",
        (DAY, servers["fast"]),
    )
    rows = []

    def add(name: str, seconds: float, organization: int = alpha, **values: object) -> None:
        measured = {
            "cpu_pct": float(np.float32(100 * random.random())),
            "memory_used_bytes": int(random.integers(0, 1 << 36)),
            "disk_used_bytes": int(random.integers(1 << 61, 1 << 62)),
            "network_in_bytes": int(random.integers(0, 1 << 30)),
            "network_out_bytes": int(random.integers(0, 3)),
            "elapsed_ms": int(random.choice([1, 29_997, 30_003, 3_600_000])),
        }
        nothing = {key: None for key in measured if name == "gaps" and random.random() < 0.1}
        rows.append(
            sample(HOUR + timedelta(seconds=seconds), server_id=servers[name])
            | {"organization_id": organization}
            | measured
            | nothing
            | values
        )

    for tick in range(120):
        if random.random() < 0.8:
            add("gaps", 30 * tick + 3.5)
        add("constant", 30 * tick, cpu_pct=12.5, disk_used_bytes=1 << 40, network_in_bytes=0)
        add("blind", 30 * tick + 9, cpu_pct=None, memory_used_bytes=None, elapsed_ms=None)
        add("moved", 30 * tick + 21, organization=beta if 5 <= tick % 30 < 7 else alpha)
    for tick in range(720):
        add("fast", 5 * tick + 0.25)
    add("once", 1800)
    for hour in (-5, -1, 1, 18):
        for tick in range(30):
            add("gaps", 3600 * hour + 30 * tick)
    store(fleet, rows)


@EACH_TIER
def test_every_value_is_that_of_postgresql(fleet: Fleet, asset: BucketAsset) -> None:
    """Another percentile, arithmetic in float4 or a second rounding differs in the last bit."""
    awkward_day(fleet)
    start = DAY if asset.table.window > timedelta(hours=1) else HOUR
    end = start + asset.table.window
    refresh_window(fleet.postgres, asset.table, start=start, now=end + timedelta(days=1))
    expected = ", ".join(
        f"{aggregate}::real::float8 as {metric}_{name}"
        for metric, value in EXPRESSIONS.items()
        for name, aggregate in {
            "avg": f"avg({value} order by {value})",
            "min": f"min({value})",
            "max": f"max({value})",
            **{
                name: f"percentile_cont({share}) within group (order by {value})"
                for name, share in PERCENTILES.items()
            },
        }.items()
    )
    names = [f"{metric}_{statistic}" for metric in METRICS for statistic in STATISTICS]
    granularity = asset.table.name.removeprefix("tier.metrics_")
    rows = fleet.execute(
        f"""with samples as (
            select *, date_bin('{asset.table.width}', collected_at, %(day)s) as bucket_start,
                case when elapsed_ms > 0 then elapsed_ms / 1000.0::float8 end as seconds
            from raw.server_resource_metrics
            where collected_at >= %(start)s and collected_at < %(end)s
        ),
        expected as (
            select server_id, organization_id, bucket_start, count(*) as sample_count, {expected}
            from samples group by 1, 2, 3
        ),
        found as (
            select * from resmon.metric_aggregations
            where granularity = '{granularity}' and sample_count > 0
                and bucket_start >= %(start)s and bucket_start < %(end)s
        )
        select server_id, bucket_start,
            (found.sample_count, {", ".join(f"found.{n}" for n in names)})
            is distinct from
            (expected.sample_count::int, {", ".join(f"expected.{n}" for n in names)})
        from found full join expected using (server_id, organization_id, bucket_start)
        """,
        {"day": DAY, "start": start, "end": end},
    )
    assert len(rows) >= 7  # six servers, one of them in two organizations
    assert [row for row in rows if row[2]] == []


@EACH_TIER
@pytest.mark.parametrize("value", ["Infinity", "NaN"])
def test_value_that_is_no_number_is_refused(fleet: Fleet, asset: BucketAsset, value: str) -> None:
    """One infinite reading would make the mean of a day infinite, and every rollup above it."""
    server = fleet.server("web1", fleet.organization("alpha"))
    store(fleet, [sample(HOUR + timedelta(seconds=30 * k), server_id=server) for k in range(4)])
    fleet.execute(
        "update raw.server_resource_metrics set cpu_pct = %s where collected_at = %s",
        (value, HOUR + timedelta(seconds=60)),
    )
    start = DAY if asset.table.window > timedelta(hours=1) else HOUR
    with pytest.raises(SampleUnusable, match=r"server \d+ at 2026-03-01T05:01:00\+00:00 has"):
        refresh_window(fleet.postgres, asset.table, start=start, now=start + timedelta(days=2))
    assert fleet.execute(f"select count(*) from {asset.table.name}") == [(0,)]
