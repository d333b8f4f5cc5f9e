"""The four tiers as assets: when they are computed and what is reported.

Belongs here: the factory and its report. How a window is computed and stored is in `refresh.py`.
"""

from collections.abc import Sequence
from datetime import datetime

from dagster import AssetsDefinition, MetadataValue

from resmon_assets.naming import RAW_SAMPLES
from resmon_assets.tier.picture import window_picture
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_assets import refreshed_asset
from resmon_assets.window_checks import (
    COVERS_FLEET,
    KEEPS_SAMPLES,
    WrittenRules,
    judge_conservation,
    judge_coverage,
)
from resmon_assets.window_runs import BucketAsset, Metadata, Refreshed, coverage_metadata
from resmon_assets.windows import Outcome
from resmon_resources.postgres import PostgresResource


def _tier_asset(spec: BucketAsset) -> AssetsDefinition:
    """The asset of one tier."""

    def refresh(postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
        return refresh_window(postgres, spec.table, start=start, now=now)

    return refreshed_asset(
        spec,
        refresh,
        sources=[RAW_SAMPLES],
        rules=WrittenRules(
            {KEEPS_SAMPLES: judge_conservation, COVERS_FLEET: judge_coverage}, told=spec.told
        ),
        description=(
            f"Exact statistics of every server per {spec.period}, from raw samples: avg, min, max, "
            "p50, p95 and p99 of CPU, memory, disk and network, with the samples that came and "
            "those expected. A bucket is written when it is over; running it again changes nothing "
            "unless raw has changed."
        ),
        report=coverage_metadata,
        picture=lambda postgres, done: picture(postgres, spec, done),
    )


def picture(postgres: PostgresResource, spec: BucketAsset, done: Sequence[Refreshed]) -> Metadata:
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
