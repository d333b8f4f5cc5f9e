"""Reports and forecasts for the days of the demo fleet, by the functions that the assets call.

Belongs here: which windows of which table are computed, in which order. Hours and days go forward,
because detectors and drifts know what they learned before. What is computed already is left as it
is, so that an interrupted `resmon demo create` goes on where it was.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from resmon_assets.anomaly.days_window import (
    DEGRADATION,
    TRENDS,
    refresh_degradation,
    refresh_trends,
)
from resmon_assets.anomaly.refresh import REPORTS, Carried, refresh_reports
from resmon_assets.demo.fleet_row import FleetRow
from resmon_assets.demo.plan import DAY, HOUR
from resmon_assets.forecast.headroom_window import HEADROOM_DAY, refresh_headroom
from resmon_assets.forecast.refresh import FORECAST_DAY, refresh_forecasts
from resmon_assets.forecast.scoring import SCORE_DAY, refresh_scores
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.window_ledger import window_states

Refresh = Callable[[PostgresResource, datetime, datetime], object]
"""Computes and stores the window that starts at the second argument; the third is now."""


@dataclass(frozen=True, slots=True)
class Step:
    """A table that is computed from the history.

    Attributes:
        table: as schema.table.
        window: length of its windows.
        refresh: computes one.
    """

    table: str
    window: timedelta
    refresh: Refresh

    def windows(self, fleet: FleetRow) -> list[datetime]:
        """Starts of the windows of the fleet's history, in order."""
        count = (fleet.ends_at - fleet.starts_at) // self.window
        return [fleet.starts_at + k * self.window for k in range(count)]


@dataclass(frozen=True, slots=True)
class Computed:
    """A window that was looked at.

    Attributes:
        step: of which table.
        start: its start.
        refusal: why it was not computed; empty when it was, or had been before.
    """

    step: Step
    start: datetime
    refusal: str


def steps() -> Sequence[Step]:
    """The tables in the order in which one reads from another; begin anew for each run."""
    carried = Carried()
    return (
        Step(
            REPORTS.name,
            HOUR,
            lambda postgres, start, now: refresh_reports(
                postgres, start=start, now=now, carried=carried
            ),
        ),
        Step(
            TRENDS.table.name,
            DAY,
            lambda postgres, start, now: refresh_trends(postgres, start=start, now=now),
        ),
        Step(
            DEGRADATION.table.name,
            DAY,
            lambda postgres, start, now: refresh_degradation(postgres, start=start, now=now),
        ),
        Step(
            FORECAST_DAY.table.name,
            DAY,
            lambda postgres, start, now: refresh_forecasts(postgres, start=start, now=now),
        ),
        Step(
            HEADROOM_DAY.table.name,
            DAY,
            lambda postgres, start, now: refresh_headroom(postgres, start=start, now=now),
        ),
        Step(
            SCORE_DAY.table.name,
            DAY,
            lambda postgres, start, now: refresh_scores(postgres, start=start, now=now),
        ),
    )


def compute_step(
    postgres: PostgresResource, step: Step, fleet: FleetRow, *, now: datetime
) -> Iterator[Computed]:
    """Compute the windows of a table, oldest first; a refused one does not keep the others back."""
    with postgres.connect() as connection:
        known = window_states(connection, step.table, fleet.starts_at, fleet.ends_at)
    for start in step.windows(fleet):
        state = known.get(start)
        refusal = ""
        if state is None or state.complete_until < start + step.window:
            try:
                step.refresh(postgres, start, now)
            except WindowRefused as error:
                refusal = str(error)
        yield Computed(step, start, refusal)
