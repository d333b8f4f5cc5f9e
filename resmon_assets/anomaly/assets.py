"""Anomaly reports as an asset: when hours are judged and what is reported.

Belongs here: the asset and its report. How an hour is judged and stored is in `refresh.py`.
"""

from collections.abc import Mapping, Sequence

from dagster import (
    AssetDep,
    AssetExecutionContext,
    Config,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionMapping,
)
from pydantic import Field

from resmon_assets.anomaly.picture import hour_picture
from resmon_assets.anomaly.refresh import REPORTS, Carried, refresh_reports
from resmon_assets.naming import ANOMALY_REPORTS, TIER_5MIN
from resmon_assets.partitions import running_hour_partitions
from resmon_assets.window_assets import run_windows, window_asset
from resmon_assets.window_runs import (
    Metadata,
    Refreshed,
    WindowAsset,
    last_totals,
    standard_metadata,
)
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource

REPORTS_ASSET = WindowAsset(key=ANOMALY_REPORTS, table=REPORTS, partitions=running_hour_partitions)

AUTOMATIC_TAGS = ("dagster/schedule_name", "dagster/sensor_name", "resmon/catch_up")
"""A run with one of these was asked for by no person; which of its hours a person wishes is in the
ledger."""


MAXIMUM_HOURS_OF_PICTURE = 2
"""A run at the turn of the hour has the hour that is over and the one that begins."""


class AnomalyReportsConfig(Config):
    """Which detectors judge.

    Attributes:
        has_ratio: the plain rule too; its episodes stand beside those of the default detector.
    """

    has_ratio: bool = Field(
        default=False,
        description=(
            "Judge by the plain rule too: more than 50 % away from the mean of the hour before. "
            "Expect some 37 false alarms per server and day."
        ),
    )


@window_asset(
    REPORTS_ASSET,
    sources=[
        TIER_5MIN,
        AssetDep(
            ANOMALY_REPORTS,
            partition_mapping=TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
        ),
    ],
    description=(
        "Episodes in which a metric of a server, or several together, behaved unlike themselves: "
        "when, how far, how urgent, and why in words. Judged five minutes by five minutes from "
        "what was known before; a verdict is final, and computing an hour again writes another "
        "revision where the verdict differs."
    ),
)
def anomaly_anomaly_reports(
    context: AssetExecutionContext,
    config: AnomalyReportsConfig,
    postgres: PostgresResource,
    clock: ClockResource,
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parameter here
    """Episodes of unusual behaviour, per hour."""
    now, carried = clock.now(), Carried()
    return run_windows(
        context,
        postgres,
        REPORTS_ASSET,
        lambda start: refresh_reports(
            postgres,
            start=start,
            now=now,
            is_by_person=is_by_person(context.run.tags),
            has_ratio=config.has_ratio,
            carried=carried,
            log=context.log.info,
        ),
        report=report,
        picture=lambda done: picture(postgres, done),
    )


def is_by_person(tags: Mapping[str, str]) -> bool:
    """Whether a person started the run with these tags, by hand or as a backfill."""
    return not any(tag in tags for tag in AUTOMATIC_TAGS)


def report(done: Sequence[Refreshed]) -> Metadata:
    """Metadata of a run: the standard figures, and what is open after its last hour."""
    counts = {name: MetadataValue.int(count) for name, count in last_totals(done).items()}
    return standard_metadata(done) | counts


def picture(postgres: PostgresResource, done: Sequence[Refreshed]) -> Metadata:
    """The most urgent episodes of an hour that this run has closed.

    None of many hours at once, and none in five-minute runs but those at the turn of the hour.
    """
    closed = [d.outcome for d in done if d.outcome.is_complete and d.outcome.buckets_computed]
    if not closed or len(done) > MAXIMUM_HOURS_OF_PICTURE:
        return {}
    markdown = hour_picture(postgres, start=max(outcome.start for outcome in closed))
    return {"urgent": MetadataValue.md(markdown)} if markdown is not None else {}
