"""The daily tier of file systems as an asset, and its checks.

Belongs here: when it is computed, what is reported and how it is judged. How a day is computed and
stored is in `filesystem.py`.
"""

from dagster import (
    AssetDep,
    AssetExecutionContext,
    BackfillPolicy,
    MaterializeResult,
    TimeWindowPartitionMapping,
    asset,
)

from resmon_assets.frames import FILE_SYSTEM_DAYS
from resmon_assets.naming import BATCH_POOL, OWNER, RAW_FILE_SYSTEMS, TIER_FILESYSTEM_1DAY
from resmon_assets.partitions import closed_day_partitions
from resmon_assets.reporting import errors_sorted, instant_text, table_metadata
from resmon_assets.tier.filesystem import FILE_SYSTEM_DAY, refresh_file_systems
from resmon_assets.window_checks import (
    KEEPS_SAMPLES,
    Judgement,
    judge_conservation,
    record_red,
    result_of,
    specs_of,
    stored_checks,
)
from resmon_assets.window_runs import refresh_windows, standard_metadata
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource

RISING = [
    *(
        (f"{name}_min", f"{name}_{middle}", f"{name}_max")
        for name in ("used_bytes", "inodes_used")
        for middle in ("avg", "last")
    ),
    ("available_bytes_min", "available_bytes_last"),
    ("measured_count", "sample_count"),
]
TOGETHER = [
    tuple(f"{name}_{statistic}" for statistic in ("avg", "min", "max", "last"))
    for name in ("used_bytes", "inodes_used")
]


@asset(
    key=TIER_FILESYSTEM_1DAY,
    group_name="tier",
    owners=[OWNER],
    kinds={"polars", "postgres"},
    metadata=table_metadata(TIER_FILESYSTEM_1DAY, FILE_SYSTEM_DAYS),
    partitions_def=closed_day_partitions,
    deps=[AssetDep(RAW_FILE_SYSTEMS, partition_mapping=TimeWindowPartitionMapping())],
    check_specs=specs_of(FILE_SYSTEM_DAY, (KEEPS_SAMPLES,)),
    pool=BATCH_POOL,
    backfill_policy=BackfillPolicy.single_run(),
)
def tier_filesystem_1day(
    context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """Use and inodes of every file system per UTC day: mean, lowest, highest and last value.

    Exact, from the rows of every five minutes, and kept for ever. Running it again changes nothing
    unless raw has changed.
    """
    with errors_sorted(context):
        now = clock.now()
        done = refresh_windows(
            context,
            FILE_SYSTEM_DAY,
            lambda start: refresh_file_systems(
                postgres, FILE_SYSTEM_DAY.table, start=start, now=now
            ),
        )
        outcomes = [d.outcome for d in done if d.outcome.stored is not None]
        judgement = Judgement(KEEPS_SAMPLES, {o.start: judge_conservation(o) for o in outcomes})
        with postgres.connect() as connection:
            red = record_red(connection, FILE_SYSTEM_DAY, [judgement])
    if red:
        context.log.error("Marked red: %s", ", ".join(instant_text(window) for window in red))
    return MaterializeResult(
        metadata=standard_metadata(done), check_results=[result_of(FILE_SYSTEM_DAY, judgement)]
    )


FILE_SYSTEM_CHECKS = stored_checks(FILE_SYSTEM_DAY, rising=RISING, together=TOGETHER)
