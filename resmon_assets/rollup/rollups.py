"""The three tables of organization metrics: which there are, and how each is partitioned.

Belongs here: their specifications. What is done with them is in `refresh.py`, `assets.py` and
`checks.py`.
"""

from datetime import timedelta

from dagster import AssetKey

from resmon_assets.frames import ROLLUP_KEY, ROLLUP_ROWS
from resmon_assets.naming import ROLLUP_1DAY, ROLLUP_1HOUR, ROLLUP_5MIN, table_of
from resmon_assets.partitions import (
    closed_day_partitions,
    closed_hour_partitions,
    running_hour_partitions,
)
from resmon_assets.window_runs import BucketAsset
from resmon_assets.windows import WindowTable

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def _table(key: AssetKey, *, width: timedelta, window: timedelta, storage: str) -> WindowTable:
    """The table of one granularity."""
    return WindowTable(
        table_of(key),
        columns=ROLLUP_ROWS,
        key=ROLLUP_KEY,
        width=width,
        window=window,
        storage=storage,
    )


ROLLUPS = (
    BucketAsset(
        key=ROLLUP_5MIN,
        table=_table(ROLLUP_5MIN, width=timedelta(minutes=5), window=_HOUR, storage="week"),
        partitions=running_hour_partitions,
        period="five minutes",
        is_judged=False,
        # The samples are those of the five-minute tier, which tells of them.
        told=(),
    ),
    BucketAsset(
        key=ROLLUP_1HOUR,
        table=_table(ROLLUP_1HOUR, width=_HOUR, window=_HOUR, storage="month"),
        partitions=closed_hour_partitions,
        period="hour",
        is_judged=True,
    ),
    BucketAsset(
        key=ROLLUP_1DAY,
        table=_table(ROLLUP_1DAY, width=_DAY, window=_DAY, storage="year"),
        partitions=closed_day_partitions,
        period="UTC day",
        is_judged=True,
    ),
)
