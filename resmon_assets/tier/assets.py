"""The four tiers as assets: when they are computed and what is reported.

Belongs here: the factory and its report. How a window is computed and stored is in `refresh.py`.
"""

from collections.abc import Sequence

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionMapping,
    asset,
)

from resmon_assets.frames import TIER_ROWS
from resmon_assets.naming import BATCH_POOL, OWNER, RAW_SAMPLES
from resmon_assets.reporting import errors_sorted, instant_text, table_metadata
from resmon_assets.tier.picture import window_picture
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS, TierAsset
from resmon_assets.window_checks import (
    judge_written,
    record_red,
    specs_of,
    told_results,
)
from resmon_assets.window_runs import Metadata, Refreshed, refresh_windows, standard_metadata
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource


def _tier_asset(spec: TierAsset) -> AssetsDefinition:
    """The asset of one tier."""

    @asset(
        key=spec.key,
        group_name="tier",
        owners=[OWNER],
        kinds={"polars", "postgres"},
        description=(
            f"Exact statistics of every server per {spec.period}, from raw samples: avg, min, max, "
            "p50, p95 and p99 of CPU, memory, disk and network, with the samples that came and "
            "those expected. A bucket is written when it is over; running it again changes nothing "
            "unless raw has changed."
        ),
        metadata=table_metadata(spec.key, TIER_ROWS),
        partitions_def=spec.partitions,
        deps=[AssetDep(RAW_SAMPLES, partition_mapping=TimeWindowPartitionMapping())],
        check_specs=specs_of(spec, spec.told),
        pool=BATCH_POOL,
        backfill_policy=BackfillPolicy.single_run(),
    )
    def tier(
        context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
    ) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
        with errors_sorted(context):
            now = clock.now()
            done = refresh_windows(
                context,
                spec,
                lambda start: refresh_window(postgres, spec.table, start=start, now=now),
                report=report,
            )
            judgements = judge_written([d.outcome for d in done])
            with postgres.connect() as connection:
                red = record_red(connection, spec, judgements)
            if red:
                context.log.error("Marked red: %s", ", ".join(map(instant_text, red)))
            results = told_results(spec, judgements, spec.told)
            metadata = report(done) | picture(postgres, spec, done)
        return MaterializeResult(
            metadata=metadata,
            check_results=results,
        )

    return tier


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and how many of the expected samples came."""
    written = [d.outcome.stored.totals for d in done if d.outcome.stored is not None]
    expected = sum(totals["expected_samples"] for totals in written)
    metadata = standard_metadata(done) | {"samples_expected": MetadataValue.int(expected)}
    if expected:
        arrived = sum(totals["arrived_samples"] for totals in written)
        metadata["coverage_ratio"] = MetadataValue.float(arrived / expected)
    return metadata


def picture(postgres: PostgresResource, spec: TierAsset, done: Sequence[Refreshed]) -> Metadata:
    """The picture of a closed window: none of many at once, and none in five-minute runs.

    Dagster stores the metadata of a run once for each of its partitions.
    """
    if not spec.is_judged or len(done) != 1 or not done[0].outcome.is_complete:
        return {}
    outcome = done[0].outcome
    markdown = window_picture(
        postgres, start=outcome.start, window=spec.table.window, servers=outcome.server_count
    )
    return {"picture": MetadataValue.md(markdown)} if markdown is not None else {}


TIER_ASSETS = [_tier_asset(spec) for spec in TIERS]
