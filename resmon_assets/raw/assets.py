"""Stage raw: the asset of samples, one run per UTC hour and shard, and that of file systems.

Belongs here: what a materialization means (collect the running hour, report a past one) and what it
reports. File systems come with the samples of the same run; docs/decisions/0002-file-systems.md
says why they are an external asset. The loop is in collector.py; supervision in automation.py.
"""

import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy.exc
from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
    AssetSpec,
    BackfillPolicy,
    Config,
    DagsterRunStatus,
    Failure,
    MaterializeResult,
    MetadataValue,
    asset,
)
from dagster_postgres.utils import DagsterPostgresException
from pydantic import Field

from resmon_assets.alert_watch import AlertWatch
from resmon_assets.frames import RAW_FILE_SYSTEMS as FILE_SYSTEM_COLUMNS
from resmon_assets.frames import RAW_SAMPLES as RAW_COLUMNS
from resmon_assets.naming import OWNER, RAW_FILE_SYSTEMS, RAW_SAMPLES
from resmon_assets.partitions import hour_key, raw_hour_partitions
from resmon_assets.raw.collector import HOUR, Collector, Ended, Figures
from resmon_assets.raw.difference import status_of
from resmon_assets.raw.schedule import shard_of
from resmon_assets.raw.supervision import REQUEST_AHEAD
from resmon_assets.reporting import errors_sorted, instant_text, table_metadata
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.collector_registry import collectors_of
from resmon_resources.collector_storage import CollectorStorage
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import database_identity, load_query
from resmon_resources.process_limits import (
    limit_problems,
    need_of,
    raise_open_files,
    read_limits,
)
from resmon_resources.raw_archive import read_manifest
from resmon_resources.raw_days import KEEP_DAYS, MAXIMUM_KEEP_DAYS
from resmon_resources.raw_restore import Restored, restore_day
from resmon_resources.settings import load_settings
from resmon_resources.spool import RefusedRows, Spool
from resmon_resources.ssh_resource import SshResource

logger = logging.getLogger(__name__)

EARLIEST_START = REQUEST_AHEAD + timedelta(seconds=60)
"""A run for a coming hour is refused when it is requested earlier than this."""
MAXIMUM_RESTORED_DAYS = 7
"""Days that one run brings back from the archive: as long as raw is kept. Whoever materializes all
partitions does not mean to fill the disk."""
STATUS_EVERY = timedelta(seconds=20)
"""How often a collector asks Dagster whether its own run is still wanted."""
STATUS_RETRY = timedelta(minutes=2)
"""The same after Dagster's storage did not answer."""

DAGSTER_AWAY = (sqlalchemy.exc.DBAPIError, DagsterPostgresException)
"""What Dagster's storage raises while its database is away: the second after its own attempts,
which take about ten seconds (dagster-postgres 0.29.27)."""

Metadata = dict[str, MetadataValue]


class CollectConfig(Config):
    """What one collector run collects."""

    shard: int | None = Field(
        default=None, ge=0, lt=64, description="Shard to collect; none means all shards."
    )
    keep_days: int = Field(
        default=KEEP_DAYS,
        ge=1,
        le=MAXIMUM_KEEP_DAYS,
        description="Days for which retention leaves a day alone that this run restores.",
    )


@asset(
    key=RAW_SAMPLES,
    group_name="raw",
    owners=[OWNER],
    kinds={"ssh", "postgres"},
    metadata=table_metadata(RAW_SAMPLES, RAW_COLUMNS),
    partitions_def=raw_hour_partitions,
    backfill_policy=BackfillPolicy.single_run(),
)
def raw_server_resource_metrics(
    context: AssetExecutionContext,
    config: CollectConfig,
    postgres: PostgresResource,
    ssh: SshResource,
    archive: ArchiveResource,
) -> MaterializeResult[None]:
    """CPU, memory, disk, network, load and uptime of every server, every 30 seconds.

    Materializing the running hour collects until the hour is over; the sensor `collect_raw_sensor`
    does that by itself, and turning it off ends collection. A past hour is not collected again: its
    rows are counted and reported; when they are gone and the day is archived, the whole day is
    restored first and kept for `keep_days`. Every five minutes the run records what those minutes
    brought; `complete` says whether the hour is over.
    """
    _configure_logging()
    window = context.partition_time_window
    start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    now = _utc_now()
    if end - start > HOUR and end > now:
        msg = (
            f"The range {hour_key(start)} to {hour_key(end - HOUR)} reaches into the running hour, "
            "which is collected by a run of its own. Choose hours that are over."
        )
        raise _refusal(msg)
    if end <= now:
        with errors_sorted(context):
            restored = _restore_past(context, config, postgres, archive, start=start, end=end)
            return _report_past(postgres, start=start, end=end, restored=restored)
    if start - now > EARLIEST_START:
        msg = (
            f"The hour {hour_key(start)} begins in {(start - now).total_seconds() / 60:.0f} "
            f"minutes. It can be collected from {EARLIEST_START.seconds // 60} minutes before its "
            "begin."
        )
        raise _refusal(msg)
    return _collect_hour(context, config, postgres, ssh, hour=start)


