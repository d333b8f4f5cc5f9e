"""Partitions of the graph: UTC hours and UTC days.

Belongs here: partition definitions and the translation between keys and windows. See
docs/decisions/0001-house.md for who has which `end_offset`.
"""

from datetime import UTC, datetime

from dagster import DailyPartitionsDefinition, HourlyPartitionsDefinition

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Nothing is collected before the first release; Dagster advises at most 100,000 partitions per
asset."""

HOUR_FORMAT = "%Y-%m-%d-%H:%M"

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
