"""What every asset reports in the same way: table metadata, check results, errors by their cure.

Belongs here: builders of Dagster's values from plain ones, used by all stages. Knows no stage.

Dagster retries in three places (op policy, run retries, automation). Here the first one is decided:
an error of the database that a rerun may cure asks for a retry of the step; every other error of
ours becomes a failure that is not retried anywhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import SystemRandom

import adbc_driver_manager
import polars as pl
import psycopg
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    Failure,
    MetadataValue,
    RetryRequested,
    TableColumn,
    TableColumnConstraints,
    TableSchema,
)

from resmon_assets.frames import POSTGRES_TYPES, Column
from resmon_assets.naming import table_of
from resmon_resources.errors import DatabaseUnreachable, ResmonError

MAXIMUM_RETRIES = 3
"""Attempts after the first: 2, 4 and 8 s outlast a restart of the embedded server (3 s)."""

FIRST_PAUSE_SECONDS = 2.0
"""Before the first retry; doubles with each."""

MAXIMUM_EXAMPLES = 5
"""Rows shown by a red check: enough to recognise the pattern, small in the event log."""


_STATISTIC_WORDS = {
    "avg": "mean",
    "min": "lowest value",
    "max": "highest value",
    "p50": "median",
    "p95": "95th percentile",
    "p99": "99th percentile",
    "last": "last value",
}
_MEANINGS = {
    "bucket_start": "start of the bucket, UTC; it is half-open",
    "collected_at": "scheduled instant of the sample, UTC",
    "server_id": "the server; names are in resmon.servers",
    "organization_id": "the organization, of a server the one that owned it then",
    "sample_count": "those that came",
    "expected_count": "those that were due",
    "measured_count": "those with a value",
    "clock_skew_seconds": "clock of the server minus that of the collector",
    "commit_sequence": "number of the commit that stored the row",
    "started_at": "when it began, UTC",
    "ended_at": "when it was over, UTC; null: it goes on",
}
"""Meanings of columns that several tables share."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found out about one property.

    Attributes:
        is_good: whether the property holds.
        actual: the figure that was judged.
        allowed: what would have been good, in words.
        is_warning: a person should look, but nothing downstream would be wrong.
        figures: further numbers that plot well.
        examples: some of the rows that break the property.
    """

    is_good: bool
    actual: float | int | str
    allowed: str
    is_warning: bool = False
    figures: dict[str, float] = field(default_factory=dict)
    examples: pl.DataFrame = field(default_factory=pl.DataFrame)


def check_result(key: AssetKey, name: str, finding: Finding) -> AssetCheckResult:
    """Result of the check `name` of `key`, with the actual and the allowed value as metadata."""
    metadata: dict[str, MetadataValue] = {
        "actual": _value(finding.actual),
        "allowed": MetadataValue.text(finding.allowed),
        **{figure: _value(value) for figure, value in finding.figures.items()},
    }
    if finding.examples.height:
        metadata["examples"] = MetadataValue.json(
            [
                {column: str(value) for column, value in row.items()}
                for row in finding.examples.head(MAXIMUM_EXAMPLES).iter_rows(named=True)
            ]
        )
    return AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=finding.is_good,
        severity=AssetCheckSeverity.WARN if finding.is_warning else AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def table_metadata(key: AssetKey, columns: tuple[Column, ...]) -> dict[str, object]:
    """Metadata of an asset that is a table: its name and its columns with types and units."""
    return {
        "dagster/table_name": table_of(key),
        "dagster/column_schema": TableSchema(
            columns=[
                TableColumn(
                    name=column.name,
                    type=POSTGRES_TYPES[column.dtype],
                    description=description_of(column),
                    constraints=TableColumnConstraints(nullable=column.is_nullable),
                )
                for column in columns
            ]
        ),
    }


def description_of(column: Column) -> str | None:
    """What a person reads of a column in Dagster's UI: statistic or meaning, and unit.

    Names of one table only speak for themselves, or have their comment in the view of schema
    resmon; null: nothing is known beyond the name.
    """
    statistic = _STATISTIC_WORDS.get(column.name.rpartition("_")[2])
    meaning = _MEANINGS.get(column.name)
    if meaning is None and statistic is not None and column.unit:
        return f"{column.unit}; {statistic} of the bucket"
    return "; ".join(text for text in (column.unit, meaning) if text) or None


@contextmanager
def errors_sorted(context: AssetExecutionContext | AssetCheckExecutionContext) -> Iterator[None]:
    """Turn errors into what Dagster should do about them.

    Raises:
        RetryRequested: the database was away, restarted, full or in conflict; a rerun may cure it.
        Failure: another error of ours or of PostgreSQL, with its text; not to be retried.
    """
    try:
        yield
    except (psycopg.Error, ResmonError) as error:
        if _is_transient(error):
            context.log.warning("The database failed, retrying soon: %s", error)
            pause = (
                FIRST_PAUSE_SECONDS * 2**context.retry_number * SystemRandom().uniform(0.75, 1.25)
            )
            raise RetryRequested(max_retries=MAXIMUM_RETRIES, seconds_to_wait=pause) from error
        raise Failure(description=_description(error), allow_retries=False) from error


def instant_text(instant: datetime) -> str:
    """An instant for a person: 2026-03-01 05:00 UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _is_transient(error: Exception) -> bool:
    """Whether a rerun may help: the server was away, restarted, full, or in conflict."""
    lost = (psycopg.OperationalError, adbc_driver_manager.OperationalError, DatabaseUnreachable)
    return isinstance(error, lost) or isinstance(error.__cause__, lost)


def _description(error: Exception) -> str:
    """Our errors explain themselves; PostgreSQL's get a sentence around them."""
    if isinstance(error, ResmonError):
        return str(error)
    return (
        f"PostgreSQL refused a statement, and would again: {error}. If the schema is older than "
        "this Resmon, run: resmon db migrate"
    )


def _value(value: float | int | str) -> MetadataValue:
    """Metadata of the kind that the UI plots, if it is a number."""
    if isinstance(value, bool):
        return MetadataValue.bool(value)
    if isinstance(value, int):
        return MetadataValue.int(value)
    return MetadataValue.float(value) if isinstance(value, float) else MetadataValue.text(value)