raw_filesystem_usage = AssetSpec(
    key=RAW_FILE_SYSTEMS,
    description=(
        "Use and inodes of every mounted file system of every server, every five minutes.\n\n"
        "Collected by the run of `raw/server_resource_metrics` together with its samples, which "
        "records a materialization here for every five minutes; it cannot be materialized by "
        "itself."
    ),
    group_name="raw",
    owners=[OWNER],
    kinds={"ssh", "postgres"},
    metadata=table_metadata(RAW_FILE_SYSTEMS, FILE_SYSTEM_COLUMNS),
    partitions_def=raw_hour_partitions,
)


def keep_out_of_garbage_collection() -> None:
    """Collect garbage once, and never look through what is left again.

    The connections of 10,000 servers are millions of objects that live as long as this process.
    Looking through all of them stopped the collector for about a second, several times a minute,
    and took a quarter of its CPU.
    """
    gc.collect()
    gc.freeze()


def _collect_hour(
    context: AssetExecutionContext,
    config: CollectConfig,
    postgres: PostgresResource,
    ssh: SshResource,
    *,
    hour: datetime,
) -> MaterializeResult[None]:
    """Claim the shards, collect until the hour is over, report."""
    settings = load_settings()
    shard_count = settings.shards
    shards = range(shard_count) if config.shard is None else [config.shard]
    storage = CollectorStorage(
        postgres,
        shards=shards,
        hour=hour,
        run_id=context.run.run_id,
        select=lambda server: shard_of(server.server_id, shard_count),
        status_of=status_of,
        refused=RefusedRows(settings.spool_path),
        watch=AlertWatch(),
    )
    taken = storage.open(_utc_now())
    if taken is not None:
        raise _refusal(_held_message(postgres, hour=hour, shard=taken))
    raise_open_files()
    warn_of_limits(storage)
    reporter = EventReporter(context.log_event, hour=hour, is_away=lambda: storage.is_away)
    ended: Ended | None = None
    try:
        collector = Collector(
            hour=hour,
            fleet=ssh.fleet(),
            storage=storage,
            clock=_utc_now,
            report=reporter.report,
            unwanted=_unwanted_check(context, is_away=lambda: storage.is_away),
            on_fleet_open=keep_out_of_garbage_collection,
            spool=Spool(
                settings.spool_path,
                limit_bytes=settings.spool_bytes * len(shards) // shard_count,
                shards=shards,
                shard_count=shard_count,
                hour=hour,
                database=database_identity(postgres.url()),
            ),
        )
        ended = collector.run()
    finally:
        reason = ended.reason if ended is not None else "interrupted"
        storage.mark_ended(_utc_now(), reason)
        storage.close()
        logger.info("collector of %s ended: %s", hour_key(hour), reason)
    if storage.is_superseded:
        msg = (
            f"The collector of {hour_key(hour)} lost its lock while the database was away, and "
            "another one has it now. Every sample that this one could store is stored; the other "
            "goes on."
        )
        raise _refusal(msg)
    metadata = figures_metadata(
        ended.figures, now=ended.at, is_complete=ended.at >= hour + HOUR
    ) | {"ended_because": MetadataValue.text(ended.reason)}
    return MaterializeResult(metadata=metadata)


def warn_of_limits(storage: CollectorStorage) -> None:
    """Name the limits of this machine that the servers of this collector will meet."""
    servers = storage.servers(_utc_now())
    for problem in limit_problems(read_limits(), need_of(servers or ())):
        logger.warning("%s", problem)


