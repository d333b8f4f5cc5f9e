"""Headroom as an asset, and its checks.

Belongs here: when it is computed, what is reported and how it is judged. How a day is computed and
stored is in `headroom_window.py`.
"""

from collections.abc import Sequence

from dagster import (
    AssetDep,
    AssetExecutionContext,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionMapping,
    asset,
)

from resmon_assets.forecast.headroom_window import HEADROOM_DAY, refresh_headroom
from resmon_assets.frames import HEADROOM_ROWS
from resmon_assets.naming import (
    BATCH_POOL,
    CAPACITY_FORECASTS,
    HEADROOM,
    OWNER,
    TIER_1DAY,
    TIER_1HOUR,
)
from resmon_assets.partitions import closed_day_partitions
from resmon_assets.reporting import Finding, errors_sorted, instant_text, table_metadata
from resmon_assets.window_checks import (
    COVERS_FLEET,
    HAS_UNIQUE_KEY,
    KEEPS_ORDER,
    KEEPS_RANGE,
    MINIMUM_COVERAGE,
    Judgement,
    record_red,
    result_of,
    specs_of,
    stored_checks,
)
from resmon_assets.window_runs import Metadata, Refreshed, refresh_windows, standard_metadata
from resmon_assets.windows import Outcome
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource

_DESCRIPTIONS = {
    COVERS_FLEET: (
        "Every active server has a row, and there is a verdict for "
        f"{MINIMUM_COVERAGE:.0%} of them; fewer warn."
    ),
    HAS_UNIQUE_KEY: "(server_id, bucket_start) is unique.",
    KEEPS_ORDER: (
        "A server is not further behind in its organization than in the fleet; rank, headroom and "
        "limiting resource are null together."
    ),
    KEEPS_RANGE: "Shares lie in 0 to 100, sizes, hours and ratios are finite and not negative.",
}

RISING = [("rank_in_organization", "rank_in_fleet"), ("confidence_ratio", "coverage_ratio")]
TOGETHER = [("rank_in_fleet", "rank_in_organization", "headroom_ratio", "limiting_resource")]


@asset(
    key=HEADROOM,
    group_name="forecast",
    owners=[OWNER],
    kinds={"polars", "postgres"},
    metadata=table_metadata(HEADROOM, HEADROOM_ROWS),
    partitions_def=closed_day_partitions,
    deps=[
        AssetDep(key, partition_mapping=TimeWindowPartitionMapping())
        for key in (CAPACITY_FORECASTS, TIER_1DAY, TIER_1HOUR)
    ],
    check_specs=specs_of(HEADROOM_DAY, (COVERS_FLEET,), descriptions=_DESCRIPTIONS),
    pool=BATCH_POOL,
    backfill_policy=BackfillPolicy.single_run(),
)
def forecast_headroom(
    context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """What every server can still take at the end of each UTC day, ranked, with a verdict.

    Who is underused or overloaded, and what size would fit.
    By the 95th percentile of 28 days and the forecast 30 days ahead, up to 80 % of CPU and 85 % of
    memory and disk. Hours that are missing show in the coverage.
    """
    with errors_sorted(context):
        now = clock.now()
        done = refresh_windows(
            context,
            HEADROOM_DAY,
            lambda start: refresh_headroom(postgres, start=start, now=now),
            report=report,
        )
        outcomes = [d.outcome for d in done if d.outcome.stored is not None]
        judgement = Judgement(COVERS_FLEET, {o.start: judge_fleet(o) for o in outcomes})
        with postgres.connect() as connection:
            red = record_red(connection, HEADROOM_DAY, [judgement])
    if red:
        context.log.error("Marked red: %s", ", ".join(instant_text(day) for day in red))
    return MaterializeResult(
        metadata=report(done), check_results=[result_of(HEADROOM_DAY, judgement)]
    )


def judge_fleet(outcome: Outcome) -> Finding:
    """A server without a row is wrong; many without a verdict warn, as a new fleet does."""
    totals = outcome.stored.totals if outcome.stored is not None else {}
    stored = outcome.stored.stored_rows if outcome.stored is not None else 0
    servers = outcome.server_count
    ratio = 1 - totals.get("unknown", 0) / servers if servers else 1.0
    is_whole = stored == outcome.row_count == servers
    return Finding(
        is_good=is_whole and ratio >= MINIMUM_COVERAGE,
        is_warning=is_whole,
        actual=ratio,
        allowed=f"at least {MINIMUM_COVERAGE} of {servers} servers judged, and a row for each",
        figures={"missing_rows": servers - stored},
    )


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and the verdicts of its last day."""
    metadata = standard_metadata(done)
    written = [d.outcome for d in done if d.outcome.stored is not None]
    last = max(written, key=lambda outcome: outcome.start, default=None)
    if last is not None and last.stored is not None:
        for name in ("underused", "overloaded", "unknown"):
            metadata[f"servers_{name}"] = MetadataValue.int(last.stored.totals[name])
    return metadata


HEADROOM_CHECKS = stored_checks(
    HEADROOM_DAY, rising=RISING, together=TOGETHER, descriptions=_DESCRIPTIONS
)
