"""The asset of alerts: when it is decided who is told, when messages are sent, what is reported.

Belongs here: the asset, its report and its checks. Who is told is decided in `planning.py`, what a
message says in `messages.py`; values are judged where they are made, not here.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    MaterializeResult,
    MetadataValue,
    asset,
    multi_asset_check,
)
from psycopg.rows import class_row

from resmon_assets.alert.looking import wait_until_due
from resmon_assets.alert.messages import composer
from resmon_assets.alert.planner import Planned, plan_due
from resmon_assets.naming import (
    ALERTS,
    ANOMALY_REPORTS,
    ARCHIVE_RAW,
    CAPACITY_FORECASTS,
    DEGRADATION_REPORTS,
    OWNER,
    PRUNED,
    RAW_SAMPLES,
    RESOURCE_USAGE,
)
from resmon_assets.reporting import Finding, check_result, errors_sorted
from resmon_resources.alert_records import SEVERITIES
from resmon_resources.clock import ClockResource
from resmon_resources.notifier import Delivered, deliver_due
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.settings import load_settings

SENDING_SECONDS = 60.0
"""After it no other message is begun in a run; what is left goes with the next."""

LONGEST_WAIT = timedelta(minutes=15)
"""A person should look when a message has waited for longer: its service does not answer."""

DELIVERS_SOON = "alert_alerts_delivers_soon"
SETTLES_ALL = "alert_alerts_settles_all"
HAS_ONE_PER_SUBJECT = "alert_alerts_has_one_per_subject"

_DESCRIPTIONS = {
    DELIVERS_SOON: f"No message waits for longer than {LONGEST_WAIT / timedelta(minutes=1):g} "
    "minutes for its service to take it.",
    SETTLES_ALL: "Of every change that was due it was decided who is told, or why nobody is.",
    HAS_ONE_PER_SUBJECT: (
        "A rule has one open alert for a subject at most, and what it knows of the subject says "
        "that it is open."
    ),
}

Metadata = dict[str, MetadataValue]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the checks judge.

    Attributes:
        oldest_wait_seconds: for how long the oldest message has waited; 0 when none does.
        late_count: messages (count) that have waited for too long.
        unsettled_count: changes (count) that were due and are not decided.
        doubled_count: subjects (count) with several open alerts of a rule.
        stray_count: open alerts (count) that no condition knows of.
    """

    oldest_wait_seconds: float
    late_count: int
    unsettled_count: int
    doubled_count: int
    stray_count: int


@asset(
    key=ALERTS,
    group_name="alert",
    owners=[OWNER],
    kinds={"postgres"},
    description=(
        "Who is told of which alerts: decided from what is open and what each route was told, and "
        "sent. Alerts themselves are opened where values are made: thresholds in the transaction "
        "of the samples, the rest in that of the tables above, supervision by alerts_sensor."
    ),
    deps=[
        *(RAW_SAMPLES, RESOURCE_USAGE, ANOMALY_REPORTS, DEGRADATION_REPORTS),
        *(CAPACITY_FORECASTS, ARCHIVE_RAW, PRUNED),
    ],
)
def alert_alerts(
    context: AssetExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> MaterializeResult[None]:
    """Decide and send."""
    begun = time.monotonic()
    settings = load_settings()
    templates = settings.templates_path
    compose = composer(
        ui_url=settings.ui_url, templates_path=None if templates is None else str(templates)
    )
    with errors_sorted(context), postgres.connect(autocommit=True) as connection:
        early = wait_until_due(connection, now=clock.now())
        time.sleep(early.total_seconds())
        planned = plan_due(connection, now=clock.now())
        delivered = deliver_due(
            connection,
            now=clock.now(),
            limit_seconds=SENDING_SECONDS,
            compose=compose,
        )
    for problem in delivered.problems:
        context.log.warning("%s", problem)
    return MaterializeResult(metadata=report(planned, delivered, seconds=time.monotonic() - begun))


@multi_asset_check(
    name="alert_alerts_checks",
    specs=[
        AssetCheckSpec(name, asset=ALERTS, description=description)
        for name, description in _DESCRIPTIONS.items()
    ],
)
def alert_checks(
    context: AssetCheckExecutionContext, postgres: PostgresResource, clock: ClockResource
) -> Iterator[AssetCheckResult]:
    """Look at what waits and what is open, whether runs came or not."""
    with errors_sorted(context), postgres.connect() as connection:
        stored = read_stored(connection, now=clock.now())
    yield from judge(stored)


def read_stored(connection: psycopg.Connection, *, now: datetime) -> Stored:
    """What the checks judge."""
    values = {"now": now, "longest_wait": LONGEST_WAIT}
    with connection.cursor(row_factory=class_row(Stored)) as cursor:
        cursor.execute(load_query("alert", "judge_alerts"), values)
        return cursor.fetchall()[0]


def report(planned: Planned, delivered: Delivered, *, seconds: float) -> Metadata:
    """Metadata of a run; figures that plot, and why nobody was told of what."""
    counts: Mapping[str, int] = {
        **{f"open_{name}": planned.open_counts.get(name, 0) for name in SEVERITIES},
        "changes_settled": planned.settled_count,
        "announced": sum(planned.told_counts.values()),
        "delivered": delivered.sent,
        "failed": delivered.failed,
        "dead": delivered.dead,
        "waiting": delivered.waiting,
        "quiet": sum(planned.quiet_counts.values()),
    }
    metadata: Metadata = {name: MetadataValue.int(count) for name, count in counts.items()}
    metadata["seconds"] = MetadataValue.float(round(seconds, 3))
    if planned.quiet_counts:
        metadata["quiet_by_reason"] = MetadataValue.json(dict(planned.quiet_counts))
    return metadata


def judge(stored: Stored) -> list[AssetCheckResult]:
    """What is stored, against what should be."""
    findings = {
        DELIVERS_SOON: Finding(
            is_good=stored.late_count == 0,
            is_warning=True,
            actual=stored.late_count,
            allowed=f"0 messages that wait for longer than {LONGEST_WAIT}",
            figures={"oldest_wait_seconds": stored.oldest_wait_seconds},
        ),
        SETTLES_ALL: Finding(
            is_good=stored.unsettled_count == 0,
            actual=stored.unsettled_count,
            allowed="0 changes that were due a minute ago and are not decided",
        ),
        HAS_ONE_PER_SUBJECT: Finding(
            is_good=stored.doubled_count + stored.stray_count == 0,
            actual=stored.doubled_count,
            allowed="0 subjects with several open alerts of a rule, 0 alerts that no rule knows of",
            figures={"alerts_without_condition": stored.stray_count},
        ),
    }
    return [check_result(ALERTS, name, finding) for name, finding in findings.items()]
