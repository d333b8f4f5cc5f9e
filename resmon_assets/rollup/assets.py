"""The three tables of organization metrics as assets: when they are computed.

Belongs here: the factory. How a window is computed is in `refresh.py`, how it is judged in
`checks.py`.
"""

from dataclasses import replace

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from resmon_assets.naming import RAW_SAMPLES
from resmon_assets.rollup.checks import RULES
from resmon_assets.rollup.refresh import refresh_window
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.window_assets import run_windows, window_asset
from resmon_assets.window_runs import BucketAsset, coverage_metadata
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource


def _rollup_asset(spec: BucketAsset) -> AssetsDefinition:
    """The asset of one granularity."""
    rules = replace(RULES, told=spec.told)

    @window_asset(
        spec,
        sources=[RAW_SAMPLES],
        rules=rules,
        description=(
            f"Every organization per {spec.period}, from raw samples: its own servers (direct) and "
            "those of all below it (subtree). CPU weighted by cores, its exact p95 over all "
            "samples, totals and capacity of memory and disk, network, servers and samples that "
            "came and were expected. Samples count to the organizations above them when they were "
            "taken."
        ),
    )
    def rollup(
        context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
    ) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
        now = clock.now()
        return run_windows(
            context,
            postgres,
            spec,
            lambda start: refresh_window(postgres, spec.table, start=start, now=now),
            rules=rules,
            report=coverage_metadata,
        )

    return rollup


ROLLUP_ASSETS = [_rollup_asset(spec) for spec in ROLLUPS]
