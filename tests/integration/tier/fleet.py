"""A small fleet in a real database: servers, samples at scheduled instants, runs of tiers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    DagsterInstance,
    ExecuteInProcessResult,
    materialize,
)

from resmon_assets.frames import RAW_SAMPLES, TIER_INPUT, schema_of
from resmon_assets.naming import TIER_1DAY, table_of
from resmon_assets.raw.schedule import next_instant
from resmon_assets.tier.assets import TIER_ASSETS
from resmon_assets.tier.checks import TIER_CHECKS
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from tests.one_database import Statements

HOUR = datetime(2026, 3, 1, 5, tzinfo=UTC)
LATER = HOUR + timedelta(hours=3)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Fleet(Statements):
    """Servers, samples and runs in one test's database."""

    postgres: PostgresResource

    def organization(self, name: str) -> int:
        """A new organization."""
        return self.execute(
            "insert into inventory.organizations (name, created_at) values (%s, %s) "
            "returning organization_id",
            (name, LONG_AGO),
        )[0][0]

    def server(self, name: str, organization_id: int, *, since: datetime = LONG_AGO) -> int:
        """A new active server that is read every 30 s."""
        return self.execute(
            """insert into inventory.servers
                (organization_id, name, transport, host, created_at, changed_at)
            values (%(organization)s, %(name)s, 'local', 'localhost', %(since)s, %(since)s)
            returning server_id""",
            {"organization": organization_id, "name": name, "since": since},
        )[0][0]

    def change(self, server_id: int, at: datetime, **values: Any) -> None:
        """Change a server's state or organization at an instant."""
        for column, value in values.items():
            self.execute(
                f"update inventory.servers set {column} = %s, changed_at = %s where server_id = %s",
                (value, at, server_id),
            )

    def sample(
        self, server_id: int, organization_id: int, start: datetime, end: datetime, **values: Any
    ) -> int:
        """Store a sample at each scheduled instant of [start, end), as the collector does."""
        instants = list(instants_of(server_id, start, end))
        rows = [
            {
                "server_id": server_id,
                "organization_id": organization_id,
                "collected_at": instant,
                "cpu_pct": float(k * 37 % 101),
                "memory_used_bytes": 4_000_000_000 + k * 12_345_679 % 1_000_000_007,
                "disk_used_bytes": 90_000_000_000 + k,
                "network_in_bytes": k * 7919 % 100_003,
                "network_out_bytes": k * 104_729 % 1_000_003,
                "elapsed_ms": 30_000 + k % 7,
            }
            | values
            for k, instant in enumerate(instants)
        ]
        frame = pl.DataFrame(rows, schema=schema_of(RAW_SAMPLES, only=TIER_INPUT), orient="row")
        with self.postgres.connect() as connection:
            connection.execute(
                "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)",
                (start, end),
            )
        with self.postgres.connect() as connection:
            copy_frame(connection, "raw.server_resource_metrics", frame)
            slots = {
                (i.replace(minute=0, second=0, microsecond=0), i.minute // 5) for i in instants
            }
            for hour in sorted({hour for hour, _ in slots}):
                touched = [slot for of, slot in slots if of == hour]
                connection.execute("select ops.bump_raw_hour(%s, 0, %s)", (hour, touched))
        return len(rows)

    def refresh(
        self,
        key: AssetKey,
        partition: datetime,
        *,
        now: datetime = LATER,
        last: datetime | None = None,
        instance: DagsterInstance | None = None,
    ) -> "Run":
        """Materialize a partition of a tier, or all from it to `last`, with its checks."""
        wanted = [a for a in TIER_ASSETS if a.key == key]
        checks = [c for c in TIER_CHECKS if any(k.asset_key == key for k in c.check_keys)]
        form = "%Y-%m-%d" if key == TIER_1DAY else "%Y-%m-%d-%H:%M"
        tags = {}
        if last is not None:
            tags = {
                "dagster/asset_partition_range_start": partition.strftime(form),
                "dagster/asset_partition_range_end": last.strftime(form),
            }
        with _instance(instance) as used:
            result = materialize(
                [*wanted, *checks],
                partition_key=partition.strftime(form) if last is None else None,
                tags=tags,
                resources={
                    "postgres": self.postgres,
                    "clock": ClockResource(fixed_at=now.isoformat()),
                },
                instance=used,
                raise_on_error=False,
            )
        return Run(result, key)

    def rows(self, key: AssetKey, columns: str = "*") -> list[tuple[Any, ...]]:
        """Rows of a tier, by its key."""
        return self.execute(
            f"select {columns} from {table_of(key)} "
            "order by server_id, bucket_start, organization_id"
        )

    def is_red(self, key: AssetKey, window: datetime) -> bool:
        """Whether the ledger says that the window is red."""
        return self.execute(
            "select is_red from ops.window_state where asset = %s and window_start = %s",
            (table_of(key), window),
        )[0][0]


@dataclass(frozen=True)
class Run:
    """A run of one tier, and what it reported."""

    result: ExecuteInProcessResult
    key: AssetKey

    @property
    def success(self) -> bool:
        """Whether the run succeeded."""
        return self.result.success

    def figures(self, *names: str) -> tuple[Any, ...]:
        """Values of the first materialization's metadata."""
        event = self.result.asset_materializations_for_node("__".join(self.key.path))[0]
        return tuple(event.metadata[name].value for name in names)

    def check(self, rule: str) -> AssetCheckEvaluation:
        """The evaluation of the check whose name ends with `rule`."""
        found = self.result.get_asset_check_evaluations()
        return next(e for e in found if e.check_name.endswith(rule))

    @property
    def error(self) -> str:
        """Text of the step that failed."""
        failure = next(e for e in self.result.all_events if e.is_step_failure)
        return str(failure.step_failure_data.user_failure_data or failure.step_failure_data.error)

    @property
    def failures(self) -> int:
        """Steps that failed."""
        return sum(event.is_step_failure for event in self.result.all_events)


@contextmanager
def _instance(given: DagsterInstance | None) -> Iterator[DagsterInstance]:
    """The given instance, or one of this run's own."""
    if given is not None:
        yield given
        return
    with DagsterInstance.ephemeral() as made:
        yield made


def instants_of(server_id: int, start: datetime, end: datetime) -> Iterator[datetime]:
    """Scheduled instants of [start, end) at 30 s."""
    instant = start - timedelta(microseconds=1)
    while (instant := next_instant(instant, server_id=server_id, interval_seconds=30)) < end:
        yield instant
