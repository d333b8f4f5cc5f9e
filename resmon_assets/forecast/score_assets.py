"""The scores of forecasts as an asset: when they are computed, what is reported, how judged.

Belongs here: the asset, its report, and the two rules that only it has. How a day is scored and
stored is in `scoring.py`.
"""

from collections.abc import Sequence
from datetime import datetime

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue

from resmon_assets.forecast.score_picture import as_table, draw_scores
from resmon_assets.forecast.scoring import SCORE_DAY, ScoredDay, refresh_scores
from resmon_assets.naming import CAPACITY_FORECASTS
from resmon_assets.pictures import as_markdown
from resmon_assets.reporting import Finding
from resmon_assets.window_assets import run_windows, window_asset
from resmon_assets.window_checks import WrittenRules, stored_checks, written_totals
from resmon_assets.window_runs import Metadata, Refreshed, standard_metadata
from resmon_assets.windows import Outcome
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource

SCORES_ALL = "scores_every_forecast"
HOLDS_BANDS = "holds_bands"

COVERAGE_OF_80 = (0.70, 0.90)
"""Share inside the 80 % bands of method `best` outside of which a person should look. A tenth more
or less than promised; real series of one day move together, so that a tighter range would warn of
every holiday."""

FEWEST_JUDGED = 200
"""With fewer forecasts the share of a day says nothing: at 200 its standard error is 0.03."""


def judge_count(outcome: Outcome) -> Finding:
    """Compare the stored rows with those that PostgreSQL counts in the forecasts."""
    totals = written_totals(outcome)
    stored, due = totals["stored_rows"], totals["due_rows"]
    return Finding(
        is_good=stored == due,
        actual=stored,
        allowed=f"{due}, the forecasts of the day that can be scored",
    )


def judge_bands(outcome: Outcome) -> Finding:
    """Whether about four of five values were inside the 80 % band; never more than a warning."""
    totals = written_totals(outcome)
    rows, inside = totals["best_rows"], totals["best_inside_80"]
    low, high = COVERAGE_OF_80
    share = inside / rows if rows else 0.0
    return Finding(
        is_good=rows < FEWEST_JUDGED or low <= share <= high,
        is_warning=True,
        actual=share,
        allowed=f"{low} to {high} when {FEWEST_JUDGED} forecasts or more are scored",
        figures={
            "forecasts": rows,
            "coverage_95": totals["best_inside_95"] / rows if rows else 0.0,
        },
    )


RULES = WrittenRules(
    {SCORES_ALL: judge_count, HOLDS_BANDS: judge_bands},
    descriptions={
        SCORES_ALL: (
            "Every forecast that is 1, 7 or 30 days old and whose day was measured has a row."
        ),
        HOLDS_BANDS: (
            f"Of {FEWEST_JUDGED} or more forecasts of method best, {COVERAGE_OF_80[0]:.0%} to "
            f"{COVERAGE_OF_80[1]:.0%} lie inside their 80 % band; a warning otherwise."
        ),
    },
)


# The forecasts of the day itself, which hold what was measured. Those that are scored may be
# missing.
@window_asset(
    SCORE_DAY,
    sources=[CAPACITY_FORECASTS],
    rules=RULES,
    description=(
        "How good the forecasts were that were made 1, 7 and 30 days before a UTC day: error and "
        "whether the bands held, for every server, file system and organization, metric and method."
    ),
)
def forecast_forecast_scores(
    context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """Scores of past forecasts, per UTC day."""
    now = clock.now()
    days: dict[datetime, ScoredDay] = {}

    def refresh(start: datetime) -> Outcome:
        days[start] = refresh_scores(postgres, start=start, now=now)
        return days[start].outcome

    return run_windows(
        context,
        postgres,
        SCORE_DAY,
        refresh,
        rules=RULES,
        report=lambda done: report_of(done, days),
    )


def report_of(done: Sequence[Refreshed], days: dict[datetime, ScoredDay]) -> Metadata:
    """Metadata of a run: the standard figures, and of its last day those by method and age.

    Args:
        done: what became of the days of the run.
        days: all of them, by their start.
    """
    metadata = standard_metadata(done)
    if not done:
        return metadata
    last = max(d.outcome.start for d in done)
    summary = days[last].summary
    metadata["scores"] = MetadataValue.md(as_table(summary))
    for row in summary.iter_rows(named=True):
        name = f"{row['method']}_{row['age_days']}d"
        for figure in ("mase_mean", "coverage_80", "coverage_95"):
            if row[figure] is not None:
                metadata[f"{figure}_{name}"] = MetadataValue.float(row[figure])
    if not summary.is_empty():
        picture = as_markdown(draw_scores(summary, day=f"{last:%Y-%m-%d}"), alt="Forecast scores")
        metadata["picture"] = MetadataValue.md(picture)
    return metadata


SCORE_CHECKS = stored_checks(SCORE_DAY)
"""Schema, key and range."""
