"""The asset of Dagster's own history: when it is pruned and what is reported.

Belongs here: configuration and report. What may go and what is kept of it is in history.py.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetObservation,
    Config,
    DagsterInstance,
    MaterializeResult,
    MetadataValue,
    asset,
)
from pydantic import Field

from resmon_assets.naming import BATCH_POOL, DAGSTER_HISTORY, OWNER
from resmon_assets.reporting import errors_sorted
from resmon_assets.retention.history import (
    Pruned,
    day_before,
    history_sizes,
    old_runs,
    prune_runs,
    remove_orphaned_logs,
    storage_url,
    sweep,
)
from resmon_resources.clock import ClockResource

KEEP_DAYS = 14
"""Two weeks answer "since when does this fail"; at 60 MB a day they are below 1 GB."""
VOUCH_DAYS = 400
"""Events repeated for hours are kept a little over a year: about 80,000 of them, 1.3 KB each."""

Metadata = dict[str, MetadataValue]


class DagsterHistoryConfig(Config):
    """What a pass may delete. By default it only counts."""

    dry_run: bool = Field(default=True, description="Count what would go and delete nothing.")
    keep_days: int = Field(
        default=KEEP_DAYS,
        ge=2,
        le=3650,
        description="Runs older than this go, with their events, checks and logs.",
    )
    vouch_days: int = Field(
        default=VOUCH_DAYS,
        ge=366,
        le=36500,
        description=(
            "How long Dagster goes on showing that an hour was computed once its run is gone; days "
            "are shown for ever."
        ),
    )
    max_runs: int = Field(default=5000, ge=1, description="Runs to delete in one pass, at most.")
    max_seconds: float = Field(
        default=300, gt=0, description="Seconds of one pass, at most; the next one goes on."
    )


@asset(
    key=DAGSTER_HISTORY,
    group_name="retention",
    owners=[OWNER],
    kinds={"dagster", "postgres"},
    pool=BATCH_POOL,
    output_required=False,
)
def retention_dagster_history(
    context: AssetExecutionContext, config: DagsterHistoryConfig, clock: ClockResource
) -> Iterator[MaterializeResult[None] | AssetObservation]:
    """Dagster's own runs, events, evaluations of checks and logs of the last two weeks.

    Materializing it deletes what is older, in bounded passes, oldest first. Live runs and runs of
    backfills in progress are never touched. Before a run goes, the newest materialization of each
    partition that only this run vouches for is repeated without a run, so that nothing goes
    missing. A dry run, which is the default, counts and records an observation. Ticks of schedules
    and sensors are not here: Dagster prunes them itself (`retention` in dagster.yaml).
    """
    begun = time.monotonic()
    now = clock.now()
    cutoff = day_before(now, config.keep_days)
    with errors_sorted(context):
        if config.dry_run:
            count = sum(1 for _ in old_runs(context.instance, cutoff=cutoff))
            yield AssetObservation(
                DAGSTER_HISTORY,
                metadata={
                    "runs_to_delete": MetadataValue.int(count),
                    "older_than": MetadataValue.timestamp(cutoff),
                    **sizes(context.instance),
                },
            )
            return

        def is_over() -> bool:
            return time.monotonic() - begun > config.max_seconds

        pruned = prune_runs(context.instance, cutoff=cutoff, most=config.max_runs, is_over=is_over)
        log_folder = os.environ.get("RESMON_LOG_DIR")
        if log_folder:
            pruned.log_folders = remove_orphaned_logs(
                context.instance, Path(log_folder), cutoff=cutoff, is_over=is_over
            )
        url = storage_url(context.instance)
        if url is not None:
            pruned.swept = sweep(
                url,
                cutoff=cutoff,
                vouched_since=day_before(now, config.vouch_days),
                is_over=is_over,
            )
        pruned.is_complete = pruned.is_complete and not is_over()
        yield MaterializeResult(
            metadata={
                **report(pruned),
                **sizes(context.instance),
                "older_than": MetadataValue.timestamp(cutoff),
                "seconds": MetadataValue.float(round(time.monotonic() - begun, 2)),
            }
        )


def report(pruned: Pruned) -> Metadata:
    """Metadata of a pass: what went, what stayed, what was kept of it."""
    return {
        "runs_deleted": MetadataValue.int(pruned.runs),
        "runs_in_backfills": MetadataValue.int(pruned.runs_in_backfills),
        "partitions_vouched": MetadataValue.int(pruned.vouched),
        "newest_repeated": MetadataValue.int(pruned.repeated_newest),
        "log_folders_deleted": MetadataValue.int(pruned.log_folders),
        "complete": MetadataValue.bool(pruned.is_complete),
        **{f"{name}_deleted": MetadataValue.int(count) for name, count in pruned.swept.items()},
    }


def sizes(instance: DagsterInstance) -> Metadata:
    """Bytes of Dagster's database and its growing tables; empty unless it is in PostgreSQL."""
    url = storage_url(instance)
    found = history_sizes(url) if url is not None else {}
    return {name: MetadataValue.int(size) for name, size in found.items()}