class EventReporter:
    """Records materializations of the hour; keeps them while Dagster's storage is away.

    While the data database is away that storage is not even asked: it tries for ten seconds, and
    the loop that ticks would wait.
    """

    def __init__(
        self,
        log_event: Callable[[AssetMaterialization], None],
        *,
        hour: datetime,
        is_away: Callable[[], bool],
    ) -> None:
        self._log_event = log_event
        self._hour = hour
        self._is_away = is_away
        self._waiting: list[AssetMaterialization] = []

    def report(self, figures: Figures, now: datetime) -> None:
        """Queue the figures and send whatever waits."""
        logger.info(
            "%d samples of %d servers, %d failures",
            figures.samples,
            len(figures.servers),
            figures.failures.total(),
        )
        self._waiting.append(
            AssetMaterialization(
                asset_key=RAW_SAMPLES,
                partition=hour_key(self._hour),
                metadata=figures_metadata(figures, now=now, is_complete=False),
            )
        )
        if figures.file_systems:
            self._waiting.append(
                AssetMaterialization(
                    asset_key=RAW_FILE_SYSTEMS,
                    partition=hour_key(self._hour),
                    metadata={
                        "rows": MetadataValue.int(figures.file_systems),
                        "servers_processed": MetadataValue.int(len(figures.file_system_servers)),
                    },
                )
            )
        try:
            while self._waiting and not self._is_away():
                self._log_event(self._waiting[0])
                self._waiting.pop(0)
        except DAGSTER_AWAY as error:
            logger.warning(
                "Dagster's storage is away, %d events wait: %s", len(self._waiting), error
            )


