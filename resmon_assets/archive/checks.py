"""How we know that the archive is right.

Belongs here: the rules (from what was written or read to a finding), and the asset checks that
apply them. Conservation is judged inside the asset, against the snapshot that the day was read
from; the rest reads the stored files again, so that it can be run from the UI at any time. A
broken blocking rule marks the day red in the ledger: retention leaves raw alone then.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
import psycopg
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSpec,
    MetadataValue,
    multi_asset_check,
)

from resmon_assets.archive.days import Archived, archived_columns, days_between
from resmon_assets.frames import ARCHIVED_SAMPLES, RAW_SAMPLES, schema_of
from resmon_assets.naming import ARCHIVE_RAW, table_of
from resmon_assets.reporting import Finding, check_result, errors_sorted
from resmon_resources.archive_manifest import Manifest
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.archive_store import ArchiveStore
from resmon_resources.clock import ClockResource
from resmon_resources.errors import ArchiveDamaged
from resmon_resources.postgres import PostgresResource
from resmon_resources.raw_archive import MANIFEST, day_path, read_file, read_manifest, verify_files
from resmon_resources.raw_days import day_start, raw_days, unarchived_days
from resmon_resources.window_ledger import mark_red

KEEPS_ROWS = "archive_raw_samples_keeps_every_row"
MATCHES_MANIFEST = "archive_raw_samples_matches_manifest"
HAS_SCHEMA = "archive_raw_samples_has_schema"
IS_FRESH = "archive_raw_samples_is_fresh"

_DESCRIPTIONS = {
    KEEPS_ROWS: "The files of the day hold as many rows as raw had in the same snapshot.",
    MATCHES_MANIFEST: "Every file is there, with the SHA-256 of the manifest.",
    HAS_SCHEMA: "The files have exactly the declared columns and types.",
    IS_FRESH: "Every day that is over is archived as raw has it now.",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about some days.

    Attributes:
        findings: by name of the check and day; nothing for a check without days.
    """

    findings: dict[str, dict[date, Finding]]

    @property
    def red(self) -> list[date]:
        """Days that must not be relied on."""
        return sorted(
            {
                day
                for by_day in self.findings.values()
                for day, finding in by_day.items()
                if not finding.is_good and not finding.is_warning
            }
        )


def specs_of(*names: str) -> list[AssetCheckSpec]:
    """Specifications of checks; freshness alone does not block, a rerun of the asset cures it."""
    return [
        AssetCheckSpec(
            name, asset=ARCHIVE_RAW, description=_DESCRIPTIONS[name], blocking=name != IS_FRESH
        )
        for name in names
    ]


def results_of(judged: Judged) -> list[AssetCheckResult]:
    """One result per check: the worst finding, the day it is about, and how many were judged."""
    results = []
    for name, by_day in judged.findings.items():
        if not by_day:
            nothing = Finding(is_good=True, actual="no day to judge", allowed="any")
            results.append(check_result(ARCHIVE_RAW, name, nothing))
            continue
        day, worst = min(by_day.items(), key=lambda item: (item[1].is_good, item[1].is_warning))
        result = check_result(ARCHIVE_RAW, name, worst)
        bad = sum(not finding.is_good for finding in by_day.values())
        results.append(
            result._replace(
                metadata={
                    **result.metadata,
                    "day": MetadataValue.text(day.isoformat()),
                    "days_judged": MetadataValue.int(len(by_day)),
                    "days_bad": MetadataValue.int(bad),
                }
            )
        )
    return results


def judge_conservation(archived: Archived) -> Finding:
    """Compare the rows of the files with those that PostgreSQL counted in the snapshot."""
    rows = archived.manifest.rows
    if archived.raw_rows is None:
        return Finding(
            is_good=True, actual=rows, allowed=f"{rows}: raw is gone, the archive was verified"
        )
    return Finding(
        is_good=rows == archived.raw_rows,
        actual=rows,
        allowed=f"{archived.raw_rows}, the rows of raw in the snapshot",
        figures={"missing_rows": archived.raw_rows - rows},
    )


def judge_manifest(store: ArchiveStore, day: date, manifest: Manifest | None) -> Finding:
    """Read every file of a day that should be archived and compare it with its checksum."""
    allowed = "every file of the manifest, with its SHA-256"
    if manifest is None:
        path = day_path(day, MANIFEST)
        return Finding(is_good=False, actual=f"{path} is missing", allowed=allowed)
    try:
        right = sum(1 for _ in verify_files(store, manifest))
    except ArchiveDamaged as error:
        return Finding(is_good=False, actual=str(error), allowed=allowed)
    return Finding(is_good=True, actual=right, allowed=allowed, figures={"bytes": manifest.bytes})


