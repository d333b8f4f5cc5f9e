"""Organizations, servers and samples in a real database, rolled up as the platform does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import AssetKey

from resmon_assets.naming import ROLLUP_5MIN
from resmon_assets.rollup.refresh import refresh_window
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.rollup.usage_window import USAGE, refresh_usage
from resmon_assets.windows import Outcome
from resmon_resources import inventory, quotas
from resmon_resources.postgres import PostgresResource
from resmon_resources.quotas import Resource
from resmon_resources.sample_store import Sample, ensure_raw_partitions
from tests.one_database import Statements, commit

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = datetime(2026, 3, 3, 12, tzinfo=UTC)
DAY, ONE_HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@dataclass(frozen=True)
class UsageFleet(Statements):
    """Organizations, servers, samples and their usage in one test's database."""

    postgres: PostgresResource

    def organization(self, name: str, parent: str | None = None) -> int:
        """A new organization."""
        with self.postgres.connect() as connection:
            added = inventory.add_organization(connection, name, parent=parent, now=LONG_AGO)
        return added.organization_id

    def server(self, name: str, organization: str, *, since: datetime = LONG_AGO) -> int:
        """A new active server."""
        with self.postgres.connect() as connection:
            added = inventory.add_server(
                connection, name, host=name, organization=organization, now=since
            )
        return added.server_id

    def limit(
        self,
        organization: str,
        resource: Resource,
        limit: int | None,
        since: datetime = LONG_AGO,
    ) -> None:
        """Set a quota."""
        with self.postgres.connect(autocommit=True) as connection:
            quotas.set_quota(
                connection, organization, resource, limit=limit, valid_from=since, now=since
            )

    def sample(
        self, server_id: int, organization_id: int, *instants: datetime, **values: Any
    ) -> None:
        """Samples of one server: 4 cores, 10 of 100 bytes of memory, 20 of 200 of disk, 3 bytes
        in and 2 out, unless said otherwise.
        """
        plain: dict[str, Any] = {
            "cpu_pct": 10.0,
            "cpu_count": 4,
            "memory_used_bytes": 10,
            "memory_total_bytes": 100,
            "disk_used_bytes": 20,
            "disk_total_bytes": 200,
            "network_in_bytes": 3,
            "network_out_bytes": 2,
            "elapsed_ms": 30_000,
        }
        self.commit(
            [
                Sample(
                    server_id=server_id,
                    organization_id=organization_id,
                    collected_at=instant,
                    **plain | values,
                )
                for instant in instants
            ]
        )

    def commit(self, samples: Sequence[Sample]) -> None:
        """Store samples as the collector does."""
        times = [sample.collected_at for sample in samples]
        with self.postgres.connect(autocommit=True) as connection:
            ensure_raw_partitions(connection, start=min(times), end=max(times) + MINUTE)
            commit(connection, samples)

    def roll_up(
        self,
        first: datetime,
        last: datetime | None = None,
        *,
        key: AssetKey = ROLLUP_5MIN,
        now: datetime | None = None,
    ) -> None:
        """Compute a rollup of one window, or of all from `first` to `last`."""
        (spec,) = [rollup for rollup in ROLLUPS if rollup.key == key]
        end = first if last is None else last
        start = first
        while start <= end:
            refresh_window(self.postgres, spec.table, start=start, now=now or end + 2 * DAY)
            start += spec.table.window

    def refresh(self, hour: datetime, *, now: datetime | None = None) -> Outcome:
        """Compute the usage of one hour."""
        return refresh_usage(self.postgres, start=hour, now=now or hour + 2 * ONE_HOUR)

    def usage(self, organization: str, columns: str, *, hour: datetime = HOUR) -> tuple[Any, ...]:
        """Stored columns of one organization and hour."""
        rows = self.execute(
            f"select {columns} from {USAGE.name} as u "
            "join inventory.organizations as o using (organization_id) "
            "where o.name = %s and u.bucket_start = %s",
            (organization, hour),
        )
        assert len(rows) == 1
        return rows[0]

    def is_stale(self, hour: datetime) -> bool:
        """Whether the usage of an hour is from older rollups than there are, in its month."""
        (stored,) = self.execute(
            "select revision from ops.window_state where asset = %s and window_start = %s",
            (USAGE.name, hour),
        )
        (raw,) = self.execute(
            "select coalesce(sum(revision), 0) from ops.raw_hour "
            "where hour >= date_trunc('month', %s::timestamptz, 'UTC') and hour <= %s",
            (hour, hour),
        )
        return bool(stored[0] < raw[0])