def figures_metadata(figures: Figures, *, now: datetime, is_complete: bool) -> Metadata:
    """Figures of a stretch of collecting as metadata that plots well.

    Args:
        figures: what was done.
        now: end of the stretch, aware UTC.
        is_complete: the hour is over; the rows of the partition do not grow any more.
    """
    attempts = figures.samples + figures.duplicates + figures.failures.total()
    done = figures.samples + figures.duplicates
    lateness = sorted(figures.lateness_ms)
    metadata: Metadata = {
        "samples": MetadataValue.int(figures.samples),
        "servers_processed": MetadataValue.int(len(figures.servers)),
        "success_rate": MetadataValue.float(done / attempts if attempts else 1.0),
        "failures": MetadataValue.int(figures.failures.total()),
        "instants_not_asked": MetadataValue.int(figures.not_asked.total()),
        "duplicates": MetadataValue.int(figures.duplicates),
        "lost_samples": MetadataValue.int(figures.lost),
        "notify_failures": MetadataValue.int(figures.notify_failures),
        "spooled_samples": MetadataValue.int(figures.spooled),
        "recovered_samples": MetadataValue.int(figures.recovered),
        "refused_rows": MetadataValue.int(figures.refused),
        "too_late_rows": MetadataValue.int(figures.too_late),
        "seconds": MetadataValue.float(round((now - figures.started_at).total_seconds(), 1)),
        "complete": MetadataValue.bool(is_complete),
    }
    if lateness:
        metadata["lateness_p50_ms"] = MetadataValue.float(round(lateness[len(lateness) // 2], 1))
        metadata["lateness_p95_ms"] = MetadataValue.float(
            round(lateness[len(lateness) * 95 // 100], 1)
        )
    if figures.not_asked:
        metadata["not_asked_by_reason"] = MetadataValue.json(dict(figures.not_asked))
    if figures.failures:
        metadata["failures_by_cause"] = MetadataValue.json(dict(figures.failures.most_common()))
    return metadata


def _restore_past(
    context: AssetExecutionContext,
    config: CollectConfig,
    postgres: PostgresResource,
    archive: ArchiveResource,
    *,
    start: datetime,
    end: datetime,
) -> list[Restored]:
    """Bring back archived days of which raw lacks a whole hour of [start, end).

    Only then the archive is asked at all: hours that are there are reported without it.
    """
    with postgres.connect() as connection:
        counts: dict[datetime, int] = dict(
            connection.execute(
                load_query("raw", "count_hours"), {"start": start, "end": end}
            ).fetchall()
        )
    hours = [start + k * HOUR for k in range((end - start) // HOUR)]
    empty = [hour for hour in hours if hour not in counts]
    if not empty:
        return []
    store = archive.open()
    days = []
    for day in sorted({hour.date() for hour in empty}):
        manifest = read_manifest(store, day)
        wanted = [hour for hour in empty if hour.date() == day]
        if manifest is not None and any(manifest.rows_between(h, h + HOUR) for h in wanted):
            days.append(day)
    if len(days) > MAXIMUM_RESTORED_DAYS:
        msg = (
            f"The range {hour_key(start)} to {hour_key(end - HOUR)} needs {len(days)} days from "
            f"the archive; a run restores at most {MAXIMUM_RESTORED_DAYS}. Choose a shorter range. "
            "Nothing was changed."
        )
        raise _refusal(msg)
    keep_for = timedelta(days=config.keep_days)
    restored = []
    for day in days:
        one = restore_day(postgres, store, day, now=_utc_now(), keep_for=keep_for)
        context.log.info(
            "%s restored from %s: %d rows new of %d, kept until %s",
            day,
            store.url,
            one.new_rows,
            one.manifest.rows,
            instant_text(one.kept_until),
        )
        restored.append(one)
    return restored


def _report_past(
    postgres: PostgresResource, *, start: datetime, end: datetime, restored: Sequence[Restored]
) -> MaterializeResult[None]:
    """Count the rows of hours that are over; changes nothing."""
    with postgres.connect() as connection:
        row = connection.execute(
            load_query("raw", "count_window"), {"start": start, "end": end}
        ).fetchone()
    samples, servers = (row[0], row[1]) if row is not None else (0, 0)
    if samples == 0:
        msg = (
            f"No sample is stored for {hour_key(start)} to {hour_key(end)}, the archive has none "
            "of it, and a past hour cannot be collected again: it is gone for good, or nothing was "
            "collected then. Nothing was changed."
        )
        raise _refusal(msg)
    metadata: Metadata = {
        "samples": MetadataValue.int(samples),
        "servers_processed": MetadataValue.int(servers),
        "complete": MetadataValue.bool(True),
    }
    if restored:
        metadata["restored_rows"] = MetadataValue.int(sum(one.new_rows for one in restored))
        metadata["restored_days"] = MetadataValue.int(len(restored))
        metadata["kept_until"] = MetadataValue.text(
            min(one.kept_until for one in restored).isoformat()
        )
    return MaterializeResult(metadata=metadata)


def _held_message(postgres: PostgresResource, *, hour: datetime, shard: int) -> str:
    """Why this run may not collect: names the live one."""
    with postgres.connect() as connection:
        rows = [row for row in collectors_of(connection, hours=[hour]) if row.shard == shard]
    holder = (
        f"run {rows[0].run_id} (process {rows[0].pid} on {rows[0].host})" if rows else "another"
    )
    return (
        f"Shard {shard} of {hour_key(hour)} is being collected by {holder}. Two collectors of one "
        "hour are not allowed; nothing was changed. To restart collection, terminate that run: the "
        "sensor starts another."
    )


def _refusal(message: str) -> Failure:
    """A failure that no retry can mend."""
    return Failure(message, allow_retries=False)


def _unwanted_check(
    context: AssetExecutionContext, *, is_away: Callable[[], bool]
) -> Callable[[], str | None]:
    """A function that says why the run is not wanted any more, or None; asks Dagster every 20 s.

    While the data database is away, and then with it Dagster's storage, nobody is asked.
    """
    parent = os.getppid()
    next_look = _utc_now() + STATUS_EVERY
    stopping = (
        DagsterRunStatus.CANCELING,
        DagsterRunStatus.CANCELED,
        DagsterRunStatus.FAILURE,
    )

    def check() -> str | None:
        nonlocal next_look
        if os.getppid() != parent:
            # A run that outlives its code server can be neither terminated nor monitored.
            return "the process that started this run is gone"
        if _utc_now() < next_look or is_away():
            return None
        next_look = _utc_now() + STATUS_EVERY
        try:
            run = context.instance.get_run_by_id(context.run.run_id)
        except DAGSTER_AWAY as error:
            # The attempt has taken ten seconds: not again with the next look.
            next_look = _utc_now() + STATUS_RETRY
            logger.warning("Dagster's storage is away, collection goes on: %s", error)
            return None
        if run is not None and run.status in stopping:
            return f"its run is {run.status.value}"
        return None

    return check


def _utc_now() -> datetime:
    """The clock of the collector."""
    return datetime.now(UTC)


def _configure_logging() -> None:
    """Lines of the collector go to the run's stderr, which Dagster shows as compute log."""
    root = logging.getLogger("resmon_assets")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        for name in ("resmon_assets", "resmon_resources"):
            logging.getLogger(name).addHandler(handler)
            logging.getLogger(name).setLevel(logging.INFO)
