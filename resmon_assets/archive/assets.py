"""Stage archive: the asset of archived days and what it reports.

Belongs here: which days a run archives, and its report. How a day is archived is in `days.py`; the
way back into raw is resmon_resources/raw_restore.py.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetMaterialization,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionMapping,
    asset,
)

from resmon_assets.archive.checks import (
    KEEPS_ROWS,
    Judged,
    judge_conservation,
    record_red,
    results_of,
    specs_of,
)
from resmon_assets.archive.days import Archived, archive_day, days_between
from resmon_assets.archive.observed import days_observed
from resmon_assets.frames import ARCHIVED_SAMPLES
from resmon_assets.frames import RAW_SAMPLES as RAW_COLUMNS
from resmon_assets.naming import ARCHIVE_RAW, BATCH_POOL, OWNER, RAW_SAMPLES, table_of
from resmon_assets.partitions import closed_day_partitions
from resmon_assets.reporting import errors_sorted, table_metadata
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.archive_store import ArchiveStore
from resmon_resources.catch_up_ledger import record_refusal
from resmon_resources.clock import ClockResource
from resmon_resources.errors import ArchiveDamaged, RawGone
from resmon_resources.postgres import PostgresResource
from resmon_resources.raw_archive import day_folder
from resmon_resources.raw_days import day_start

Metadata = dict[str, MetadataValue]

_COLUMNS = {column.name: column for column in RAW_COLUMNS}


@dataclass(frozen=True, slots=True)
class Done:
    """One archived day and what it took.

    Attributes:
        archived: what became of it.
        seconds: wall time.
    """

    archived: Archived
    seconds: float


@asset(
    key=ARCHIVE_RAW,
    group_name="archive",
    owners=[OWNER],
    kinds={"parquet", "polars"},
    metadata=table_metadata(ARCHIVE_RAW, tuple(_COLUMNS[name] for name in ARCHIVED_SAMPLES)),
    partitions_def=closed_day_partitions,
    deps=[AssetDep(RAW_SAMPLES, partition_mapping=TimeWindowPartitionMapping())],
    check_specs=specs_of(KEEPS_ROWS),
    pool=BATCH_POOL,
    backfill_policy=BackfillPolicy.single_run(),
)
def archive_raw_samples(
    context: AssetExecutionContext,
    postgres: PostgresResource,
    archive: ArchiveResource,
    clock: ClockResource,
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter beside checks
    """Each UTC day of raw samples as Parquet files with a manifest, in a folder or a bucket.

    Written from one snapshot, a file per hour, and verified by reading everything back. Running it
    again writes only files that differ: late samples make a day stale, and it is archived again. A
    day that retention has dropped keeps its archive, which is then verified; materializing one of
    its hours of raw/server_resource_metrics brings the day back.
    """
    window = context.partition_time_window
    days = list(days_between(window.start, window.end))
    with errors_sorted(context):
        now = clock.now()
        with days_observed(postgres, days, now=now):
            done = _archive_days(context, postgres, archive.open(), days, now=now)
        judged = Judged(
            {KEEPS_ROWS: {d.archived.manifest.day: judge_conservation(d.archived) for d in done}}
        )
        with postgres.connect() as connection:
            red = record_red(connection, judged)
    if red:
        context.log.error("Marked red: %s", ", ".join(day.isoformat() for day in red))
    return MaterializeResult(metadata=report(done), check_results=results_of(judged))


def report(done: Sequence[Done]) -> Metadata:
    """Metadata of a run: totals over its days; figures that plot, one kind per name."""
    manifests = [d.archived.manifest for d in done]
    rows, size = sum(m.rows for m in manifests), sum(m.bytes for m in manifests)
    metadata: Metadata = {
        "dagster/partition_row_count": MetadataValue.int(rows),
        "bytes": MetadataValue.int(size),
        "files": MetadataValue.int(sum(len(m.files) for m in manifests)),
        "files_written": MetadataValue.int(sum(d.archived.written_files for d in done)),
        "files_removed": MetadataValue.int(sum(d.archived.removed_files for d in done)),
        "revision": MetadataValue.int(max((m.revision for m in manifests), default=0)),
        "days": MetadataValue.int(len(done)),
        "days_only_verified": MetadataValue.int(sum(d.archived.raw_rows is None for d in done)),
        "seconds": MetadataValue.float(sum(d.seconds for d in done)),
    }
    if rows:
        metadata["bytes_per_row"] = MetadataValue.float(size / rows)
    if len(manifests) == 1:
        metadata["folder"] = MetadataValue.text(day_folder(manifests[0].day))
    return metadata


def _archive_days(
    context: AssetExecutionContext,
    postgres: PostgresResource,
    store: ArchiveStore,
    days: Sequence[date],
    *,
    now: datetime,
) -> list[Done]:
    """Archive each day; one that is refused does not keep the others from it.

    Raises:
        RawGone: raw of some days is gone or less; the others were archived and recorded as
            materialized before.
        ArchiveDamaged: the archive of a day whose raw is gone is not what it should be.
    """
    done: list[Done] = []
    refused: list[RawGone | ArchiveDamaged] = []
    for number, day in enumerate(days, 1):
        begun = time.monotonic()
        try:
            archived = archive_day(postgres, store, day, asset=table_of(ARCHIVE_RAW), now=now)
        except (RawGone, ArchiveDamaged) as error:
            refused.append(error)
            if isinstance(error, RawGone):
                _keep_refusal(postgres, day, error, now=now)
            continue
        done.append(Done(archived, time.monotonic() - begun))
        context.log.info("%d of %d: %s", number, len(days), _told(done[-1]))
    if refused:
        for one in done:
            context.log_event(
                AssetMaterialization(
                    ARCHIVE_RAW,
                    partition=one.archived.manifest.day.isoformat(),
                    metadata=report([one]),
                )
            )
        for other in refused[1:]:
            context.log.error("%s", other)
        raise refused[0]
    return done


def _keep_refusal(postgres: PostgresResource, day: date, error: RawGone, *, now: datetime) -> None:
    """Record that the day is not worth another run until raw is written to."""
    with postgres.connect() as connection:
        record_refusal(
            connection,
            table_of(ARCHIVE_RAW),
            day_start(day),
            revision=error.revision,
            message=str(error),
            now=now,
        )


def _told(done: Done) -> str:
    """One day in one line of the log."""
    archived, manifest = done.archived, done.archived.manifest
    if archived.raw_rows is None:
        return f"{manifest.day}: raw is gone, {len(manifest.files)} archived files are as they were"
    return (
        f"{manifest.day}: {manifest.rows} rows in {len(manifest.files)} files, "
        f"{manifest.bytes / 1e6:.1f} MB, {archived.written_files} files written, "
        f"{archived.removed_files} removed, revision {manifest.revision}, {done.seconds:.1f} s"
    )
