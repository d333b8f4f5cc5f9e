"""Days of raw that are computed and archived, or not: what retention judges."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from dagster import AssetCheckEvaluation, DagsterInstance, ExecuteInProcessResult, materialize

from resmon_assets.archive.days import archive_day
from resmon_assets.naming import ARCHIVE_RAW, PRUNED, table_of
from resmon_assets.retention.assets import pruned_partitions_asset
from resmon_assets.retention.downstream import DOWNSTREAM
from resmon_assets.retention.prune import plan
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.raw_days import day_start
from resmon_resources.retention_store import Rules, Verdict
from resmon_resources.window_ledger import current_revisions, record_window
from tests.integration.tier.fleet import Fleet

NOW = datetime(2026, 3, 20, 1, 10, tzinfo=UTC)
AS_OF = datetime(2026, 3, 20, tzinfo=UTC)
OLD = date(2026, 3, 11)
"""Its end is eight days before AS_OF: raw of it may go, tiers stay."""
RULES = Rules(as_of=AS_OF, now=NOW, downstream=DOWNSTREAM)
RAW = "raw.server_resource_metrics"
OF_RAW = tuple(item for item in DOWNSTREAM if item.source == RAW)
"""What must be finished before a day of raw goes."""
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class World:
    """One server, and days of its samples."""

    fleet: Fleet
    organization: int
    server: int
    store: ArchiveResource

    @property
    def postgres(self) -> PostgresResource:
        """The database."""
        return self.fleet.postgres

    def write(self, day: date, *, hour: int = 10, minutes: int = 2) -> int:
        """Store some minutes of samples in an hour of a day; how many."""
        start = day_start(day) + timedelta(hours=hour)
        return self.fleet.sample(
            self.server, self.organization, start, start + timedelta(minutes=minutes)
        )

    def cover(self, day: date, *, but: Collection[str] = ()) -> None:
        """Say that every table, `but` those, was computed from the present revision of a day."""
        start = day_start(day)
        with self.postgres.connect() as connection:
            hours = current_revisions(connection, start, start + ONE_DAY)
            for item in DOWNSTREAM:
                if item.table in but:
                    continue
                per_day = ONE_DAY // item.window
                for window in (start + k * item.window for k in range(per_day)):
                    end = window + item.window
                    used = [r for hour, r in hours.items() if window <= hour < end]
                    if not used:
                        continue
                    record_window(
                        connection,
                        item.table,
                        window,
                        revision=sum(used),
                        computed_at=NOW,
                        complete_until=end,
                        row_count=1,
                        sample_count=1,
                    )

    def compute(self, day: date) -> None:
        """Compute every tier of a day from raw, and say so of all else but the archive."""
        start = day_start(day)
        with self.postgres.connect() as connection:
            hours = current_revisions(connection, start, start + ONE_DAY)
        for tier in TIERS:
            is_hourly = tier.table.window < ONE_DAY
            for window in sorted(hours) if is_hourly else [start]:
                refresh_window(self.postgres, tier.table, start=window, now=NOW)
        self.cover(day, but=[table_of(ARCHIVE_RAW), *(tier.table.name for tier in TIERS)])

    def archive(self, day: date) -> None:
        """Archive a day."""
        archive_day(self.postgres, self.store.open(), day, asset=table_of(ARCHIVE_RAW), now=NOW)

    def finished(self, day: date) -> int:
        """A day with samples, computed and archived; how many samples."""
        count = self.write(day)
        self.cover(day)
        self.archive(day)
        return count

    def verdict(self, day: date, *, table: str = RAW, rules: Rules = RULES) -> Verdict:
        """What a plan says of the partition that begins with a day."""
        with self.postgres.connect() as connection:
            verdicts = plan(connection, rules)
        found = [
            v for v in verdicts if (v.partition.table, v.partition.start.date()) == (table, day)
        ]
        assert len(found) == 1
        return found[0]

    def reasons(self, day: date, *, table: str = RAW, rules: Rules = RULES) -> list[str]:
        """Why the partition of a day must stay."""
        return sorted(b.reason for b in self.verdict(day, table=table, rules=rules).blockers)

    def days(self, table: str = RAW) -> list[date]:
        """First days of the partitions of a table."""
        rows = self.fleet.execute(
            "select (partition_start at time zone 'UTC')::date "
            "from ops.partitions_of(%s::regclass)",
            (table,),
        )
        return [day for (day,) in rows]

    def run(
        self, *, dry_run: bool | None = None, instance: DagsterInstance | None = None
    ) -> ExecuteInProcessResult:
        """Materialize the asset for the day before NOW; `dry_run` None leaves the default."""
        config = {} if dry_run is None else {"dry_run": dry_run}
        with DagsterInstance.ephemeral() as own:
            return materialize(
                [pruned_partitions_asset(DOWNSTREAM)],
                partition_key="2026-03-19",
                run_config={"ops": {"retention__pruned_partitions": {"config": config}}},
                resources={
                    "postgres": self.postgres,
                    "archive": self.store,
                    "clock": ClockResource(fixed_at=NOW.isoformat()),
                },
                instance=instance or own,
                raise_on_error=False,
            )


def check_of(result: ExecuteInProcessResult) -> AssetCheckEvaluation:
    """The evaluation of the only check."""
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def events_of(result: ExecuteInProcessResult) -> tuple[int, int]:
    """How many materializations and observations of the asset a run recorded."""
    materialized = [
        e for e in result.all_events if e.is_step_materialization and e.asset_key == PRUNED
    ]
    observed = [e for e in result.all_events if e.event_type_value == "ASSET_OBSERVATION"]
    return len(materialized), len(observed)
