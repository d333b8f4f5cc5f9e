"""Servers with a history of days in the daily tiers of a real database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from dagster import AssetCheckEvaluation, DagsterInstance, ExecuteInProcessResult, materialize

from resmon_assets.forecast.assets import forecast_capacity_forecasts
from resmon_assets.forecast.checks import FORECAST_CHECKS
from resmon_assets.forecast.refresh import SOURCES
from resmon_assets.frames import (
    FILE_SYSTEM_DAYS,
    METRICS,
    ROLLUP_ROWS,
    STATISTICS,
    TIER_ROWS,
    schema_of,
)
from resmon_resources.clock import ClockResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.window_ledger import record_window
from tests.integration.tier.fleet import Fleet

DAY = datetime(2026, 3, 10, tzinfo=UTC)
"""The last day of the histories."""
ONE = timedelta(days=1)
NOW = DAY + ONE + timedelta(minutes=40)
GIB = 2**30


@dataclass(frozen=True)
class World(Fleet):
    """A fleet whose days are written as they are read: into the daily tiers."""

    def cpu(self, server: int, values: Sequence[float | None], *, organization: int = 1) -> None:
        """Daily means of CPU that end on `DAY`; null: a row without a value."""
        self.days(server, organization=organization, cpu_pct=values)

    def days(
        self, server: int, *, organization: int = 1, **metrics: Sequence[float | None]
    ) -> None:
        """Rows of tier.metrics_1day that end on `DAY`."""
        count = len(next(iter(metrics.values())))
        rows = {
            "bucket_start": days_before(count),
            "server_id": [server] * count,
            "organization_id": [organization] * count,
            "sample_count": [2880] * count,
            "expected_count": [2880] * count,
        }
        for metric in METRICS:
            for statistic in STATISTICS:
                rows[f"{metric}_{statistic}"] = list(metrics.get(metric, [None] * count))
        self._put("tier.metrics_1day", pl.DataFrame(rows, schema=schema_of(TIER_ROWS)))

    def file_system(
        self,
        server: int,
        mount: str,
        used: Sequence[float],
        *,
        size: int = 100 * GIB,
        until: datetime = DAY,
    ) -> None:
        """Rows of tier.filesystem_1day that end on `until`; all of the size is available."""
        schema = schema_of(FILE_SYSTEM_DAYS)
        rows = [
            {
                **dict.fromkeys(schema),
                "bucket_start": start,
                "used_bytes_avg": value,
                "used_bytes_min": int(value),
                "used_bytes_max": int(value),
                "used_bytes_last": int(value),
                "available_bytes_min": size - int(value),
                "available_bytes_last": size - int(value),
                "total_bytes_last": size,
                "server_id": server,
                "organization_id": 1,
                "sample_count": 288,
                "measured_count": 288,
                "mount": mount,
                "device": "/dev/sda1",
                "type": "ext4",
            }
            for start, value in zip(days_before(len(used), until=until), used, strict=True)
        ]
        self._put("tier.filesystem_1day", pl.DataFrame(rows, schema=schema))

    def organization_days(self, organization: int, **columns: Sequence[float]) -> None:
        """Rows of rollup.organization_metrics_1day, scope subtree, that end on `DAY`."""
        count = len(next(iter(columns.values())))
        schema = schema_of(ROLLUP_ROWS)
        known = {
            "bucket_start": days_before(count),
            "sample_count": [2880] * count,
            "expected_count": [2880] * count,
            "cpu_core_sample_count": [2880 * 4] * count,
            "organization_id": [organization] * count,
            "server_count": [1] * count,
            "expected_server_count": [1] * count,
            "scope": ["subtree"] * count,
        }
        rows = {**{name: [None] * count for name in schema}, **known, **columns}
        self._put("rollup.organization_metrics_1day", pl.DataFrame(rows, schema=schema))

    def finish(self, *days: datetime, revision: int = 1, tables: Sequence[str] = SOURCES) -> None:
        """Record the sources of these days (default: `DAY`) as computed."""
        with self.postgres.connect() as connection:
            for table in tables:
                for start in days or (DAY,):
                    assert record_window(
                        connection,
                        table,
                        start,
                        revision=revision,
                        computed_at=NOW,
                        complete_until=start + ONE,
                        row_count=1,
                        sample_count=2880,
                    )

    def run(self, first: datetime = DAY, last: datetime | None = None) -> ExecuteInProcessResult:
        """Materialize the forecasts of a day, or of all from it to `last`, with their checks."""
        until = last or first
        now = until + ONE + timedelta(minutes=40)
        tags = {
            "dagster/asset_partition_range_start": f"{first:%Y-%m-%d}",
            "dagster/asset_partition_range_end": f"{until:%Y-%m-%d}",
        }
        with DagsterInstance.ephemeral() as instance:
            return materialize(
                [forecast_capacity_forecasts, FORECAST_CHECKS],
                partition_key=f"{first:%Y-%m-%d}" if last is None else None,
                tags={} if last is None else tags,
                resources={
                    "postgres": self.postgres,
                    "clock": ClockResource(fixed_at=now.isoformat()),
                },
                instance=instance,
                raise_on_error=False,
            )

    def forecasts(self, **where: object) -> list[dict[str, Any]]:
        """Stored forecasts with these values, ordered by key."""
        condition = " and ".join(f"{name} = %({name})s" for name in where) or "true"
        with self.postgres.connect() as connection:
            cursor = connection.execute(
                f"select * from forecast.capacity_forecasts where {condition} "
                "order by bucket_start, organization_id, server_id, metric, mount, method".encode(),
                where,
            )
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _put(self, table: str, rows: pl.DataFrame) -> None:
        """Append rows, with the partitions that they need."""
        with self.postgres.connect() as connection:
            connection.execute(
                "select ops.ensure_partitions(%s::regclass, 'year', %s, %s)",
                (table, rows["bucket_start"].min(), DAY + ONE),
            )
        with self.postgres.connect() as connection:
            copy_frame(connection, table, rows)


def days_before(count: int, *, until: datetime = DAY) -> list[datetime]:
    """`count` days of which the last one is `until`."""
    return [until - k * ONE for k in reversed(range(count))]


def checks_of(result: ExecuteInProcessResult) -> dict[str, AssetCheckEvaluation]:
    """What was judged, by the name of the check without the asset's."""
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    return {name.removeprefix("forecast_capacity_forecasts_"): e for name, e in found.items()}
