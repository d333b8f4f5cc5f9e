"""Days of raw in a real database, and their archive in a folder or bucket."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from dagster import (
    AssetCheckEvaluation,
    AssetsDefinition,
    DagsterInstance,
    ExecuteInProcessResult,
    materialize,
)

from resmon_assets.archive.assets import archive_raw_samples
from resmon_assets.archive.checks import archive_raw_samples_checks
from resmon_assets.frames import RAW_SAMPLES, schema_of
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.raw_days import RawDay, raw_days, unarchived_days
from resmon_resources.ssh_resource import SshResource
from tests.one_database import Statements

DAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
NEXT_NIGHT = MIDNIGHT + timedelta(days=1, minutes=20)
HOUR = timedelta(hours=1)
TABLE = "raw.server_resource_metrics"

ODD_FLOATS = (0.0, -0.0, 1.1754942e-38, 3.4028235e38, 1e-45, 0.1, 99.99999, None)
ODD_INTEGERS = (0, 1, 2**53 + 1, 2**63 - 1, None)


@dataclass(frozen=True)
class Archiving(Statements):
    """One test's database and archive."""

    postgres: PostgresResource
    resource: ArchiveResource

    @property
    def folder(self) -> Path:
        """Where the day lies, for an archive in a folder."""
        return Path(self.resource.url.removeprefix("file://")) / "raw_samples" / f"day={DAY}"

    def store(self, start: datetime, end: datetime, *, servers: Sequence[int] = (1, 2)) -> int:
        """Store a sample of each server every ten minutes of [start, end), with odd values."""
        instants = [start + timedelta(minutes=10) * k for k in range(int((end - start) / HOUR * 6))]
        rows = []
        for server in servers:
            for k, instant in enumerate(instants):
                n = k + server
                row: dict[str, object] = {
                    column.name: (
                        ODD_FLOATS[n % len(ODD_FLOATS)]
                        if column.dtype == pl.Float32()
                        else ODD_INTEGERS[n % len(ODD_INTEGERS)]
                    )
                    for column in RAW_SAMPLES
                    if column.name != "commit_sequence"
                }
                row |= {
                    "collected_at": instant + timedelta(milliseconds=server, microseconds=k % 7),
                    "server_id": server,
                    "organization_id": 7,
                    "elapsed_ms": None if n % 3 == 0 else 30_000 + n,
                    "uptime_seconds": 2**31 - 1 - n,
                    "cpu_count": (n % 5) or None,
                    "commit_sequence": n,
                }
                rows.append(row)
        frame = pl.DataFrame(rows, schema=schema_of(RAW_SAMPLES), orient="row")
        with self.postgres.connect() as connection:
            connection.execute(
                "select ops.ensure_partitions(%s::regclass, 'day', %s, %s)", (TABLE, start, end)
            )
        with self.postgres.connect() as connection:
            copy_frame(connection, TABLE, frame)
            for k in range(-((start - end) // HOUR)):
                connection.execute("select ops.bump_raw_hour(%s, 0)", (start + k * HOUR,))
        return frame.height

    def prune(self, day: date = DAY) -> None:
        """Drop the day's partition, as retention does, without its conditions."""
        self.execute(f"drop table raw.server_resource_metrics_{day:%Y%m%d}")
        self.execute(
            "insert into ops.raw_day (day, pruned_at) values (%s, %s) on conflict (day) do update "
            "set pruned_at = excluded.pruned_at, restored_at = null, kept_until = null",
            (day, NEXT_NIGHT),
        )

    def rows(self) -> list[tuple[Any, ...]]:
        """Every row of raw with its floats as text that tells -0 from 0, but commit_sequence."""
        names = [
            f"{column.name}::text" for column in RAW_SAMPLES if column.name != "commit_sequence"
        ]
        return self.execute(
            f"select {', '.join(names)} from {TABLE} order by server_id, collected_at"
        )

    def state(self) -> RawDay:
        """The row of the day in ops.raw_day."""
        with self.postgres.connect() as connection:
            return raw_days(connection, DAY, DAY)[DAY]

    def unarchived(self) -> list[date]:
        """Days whose archive is missing or older than raw."""
        with self.postgres.connect() as connection:
            return unarchived_days(connection, now=NEXT_NIGHT)

    def archive(
        self,
        day: date = DAY,
        *,
        last: date | None = None,
        now: datetime = NEXT_NIGHT,
        checks: bool = True,
        instance: DagsterInstance | None = None,
    ) -> "Run":
        """Materialize a day of the archive, or all from it to `last`, with its checks."""
        selected = [archive_raw_samples, archive_raw_samples_checks]
        return self.run(
            selected if checks else selected[:1],
            day.isoformat(),
            last=None if last is None else last.isoformat(),
            now=now,
            instance=instance,
        )

    def run(
        self,
        assets: Sequence[AssetsDefinition],
        first: str,
        *,
        last: str | None = None,
        now: datetime = NEXT_NIGHT,
        instance: DagsterInstance | None = None,
    ) -> "Run":
        """Materialize a partition of assets, or a range."""
        tags = {}
        if last is not None:
            tags = {
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            }
        result = materialize(
            assets,
            partition_key=first if last is None else None,
            tags=tags,
            resources={
                "postgres": self.postgres,
                "archive": self.resource,
                "clock": ClockResource(fixed_at=now.isoformat()),
                "ssh": SshResource(),
            },
            instance=instance,
            raise_on_error=False,
        )
        return Run(result)


@dataclass(frozen=True)
class Run:
    """A run, and what it reported."""

    result: ExecuteInProcessResult

    @property
    def success(self) -> bool:
        """Whether the run succeeded."""
        return self.result.success

    def figures(self, *names: str, node: str = "archive__raw_samples") -> tuple[Any, ...]:
        """Values of the first materialization's metadata."""
        event = self.result.asset_materializations_for_node(node)[0]
        return tuple(event.metadata[name].value for name in names)

    def check(self, name: str) -> AssetCheckEvaluation:
        """The evaluation of the check whose name ends with `name`."""
        found = self.result.get_asset_check_evaluations()
        return next(e for e in found if e.check_name.endswith(name))

    @property
    def error(self) -> str:
        """Text of the step that failed."""
        failure = next(e for e in self.result.all_events if e.is_step_failure)
        return str(failure.step_failure_data.user_failure_data or failure.step_failure_data.error)


def flip_a_byte(path: Path) -> None:
    """Damage a file in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
