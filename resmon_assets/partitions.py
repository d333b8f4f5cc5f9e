"""Partitions of the graph: UTC hours and UTC days.

Belongs here: partition definitions and the translation between keys and windows. See
docs/decisions/0001-house.md for who has which `end_offset`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from dagster import DailyPartitionsDefinition, HourlyPartitionsDefinition

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Nothing is collected before the first release; Dagster advises at most 100,000 partitions per
asset."""

HOUR_FORMAT = "%Y-%m-%d-%H:%M"
DAY_FORMAT = "%Y-%m-%d"

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
"""Tags of runs: of one partition, and of a range of them (both ends inclusive)."""

raw_hour_partitions = HourlyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=2)
"""The running hour and the coming one: a collector is requested before its hour begins."""

running_hour_partitions = HourlyPartitionsDefinition(
    start_date=FIRST_DAY, timezone="UTC", end_offset=1
)
"""Closed hours and the running one, for tiers that are refreshed while their hour runs."""

closed_hour_partitions = HourlyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC")
closed_day_partitions = DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC")


def hour_key(hour: datetime) -> str:
    """Partition key of the UTC hour that starts at `hour` (aware)."""
    return hour.astimezone(UTC).strftime(HOUR_FORMAT)


def window_of_key(key: str) -> tuple[datetime, datetime]:
    """Half-open window of a partition key, of an hour or of a day.

    Raises:
        ValueError: it is neither.
    """
    try:
        start = datetime.strptime(key, HOUR_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        start = datetime.strptime(key, DAY_FORMAT).replace(tzinfo=UTC)
        return start, start + timedelta(days=1)
    return start, start + timedelta(hours=1)


def window_of_tags(tags: Mapping[str, str]) -> tuple[datetime, datetime] | None:
    """Half-open UTC range of the partitions that a run's tags name; None when they name none."""
    first = tags.get(RANGE_START_TAG) or tags.get(PARTITION_TAG)
    last = tags.get(RANGE_END_TAG) or tags.get(PARTITION_TAG)
    if first is None or last is None:
        return None
    try:
        return window_of_key(first)[0], window_of_key(last)[1]
    except ValueError:
        return None
