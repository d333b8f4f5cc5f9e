"""Days of the daily tier in a real database, as if they had been computed: rows and ledger."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from resmon_assets.frames import METRICS, STATISTICS, TIER_ROWS, schema_of
from resmon_assets.naming import TIER_1DAY, table_of
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.window_ledger import mark_red, record_window
from tests.one_database import Statements

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
ONE_DAY = timedelta(days=1)
DAILY = table_of(TIER_1DAY)
SAMPLES = 2880


def day_of(number: int) -> datetime:
    """Start of a day, counted from the first."""
    return FIRST + number * ONE_DAY


@dataclass(frozen=True)
class DailyFleet(Statements):
    """Servers with daily statistics in one test's database."""

    postgres: PostgresResource

    def store(self, days: int, *, revision: int = 1, first: int = 0, **metrics: Any) -> None:
        """Store `days` days of the daily tier, with their ledger.

        Args:
            days: number of days.
            revision: of the ledger.
            first: number of the first day.
            metrics: servers x days by metric, NaN for not measured; the others are level. Of CPU
                the 99th percentile is 15 points above.
        """
        cpu = np.atleast_2d(np.asarray(metrics["cpu_pct"], dtype=float))
        servers = cpu.shape[0]
        frames = []
        for server in range(servers):
            columns: dict[str, Any] = {}
            for metric in METRICS:
                values = np.atleast_2d(np.asarray(metrics.get(metric, np.full_like(cpu, 4e9))))
                for statistic in STATISTICS:
                    wide = 15.0 if metric == "cpu_pct" and statistic in ("p99", "max") else 0.0
                    columns[f"{metric}_{statistic}"] = values[server] + wide
            frames.append(
                pl.DataFrame(columns)
                .fill_nan(None)
                .with_columns(
                    bucket_start=pl.Series([day_of(first + k) for k in range(days)]),
                    server_id=server + 1,
                    organization_id=1,
                    sample_count=SAMPLES,
                    expected_count=SAMPLES,
                )
            )
        schema = schema_of(TIER_ROWS)
        rows = pl.concat(frames).select(pl.col(n).cast(t) for n, t in schema.items())
        with self.postgres.connect() as connection:
            connection.execute(
                "select ops.ensure_partitions('tier.metrics_1day', 'year', %s, %s)",
                (day_of(first), day_of(first + days)),
            )
            copy_frame(connection, DAILY, rows)
            for number in range(first, first + days):
                record_window(
                    connection,
                    DAILY,
                    day_of(number),
                    revision=revision,
                    computed_at=day_of(number + 1),
                    complete_until=day_of(number + 1),
                    row_count=servers,
                    sample_count=servers * SAMPLES,
                )

    def redden(self, number: int, *, table: str = DAILY) -> None:
        """Mark a day red, as a blocking check does."""
        with self.postgres.connect() as connection:
            mark_red(connection, table, day_of(number), is_red=True)
