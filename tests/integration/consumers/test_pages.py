"""server_metrics_page: nothing twice and nothing lost, whatever happens between two pages."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from tests.integration.consumers.house import MOVED, House
from tests.integration.tier.fleet import Fleet

pytestmark = pytest.mark.integration

HOUR = datetime(2026, 3, 1, 5, tzinfo=UTC)
END = HOUR + timedelta(hours=1)
FIVE_MINUTES = next(asset.table for asset in TIERS if asset.table.name == "tier.metrics_5min")
Row = tuple[Any, ...]
Read = Callable[[str, Any], list[Row]]


def pages(
    read: Read, servers: list[int], start: datetime, end: datetime, granularity: str, *, limit: int
) -> Iterator[list[Row]]:
    """Pages until one is not full; of each row the key and the CPU."""
    after = None
    while True:
        page = read(
            "select bucket_start, server_id, organization_id, cpu_pct_avg, page_key "
            "from resmon.server_metrics_page(%s, %s, %s, %s, %s, %s)",
            (servers, start, end, granularity, after, limit),
        )
        yield page
        if len(page) < limit:
            return
        after = page[-1][4]


@pytest.mark.parametrize("granularity", ["raw", "5min", "1hour", "1day"])
@pytest.mark.parametrize("limit", [7, 1000, 100_000])
def test_pages_together_are_the_range_in_order(house: House, granularity: str, limit: int) -> None:
    """Would let back: a row at the border of two pages, of two slices or of two owners that is
    there twice or not at all.
    """
    servers = [1, 2, MOVED]
    days = {"raw": 0.02 if limit == 7 else 2, "5min": 0.2 if limit == 7 else 9}
    span = timedelta(days=days.get(granularity, 40))
    start, end = house.now - span, house.now - timedelta(minutes=1)
    found = [
        row
        for page in pages(house.rows, servers, start, end, granularity, limit=limit)
        for row in page
    ]
    source = (
        "metric_aggregations where granularity = %(granularity)s and bucket_start"
        if granularity != "raw"
        else "server_resource_metrics where collected_at"
    )
    at = "bucket_start" if granularity != "raw" else "collected_at"
    expected = house.rows(
        f"select {at}, server_id, organization_id from resmon.{source} >= %(start)s and {at} < "
        f"%(end)s and server_id = any(%(servers)s) order by 1, 2, 3",
        {"granularity": granularity, "start": start, "end": end, "servers": servers},
    )
    assert len(expected) > 30
    assert [row[:3] for row in found] == expected


def test_what_was_there_comes_once_while_everything_changes(fleet: Fleet) -> None:
    """Would let back: pages by offset, in which a row that comes in between moves all others.

    Between the pages servers move to another organization, late samples come, buckets are computed
    again, a server is added with rows of its own and the newest buckets are written.
    """
    alpha, beta = fleet.organization("alpha"), fleet.organization("beta")
    servers = [fleet.server(f"web{n}", alpha) for n in range(4)]
    for server in servers:
        fleet.sample(server, alpha, HOUR, HOUR + timedelta(minutes=50))
    refresh_window(fleet.postgres, FIVE_MINUTES, start=HOUR, now=HOUR + timedelta(minutes=50))
    before = {
        row[:3]
        for page in pages(fleet.execute, servers, HOUR, END, "5min", limit=9)
        for row in page
    }
    assert len(before) == 40

    late = fleet.server("late", alpha)

    def insert() -> None:
        fleet.sample(late, alpha, HOUR, END)

    def move() -> None:
        fleet.change(servers[0], HOUR + timedelta(minutes=22), organization_id=beta)
        fleet.execute(
            "update raw.server_resource_metrics set organization_id = %s "
            "where server_id = %s and collected_at >= %s",
            (beta, servers[0], HOUR + timedelta(minutes=47)),
        )
        fleet.execute("select ops.bump_raw_hour(%s, 0)", (HOUR,))

    def recompute() -> None:
        refresh_window(fleet.postgres, FIVE_MINUTES, start=HOUR, now=END)

    def arrive() -> None:
        for server in servers[1:]:
            fleet.sample(server, alpha, HOUR + timedelta(minutes=50), END)

    found: list[Row] = []
    events = iter((insert, recompute, move, arrive, recompute))
    for page in pages(fleet.execute, [*servers, late], HOUR, END, "5min", limit=9):
        found += page
        next(events, lambda: None)()
    keys = [row[:3] for row in found]
    assert next(events, None) is None, "every event took place between two pages"
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys)), "twice"
    lost = before - set(keys)
    # The rows of the moved server after its move are rows of its new owner now.
    assert {key for key in lost if key[1] != servers[0]} == set()
    assert all((at, server, beta) in keys for at, server, _ in lost)


def test_a_key_does_not_depend_on_the_session(house: House) -> None:
    """Would let back: a key from a session in Berlin that a session in UTC reads an hour off."""
    query = "select page_key from resmon.server_metrics_page(array[1], %s, %s, '1hour', null, 1)"
    values = (house.now - timedelta(days=2), house.now)
    expected = house.rows(query, values)
    try:
        for setting in ("timezone = 'Asia/Kathmandu'", "datestyle = 'SQL, DMY'"):
            house.connection.execute(f"set {setting}".encode())
            assert house.rows(query, values) == expected
    finally:
        house.connection.execute("set timezone = 'UTC'")
        house.connection.execute("reset datestyle")


def test_a_long_empty_stretch_does_not_end_the_pages(fleet: Fleet) -> None:
    """Would let back: a page that is empty because its slice of time was."""
    organization = fleet.organization("acme")
    server = fleet.server("web", organization)
    fleet.execute(
        "select ops.ensure_partitions('tier.metrics_1min', 'day', %s, %s)",
        (HOUR - timedelta(days=30), END),
    )
    for at in (HOUR - timedelta(days=29), HOUR):
        fleet.execute(
            "insert into tier.metrics_1min (bucket_start, server_id, organization_id, "
            "sample_count, expected_count) values (%s, %s, %s, 0, 2)",
            (at, server, organization),
        )
    found = list(pages(fleet.execute, [server], HOUR - timedelta(days=30), END, "1min", limit=1))
    assert [len(page) for page in found] == [1, 1, 0]
