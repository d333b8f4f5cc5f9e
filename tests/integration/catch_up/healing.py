"""Ticks of the catch-up at a chosen time, and their runs executed in this process."""

from dataclasses import dataclass
from datetime import datetime

from dagster import DagsterInstance, Definitions, ExecuteInProcessResult

from resmon_assets import automation
from resmon_assets.catch_up import CatchUp, Decision, decide
from resmon_assets.definitions import build_defs
from resmon_resources import catch_up_ledger
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.retention_policy import read_policy
from resmon_resources.window_ledger import StaleWindow


@dataclass(frozen=True)
class Healer:
    """What the sensor does, at times of the test's choosing."""

    postgres: PostgresResource
    instance: DagsterInstance
    archive_url: str

    def stale(self, now: datetime) -> dict[str, list[StaleWindow]]:
        """Stale windows by table; tables without any are left out."""
        with self.postgres.connect() as connection:
            policy = read_policy(connection)
            found = {
                watched.table: automation.stale_of(connection, watched, now=now, policy=policy)
                for watched in automation.WATCHED
            }
        return {table: windows for table, windows in found.items() if windows}

    def decide(self, now: datetime) -> Decision:
        """One tick: decision, and attempts counted."""
        with self.postgres.connect() as connection:
            policy = read_policy(connection)
            stale = {
                watched: automation.stale_of(connection, watched, now=now, policy=policy)
                for watched in automation.WATCHED
            }
            decision = decide(stale, live=automation.live_runs(self.instance), now=now)
            catch_up_ledger.forget_settled(connection)
            attempts = [attempt for run in decision.runs for attempt in run.attempts]
            catch_up_ledger.record_attempts(connection, attempts, now=now)
        return decision

    def run(self, run: CatchUp, now: datetime) -> ExecuteInProcessResult:
        """Execute one run as the daemon would."""
        request = automation.catch_up_request(run)
        job = self._definitions_at(now).resolve_job_def(run.job_name)
        return job.execute_in_process(
            partition_key=request.partition_key,
            tags=dict(request.tags),
            asset_selection=request.asset_selection,
            instance=self.instance,
            raise_on_error=False,
        )

    def settle(self, now: datetime, *, ticks: int = 50) -> int:
        """Tick and run until a tick requests nothing; the number of runs."""
        count = 0
        for _ in range(ticks):
            decision = self.decide(now)
            if not decision.runs:
                return count
            for run in decision.runs:
                self.run(run, now)
                count += 1
        msg = f"still not settled after {ticks} ticks: {self.stale(now)}"
        raise AssertionError(msg)

    def _definitions_at(self, now: datetime) -> Definitions:
        """All definitions on this test's database, clock and archive."""
        return build_defs(
            {
                "postgres": self.postgres,
                "clock": ClockResource(fixed_at=now.isoformat()),
                "archive": ArchiveResource(url=self.archive_url),
            }
        )
