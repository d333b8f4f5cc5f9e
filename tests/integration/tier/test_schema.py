"""frames.py against the migrated database: the two must name the same columns in the same order."""

import pytest

from resmon_assets.frames import (
    FILE_SYSTEM_DAYS,
    POSTGRES_TYPES,
    RAW_FILE_SYSTEMS,
    RAW_SAMPLES,
    TIER_ROWS,
    Column,
)
from resmon_assets.tier.tiers import TIERS
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("table", "declared"),
    [
        ("raw.server_resource_metrics", RAW_SAMPLES),
        ("raw.filesystem_usage", RAW_FILE_SYSTEMS),
        *((asset.table.name, TIER_ROWS) for asset in TIERS),
        ("tier.filesystem_1day", FILE_SYSTEM_DAYS),
    ],
)
def test_declared_columns_are_those_of_the_table(
    postgres: PostgresResource, table: str, declared: tuple[Column, ...]
) -> None:
    """A migration without its change in frames.py would fail at night, in a run."""
    with postgres.connect() as connection:
        rows = connection.execute(load_query("window", "read_columns"), {"table": table}).fetchall()
    assert rows == [(c.name, POSTGRES_TYPES[c.dtype], c.is_nullable) for c in declared]
