"""How we know that raw is right: schema, key, range, conservation against coverage, freshness.

Belongs here: the rules, and the checks that apply them to the hour that closed last. They run once
an hour in a job of their own: a collector has no time for them, and an event log no room. Nothing
downstream is stopped: what was measured cannot be measured again.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl
import psycopg
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSpec,
    MetadataValue,
    multi_asset_check,
)

from resmon_assets.frames import RAW_FILE_SYSTEMS as FILE_SYSTEM_COLUMNS
from resmon_assets.frames import RAW_SAMPLES as SAMPLE_COLUMNS
from resmon_assets.frames import Column
from resmon_assets.naming import BATCH_POOL, RAW_FILE_SYSTEMS, RAW_SAMPLES, table_of
from resmon_assets.reporting import Finding, check_result, errors_sorted, instant_text
from resmon_assets.window_checks import judge_schema
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query

HOUR = timedelta(hours=1)
SETTLED_AFTER = timedelta(minutes=5)
"""An hour is judged when it has been over for this long: a collector stays up to three minutes past
its hour, and writes the last of its coverage then."""
LATEST_SAMPLE = timedelta(minutes=3)
"""Six ticks of 30 s; a restart of everything takes less than one minute."""
LATEST_FILE_SYSTEMS = timedelta(minutes=15)
"""Three readings."""
LOST_WARNING_RATIO = 0.001
"""Up to this share of lost samples a person should look; above it something is broken."""
EXAMPLES = 5

SAMPLES = {
    "has_schema": "The table has exactly the declared columns, types and nullability.",
    "has_unique_key": "(server_id, collected_at) is unique in the hour that closed last.",
    "keeps_range": (
        "In the hour that closed last CPU lies in 0 to 100, used is not above total, and all else "
        "is finite and not negative."
    ),
    "keeps_every_sample": (
        "Each instant of the hour that closed last that coverage calls ok has its sample."
    ),
    "is_fresh": f"The newest sample is at most {LATEST_SAMPLE.seconds // 60} minutes old.",
}
FILE_SYSTEMS = {
    "has_schema": "The table has exactly the declared columns, types and nullability.",
    "is_fresh": f"The newest reading is at most {LATEST_FILE_SYSTEMS.seconds // 60} minutes old.",
}

_NAMES = {
    RAW_SAMPLES: "raw_server_resource_metrics",
    RAW_FILE_SYSTEMS: "raw_filesystem_usage",
}
_SPECS = [
    AssetCheckSpec(f"{_NAMES[key]}_{rule}", asset=key, description=description)
    for key, rules in ((RAW_SAMPLES, SAMPLES), (RAW_FILE_SYSTEMS, FILE_SYSTEMS))
    for rule, description in rules.items()
]


# A subset, because a run of one of the two by hand asks for the checks of that one.
@multi_asset_check(name="raw_checks", specs=_SPECS, can_subset=True, pool=BATCH_POOL)
def raw_checks(
    context: AssetCheckExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> Iterator[AssetCheckResult]:
    """All checks of raw in one step, over the hour that closed last."""
    now = clock.now()
    hour = (now - SETTLED_AFTER).replace(minute=0, second=0, microsecond=0) - HOUR
    with errors_sorted(context), postgres.connect() as connection:
        key, conservation = judge_counts(connection, hour)
        samples_fresh, file_systems_fresh = judge_newest(connection, now)
        findings = {
            RAW_SAMPLES: {
                "has_schema": judge_columns(connection, table_of(RAW_SAMPLES), SAMPLE_COLUMNS),
                "has_unique_key": key,
                "keeps_range": judge_values(connection, hour),
                "keeps_every_sample": conservation,
                "is_fresh": samples_fresh,
            },
            RAW_FILE_SYSTEMS: {
                "has_schema": judge_columns(
                    connection, table_of(RAW_FILE_SYSTEMS), FILE_SYSTEM_COLUMNS
                ),
                "is_fresh": file_systems_fresh,
            },
        }
    for asset, found in findings.items():
        for rule, finding in found.items():
            name = f"{_NAMES[asset]}_{rule}"
            if AssetCheckKey(asset, name) not in context.selected_asset_check_keys:
                continue
            result = check_result(asset, name, finding)
            window = {"window": MetadataValue.text(instant_text(hour))}
            yield result._replace(metadata={**result.metadata, **window})


def judge_columns(
    connection: psycopg.Connection, table: str, declared: Sequence[Column]
) -> Finding:
    """Compare a table's columns with those declared in `frames.py`."""
    columns = connection.execute(load_query("window", "read_columns"), {"table": table}).fetchall()
    return judge_schema(columns, declared)


def judge_counts(connection: psycopg.Connection, hour: datetime) -> tuple[Finding, Finding]:
    """Keys that occur twice in an hour; samples that coverage tells of and that are not there."""
    row = connection.execute(
        load_query("raw", "count_against_coverage"), {"start": hour, "end": hour + HOUR}
    ).fetchone()
    stored, twice, lost, untold = row if row is not None else (0, 0, 0, 0)
    key = Finding(is_good=twice == 0, actual=twice, allowed="0 samples whose key occurs before")
    conservation = Finding(
        is_good=lost == 0,
        is_warning=lost <= LOST_WARNING_RATIO * stored,
        actual=lost,
        allowed="0 samples that coverage tells of and that are not stored",
        figures={"samples": stored, "samples_without_coverage": untold},
    )
    return key, conservation


def judge_values(connection: psycopg.Connection, hour: datetime) -> Finding:
    """Look for samples of an hour that hold what cannot be."""
    rows = connection.execute(
        load_query("raw", "judge_samples"),
        {"start": hour, "end": hour + HOUR, "limit": EXAMPLES},
    ).fetchall()
    return Finding(
        is_good=not rows,
        actual=rows[0][2] if rows else 0,
        allowed="0 samples with a value that cannot be",
        examples=pl.DataFrame(
            [row[:2] for row in rows], schema=["server_id", "collected_at"], orient="row"
        ),
    )


def judge_newest(connection: psycopg.Connection, now: datetime) -> tuple[Finding, Finding]:
    """Age of the newest sample, and of the newest reading of file systems."""
    row = connection.execute(load_query("raw", "select_newest_samples"), {"now": now}).fetchone()
    sample, file_systems, active_since = row if row is not None else (None, None, None)
    return (
        _judge_age(sample, LATEST_SAMPLE, active_since=active_since, now=now),
        _judge_age(file_systems, LATEST_FILE_SYSTEMS, active_since=active_since, now=now),
    )


def _judge_age(
    newest: datetime | None, limit: timedelta, *, active_since: datetime | None, now: datetime
) -> Finding:
    """Good when young enough, or when no server has been active for as long as the limit."""
    if active_since is None or now - active_since <= limit:
        allowed = f"any: no server has been active for {limit.total_seconds():.0f} seconds"
        return Finding(is_good=True, actual="not due", allowed=allowed)
    allowed = f"at most {limit.total_seconds():.0f} seconds old"
    if newest is None:
        return Finding(is_good=False, actual="none", allowed=allowed)
    age = (now - newest).total_seconds()
    return Finding(is_good=age <= limit.total_seconds(), actual=age, allowed=allowed)
