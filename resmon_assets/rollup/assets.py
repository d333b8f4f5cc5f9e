"""The three tables of organization metrics as assets: when they are computed, what is reported.

Belongs here: the factory and its report. How a window is computed is in `refresh.py`.
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

from resmon_assets.frames import ROLLUP_ROWS
from resmon_assets.naming import BATCH_POOL, OWNER, RAW_SAMPLES
from resmon_assets.reporting import errors_sorted, instant_text, table_metadata
from resmon_assets.rollup.checks import DESCRIPTIONS, judge_rollup
from resmon_assets.rollup.refresh import refresh_window
from resmon_assets.rollup.rollups import ROLLUPS, RollupAsset
from resmon_assets.window_checks import (
    record_red,
    specs_of,
    told_results,
)
from resmon_assets.window_runs import Metadata, Refreshed, refresh_windows, standard_metadata
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource


def _rollup_asset(spec: RollupAsset) -> AssetsDefinition:
    """The asset of one granularity."""

    @asset(
        key=spec.key,
        group_name="rollup",
        owners=[OWNER],
        kinds={"polars", "postgres"},
        description=(
            f"Every organization per {spec.period}, from raw samples: its own servers (direct) and "
            "those of all below it (subtree). CPU weighted by cores, its exact p95 over all "
            "samples, totals and capacity of memory and disk, network, servers and samples that "
            "came and were expected. Samples count to the organizations above them when they were "
            "taken."
        ),
        metadata=table_metadata(spec.key, ROLLUP_ROWS),
        partitions_def=spec.partitions,
        deps=[AssetDep(RAW_SAMPLES, partition_mapping=TimeWindowPartitionMapping())],
        check_specs=specs_of(spec, spec.told, descriptions=DESCRIPTIONS),
        pool=BATCH_POOL,
        backfill_policy=BackfillPolicy.single_run(),
    )
    def rollup(
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
            judgements = judge_rollup([d.outcome for d in done])
            with postgres.connect() as connection:
                red = record_red(connection, spec, judgements)
            if red:
                context.log.error("Marked red: %s", ", ".join(map(instant_text, red)))
            results = told_results(spec, judgements, spec.told)
        return MaterializeResult(
            metadata=report(done),
            check_results=results,
        )

    return rollup


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and how many of the expected samples came."""
    written = [d.outcome.stored.totals for d in done if d.outcome.stored is not None]
    expected = sum(totals["expected_samples"] for totals in written)
    metadata = standard_metadata(done) | {"samples_expected": MetadataValue.int(expected)}
    if expected:
        arrived = sum(totals["arrived_samples"] for totals in written)
        metadata["coverage_ratio"] = MetadataValue.float(arrived / expected)
    return metadata


ROLLUP_ASSETS = [_rollup_asset(spec) for spec in ROLLUPS]
