"""The three tables of organization metrics as assets: when they are computed.

Belongs here: the factory. How a window is computed is in `refresh.py`, how it is judged in
`checks.py`.
"""

from dataclasses import replace
from datetime import datetime

from dagster import AssetsDefinition

from resmon_assets.naming import RAW_SAMPLES
from resmon_assets.rollup.checks import RULES
from resmon_assets.rollup.refresh import refresh_window
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.window_assets import refreshed_asset
from resmon_assets.window_runs import BucketAsset, coverage_metadata
from resmon_assets.windows import Outcome
from resmon_resources.postgres import PostgresResource


def _rollup_asset(spec: BucketAsset) -> AssetsDefinition:
    """The asset of one granularity."""

    def refresh(postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
        return refresh_window(postgres, spec.table, start=start, now=now)

    return refreshed_asset(
        spec,
        refresh,
        sources=[RAW_SAMPLES],
        rules=replace(RULES, told=spec.told),
        description=(
            f"Every organization per {spec.period}, from raw samples: its own servers (direct) and "
            "those of all below it (subtree). CPU weighted by cores, its exact p95 over all "
            "samples, totals and capacity of memory and disk, network, servers and samples that "
            "came and were expected. Samples count to the organizations above them when they were "
            "taken."
        ),
        report=coverage_metadata,
    )


ROLLUP_ASSETS = [_rollup_asset(spec) for spec in ROLLUPS]
