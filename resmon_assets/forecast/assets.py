"""The forecasts of a day as an asset: when they are computed, what is reported.

Belongs here: the asset and its report. How a day is computed and stored is in `refresh.py`.
"""

from collections.abc import Sequence
from datetime import datetime

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue

from resmon_assets.forecast.checks import RULES
from resmon_assets.forecast.picture import as_table, draw_outlooks, most_urgent, outlooks_of
from resmon_assets.forecast.refresh import FORECAST_DAY, ForecastDay, refresh_forecasts
from resmon_assets.naming import ROLLUP_1DAY, TIER_1DAY, TIER_FILESYSTEM_1DAY
from resmon_assets.pictures import as_markdown
from resmon_assets.window_assets import run_windows, window_asset
from resmon_assets.window_runs import Metadata, Refreshed, standard_metadata
from resmon_assets.windows import Outcome
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query

PROGRESS_SERIES = 10_000
"""A line of the log for so many series: some thirty seconds of work."""


# The day that must be there. Of those before it in the history any may be missing, which a mapping
# with an offset tells only by a parameter that is still in beta.
@window_asset(
    FORECAST_DAY,
    sources=[TIER_1DAY, TIER_FILESYSTEM_1DAY, ROLLUP_1DAY],
    rules=RULES,
    description=(
        "What CPU, memory, disk and every file system of every server, and every organization, are "
        "expected to be in the 30 days after a closed UTC day: by a straight line, and by the "
        "model that served the series best, with 80 % and 95 % bands; and the day on which 85, 90 "
        "and 100 % of the capacity or quota are reached, or why none is told."
    ),
)
def forecast_capacity_forecasts(
    context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """Forecasts and days of limits, per UTC day."""
    now = clock.now()
    days: dict[datetime, ForecastDay] = {}

    def refresh(start: datetime) -> Outcome:
        days.clear()  # the newest one is reported; a backfill keeps no others in memory
        days[start] = refresh_forecasts(
            postgres, start=start, now=now, on_progress=_Progress(context, start)
        )
        return days[start].outcome

    return run_windows(
        context,
        postgres,
        FORECAST_DAY,
        refresh,
        rules=RULES,
        report=lambda done: report_of(postgres, done, days),
    )


def report_of(
    postgres: PostgresResource,
    done: Sequence[Refreshed],
    days: dict[datetime, ForecastDay],
) -> Metadata:
    """Metadata of a run: the standard figures, and of its last day what is most urgent.

    Args:
        postgres: asked for names.
        done: what became of the days of the run.
        days: those that are still in memory.
    """
    metadata = standard_metadata(done)
    known = [days[d.outcome.start] for d in done if d.outcome.start in days]
    day = known[-1] if known else None
    if day is None or day.series is None:
        return metadata
    with postgres.connect() as connection:
        rows = connection.execute(load_query("forecast", "read_names").encode()).fetchall()
    names = {(organization, server): name for organization, server, name in rows}
    urgent = most_urgent(day.rows)
    metadata |= {
        "series_chosen": MetadataValue.int(day.chosen),
        "history_days_red": MetadataValue.int(len(day.red)),
        "seconds_models": MetadataValue.float(day.seconds),
        "most_urgent": MetadataValue.md(as_table(urgent, names)),
    }
    if day.outcome.stored is not None:
        totals = day.outcome.stored.totals
        metadata |= {
            "series": MetadataValue.int(totals["forecast_series"]),
            "series_insufficient": MetadataValue.int(totals["insufficient_series"]),
        }
    if outlooks := outlooks_of(urgent, day.series, names):
        picture = as_markdown(draw_outlooks(outlooks), alt="The most urgent forecasts")
        metadata["picture"] = MetadataValue.md(picture)
    return metadata


class _Progress:
    """Logs how far a day has come, once per `PROGRESS_SERIES` series."""

    def __init__(self, context: AssetExecutionContext, start: datetime) -> None:
        """Begin to count for the day at `start`."""
        self._context, self._start, self._told = context, start, 0

    def __call__(self, done: int, total: int) -> None:
        """Log if enough series were added."""
        if done - self._told >= PROGRESS_SERIES or (done == total and self._told):
            self._told = done
            self._context.log.info("%s: %d of %d series", f"{self._start:%Y-%m-%d}", done, total)
