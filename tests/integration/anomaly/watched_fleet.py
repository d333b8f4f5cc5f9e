"""A fleet whose five-minute tier is written directly, and its reports judged as the platform does.

The values repeat every hour, after two livelier ones; a test adds what is unusual.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from resmon_assets.anomaly.refresh import REPORTS, SOURCE, Carried, refresh_reports
from resmon_assets.frames import METRICS, STATISTICS, TIER_ROWS, schema_of
from resmon_assets.windows import Outcome
from resmon_resources import inventory
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.window_ledger import record_window, window_states
from tests.one_database import Statements

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
ONE_HOUR, STEP = timedelta(hours=1), timedelta(minutes=5)
JUDGED = FIRST + 54 * ONE_HOUR
"""The hour that tests look at: what is usual is known by then."""

USUAL = {
    "cpu_pct": 20.0,
    "memory_used_bytes": 8.0 * 2**30,
    "disk_used_bytes": 100.0 * 2**30,
    "network_in_bytes_per_second": 1.0 * 2**20,
    "network_out_bytes_per_second": 0.5 * 2**20,
}
PER_STEP = 10
"""Samples of five minutes."""

Changes = Mapping[tuple[int, datetime, str], float | None]


@dataclass
class WatchedFleet(Statements):
    """Servers, their five-minute tier and their anomaly reports in one test's database."""

    postgres: PostgresResource
    organizations: dict[str, int] = field(default_factory=dict)
    servers: dict[int, int] = field(default_factory=dict)
    """Server -> organization."""
    changes: dict[tuple[int, datetime, str], float | None] = field(default_factory=dict)
    """Values that differ from the usual ones, by server, time step and metric."""
    samples: dict[tuple[int, datetime], int | None] = field(default_factory=dict)
    """Samples that came, where fewer than PER_STEP did; None: there is no row."""
    revisions: dict[datetime, list[int]] = field(default_factory=dict)

    def organization(self, name: str, parent: str | None = None) -> int:
        """A new organization."""
        with self.postgres.connect() as connection:
            added = inventory.add_organization(connection, name, parent=parent, now=LONG_AGO)
        self.organizations[name] = added.organization_id
        return added.organization_id

    def server(self, name: str, organization: str) -> int:
        """A new active server."""
        with self.postgres.connect() as connection:
            added = inventory.add_server(
                connection, name, host=name, organization=organization, now=LONG_AGO
            )
        self.servers[added.server_id] = self.organizations[organization]
        return added.server_id

    def change(self, server: int, start: datetime, steps: int, **values: float | None) -> None:
        """Other values for some time steps; None: not measured."""
        for step in range(steps):
            for metric, value in values.items():
                self.changes[server, start + step * STEP, metric] = value

    def tier(self, hour: datetime, *, steps: int = 12, late: tuple[int, ...] = ()) -> None:
        """Write the tier of an hour up to a time step, as its own asset would have left it.

        Args:
            hour: start of it.
            steps: time steps that are over.
            late: of these, those whose samples were written to again.
        """
        self._write({hour: steps}, late=late)

    def history(self, until: datetime = JUDGED) -> None:
        """The tier of every hour from FIRST on."""
        self._write({FIRST + k * ONE_HOUR: 12 for k in range((until - FIRST) // ONE_HOUR)})

    def _write(self, hours: Mapping[datetime, int], *, late: tuple[int, ...] = ()) -> None:
        """The tier of some hours, each with so many time steps."""
        steps = [hour + step * STEP for hour, count in hours.items() for step in range(count)]
        rows = pl.DataFrame(
            [row for at in steps for row in self._rows(at)],
            schema=schema_of(TIER_ROWS),
            orient="row",
        )
        first, last = min(hours), max(hours) + ONE_HOUR
        with self.postgres.connect() as connection:
            connection.execute(
                "select ops.ensure_partitions(%s::regclass, 'week', %s, %s)", (SOURCE, first, last)
            )
        with self.postgres.connect() as connection:
            connection.execute(
                f"delete from {SOURCE} where bucket_start >= %s and bucket_start < %s".encode(),
                (first, last),
            )
            copy_frame(connection, SOURCE, rows)
            for hour, count in hours.items():
                revisions = self.revisions.setdefault(hour, [0] * 12)
                for step in range(count):
                    revisions[step] = max(revisions[step], 1) + (step in late)
                assert record_window(
                    connection,
                    SOURCE,
                    hour,
                    revision=sum(revisions),
                    computed_at=hour + count * STEP,
                    complete_until=hour + count * STEP,
                    row_count=count,
                    sample_count=count * PER_STEP,
                    slot_revisions=revisions,
                    slot_samples=[1] * 12,
                )

    def judge(
        self,
        hour: datetime = JUDGED,
        *,
        until: datetime | None = None,
        is_by_person: bool = False,
        **options: Any,
    ) -> Outcome:
        """Judge an hour, or all from it to `until`, in one run; the last outcome."""
        carried = Carried()
        last = hour if until is None else until
        while True:
            outcome = refresh_reports(
                self.postgres,
                start=hour,
                now=hour + 2 * ONE_HOUR,
                is_by_person=is_by_person,
                carried=carried,
                **options,
            )
            if hour >= last:
                return outcome
            hour += ONE_HOUR

    def episodes(self, columns: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
        """Stored rows in order of time, those that were replaced included."""
        return self.execute(
            f"select {columns} from {REPORTS.name} where {where} "
            "order by started_at, server_id, metric, detector, revision"
        )

    def state(self, hour: datetime = JUDGED) -> Any:
        """The ledger's row of an hour."""
        with self.postgres.connect() as connection:
            return window_states(connection, REPORTS.name, start=hour, end=hour + ONE_HOUR)[hour]

    def _rows(self, at: datetime) -> list[list[object]]:
        """Rows of one time step."""
        rows = []
        for server, organization in self.servers.items():
            samples = self.samples.get((server, at), PER_STEP)
            if samples is None:
                continue
            # Two livelier hours first: what comes later is calm by comparison.
            size = 0.04 if at < FIRST + 2 * ONE_HOUR else 0.02
            wave = 1 + size * np.sin(np.arange(len(USUAL)) + server + at.minute / 60 * 2 * np.pi)
            values = dict(zip(USUAL, wave * list(USUAL.values()), strict=True))
            row: list[object] = [at, server, organization, samples, PER_STEP]
            for metric in METRICS:
                value = self.changes.get((server, at, metric), values[metric])
                row += [value] * len(STATISTICS)
            rows.append(row)
        return rows
