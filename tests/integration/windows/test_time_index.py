"""Tables of windows in the migrated database: each can be read by time."""

import pytest

from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.rollup.usage_window import USAGE
from resmon_assets.tier.tiers import TIERS
from resmon_resources.postgres import PostgresResource

pytestmark = pytest.mark.integration

TABLES = [asset.table.name for asset in (*TIERS, *ROLLUPS)] + [USAGE.name]


def test_window_is_found_without_a_scan_of_its_partition(postgres: PostgresResource) -> None:
    """Storing an hour would read a month of all servers, for the keys begin with the server."""
    with postgres.connect() as connection:
        rows = connection.execute(
            """select i.indrelid::regclass::text
            from pg_index as i
            join pg_class as c on c.oid = i.indexrelid
            join pg_am as m on m.oid = c.relam and m.amname = 'brin'
            join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where a.attname = 'bucket_start'"""
        ).fetchall()
    assert set(TABLES) <= {table for (table,) in rows}