def judge_schema(manifest: Manifest, schemas: Sequence[pl.Schema]) -> Finding:
    """Compare columns and types of a day's files, and those of its manifest, with the declared."""
    declared = schema_of(RAW_SAMPLES, only=ARCHIVED_SAMPLES)
    wrong = [schema for schema in schemas if list(schema.items()) != list(declared.items())]
    differing = {
        f"{name} {dtype}"
        for schema in wrong
        for name, dtype in set(schema.items()) ^ set(declared.items())
    }
    if manifest.columns != archived_columns():
        differing |= {
            f"{column.name} {column.type} {column.unit}"
            for column in set(manifest.columns) ^ set(archived_columns())
        }
    return Finding(
        is_good=not wrong and manifest.columns == archived_columns(),
        actual=len(differing),
        allowed=f"0 columns that differ from the {len(declared)} declared ones, in their order",
        examples=pl.DataFrame({"column": sorted(differing)}, schema={"column": pl.String()}),
    )


def judge_freshness(unarchived: Sequence[date]) -> Finding:
    """Look for days whose archive is missing or older than raw."""
    return Finding(
        is_good=not unarchived,
        is_warning=True,
        actual=len(unarchived),
        allowed="0 days that are over and not archived as raw has them",
        examples=pl.DataFrame({"day": [day.isoformat() for day in unarchived]}),
    )


def record_red(connection: psycopg.Connection, judged: Judged) -> list[date]:
    """Mark the days red in which a blocking rule is broken, and return them. Does not commit."""
    for day in judged.red:
        mark_red(connection, table_of(ARCHIVE_RAW), day_start(day), is_red=True)
    return judged.red


def judge_stored(
    postgres: PostgresResource, store: ArchiveStore, *, days: Sequence[date], now: datetime
) -> Judged:
    """Judge what is stored of `days` (default: the newest archived one), and mark red ones."""
    with postgres.connect() as connection:
        known = raw_days(connection, days[0] if days else date.min, days[-1] if days else date.max)
        archived = [day for day, row in sorted(known.items()) if row.archived_at is not None]
        judged_days = archived if days else archived[-1:]
        unarchived = unarchived_days(connection, now=now)
    manifest_findings: dict[date, Finding] = {}
    schema_findings: dict[date, Finding] = {}
    for day in judged_days:
        manifest = _manifest_of(store, day)
        manifest_findings[day] = judge_manifest(store, day, manifest)
        if manifest is not None and manifest_findings[day].is_good:
            schema_findings[day] = judge_schema(manifest, _schemas_of(store, manifest))
    judged = Judged(
        {
            MATCHES_MANIFEST: manifest_findings,
            HAS_SCHEMA: schema_findings,
            IS_FRESH: {now.astimezone(UTC).date(): judge_freshness(unarchived)},
        }
    )
    with postgres.connect() as connection:
        record_red(connection, judged)
    return judged


def _manifest_of(store: ArchiveStore, day: date) -> Manifest | None:
    """The manifest of a day; None when there is none that can be read."""
    try:
        return read_manifest(store, day)
    except ArchiveDamaged:
        return None


def _schemas_of(store: ArchiveStore, manifest: Manifest) -> list[pl.Schema]:
    """Schemas of a day's first and last file; all were written by one run."""
    ends = {file.name: file for file in (*manifest.files[:1], *manifest.files[-1:])}
    return [
        pl.Schema(pl.read_parquet_schema(io.BytesIO(read_file(store, manifest.day, file))))
        for file in ends.values()
    ]


@multi_asset_check(
    name="archive_raw_samples_checks",
    specs=specs_of(MATCHES_MANIFEST, HAS_SCHEMA, IS_FRESH),
)
def archive_raw_samples_checks(
    context: AssetCheckExecutionContext,
    postgres: PostgresResource,
    archive: ArchiveResource,
    clock: ClockResource,
) -> Iterator[AssetCheckResult]:
    """Read what is archived again: of the days of the run, or of the newest one."""
    with errors_sorted(context):
        days: list[date] = []
        if context.has_partition_key or context.has_partition_key_range:
            window = context.partition_time_window
            days = list(days_between(window.start, window.end))
        judged = judge_stored(postgres, archive.open(), days=days, now=clock.now())
    yield from results_of(judged)
