"""server_metrics before and after the tier is computed: the newest buckets are the same rows."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from resmon_assets.raw.schedule import instant_at_or_before
from resmon_assets.tier.refresh import refresh_window
from resmon_assets.tier.tiers import TIERS
from resmon_assets.window_runs import BucketAsset
from tests.integration.tier.fleet import HOUR, LONG_AGO, Fleet

pytestmark = pytest.mark.integration

DAY = HOUR.replace(hour=0)
EACH_TIER = pytest.mark.parametrize("asset", TIERS, ids=[asset.period for asset in TIERS])


def granularity_of(asset: BucketAsset) -> str:
    """As consumers name it."""
    return asset.table.name.removeprefix("tier.metrics_")


def read(
    fleet: Fleet,
    servers: list[int],
    start: datetime,
    end: datetime,
    *,
    granularity: str,
    now: datetime,
    columns: str = "*",
    live: bool = True,
) -> list[tuple[Any, ...]]:
    """Rows of server_metrics by key."""
    return fleet.execute(
        f"select {columns} from resmon.server_metrics(%s, %s, %s, %s, p_live => %s, p_now => %s) "
        "order by server_id, bucket_start, organization_id",
        (servers, start, end, granularity, live, now),
    )


def awkward_hour(fleet: Fleet) -> dict[str, int]:
    """Servers by what is awkward of them, each with what samples it has from 05:00 to 06:00."""
    alpha, beta = fleet.organization("alpha"), fleet.organization("beta")
    names = ("plain", "gaps", "blind", "moved", "fast", "late", "silent", "paused", "odd")
    servers = {name: fleet.server(name, alpha) for name in names}
    end = HOUR + timedelta(hours=1)
    fleet.sample(servers["plain"], alpha, HOUR, end)
    fleet.sample(servers["gaps"], alpha, HOUR, HOUR + timedelta(minutes=7))
    fleet.sample(servers["gaps"], alpha, HOUR + timedelta(minutes=21), end)
    fleet.sample(servers["blind"], alpha, HOUR, end, cpu_pct=None, elapsed_ms=None)
    move = HOUR + timedelta(minutes=33, seconds=13)
    fleet.sample(servers["moved"], alpha, HOUR, move)
    fleet.change(servers["moved"], move, organization_id=beta)
    fleet.sample(servers["moved"], beta, move, end)
    fleet.execute(
        "update inventory.servers set interval_seconds = 5, changed_at = %s where server_id = %s",
        (HOUR - timedelta(days=1), servers["fast"]),
    )
    fleet.sample(servers["late"], alpha, HOUR, end)
    fleet.change(servers["late"], HOUR + timedelta(minutes=50), state="paused")
    fleet.change(servers["paused"], LONG_AGO + timedelta(days=1), state="paused")
    fleet.sample(servers["odd"], alpha, HOUR, end, elapsed_ms=0, cpu_pct=-0.0)
    # The last attempt tells the phase of a server of which there is no sample.
    for name, interval_seconds in (("plain", 30), ("fast", 5), ("silent", 30)):
        instant = instant_at_or_before(
            HOUR, server_id=servers[name], interval_seconds=interval_seconds
        )
        fleet.execute(
            "insert into raw.server_status (server_id, last_attempt_at) values (%s, %s)",
            (servers[name], instant),
        )
    return servers


@EACH_TIER
def test_what_was_live_is_the_same_once_it_is_computed(fleet: Fleet, asset: BucketAsset) -> None:
    """Would let back: a line of a chart that jumps five minutes later, because another percentile,
    another rounding, another share of an organization or another count was shown.
    """
    servers = awkward_hour(fleet)
    ids = list(servers.values())
    start = DAY if asset.table.window > timedelta(hours=1) else HOUR
    end = start + asset.table.window
    now = end + timedelta(minutes=1)
    granularity = granularity_of(asset)
    live = read(fleet, ids, start, end, granularity=granularity, now=now)
    refresh_window(fleet.postgres, asset.table, start=start, now=now)
    computed = read(fleet, ids, start, end, granularity=granularity, now=now)
    assert live
    assert [row[-1] for row in live] == [True] * len(live)
    assert [row[-1] for row in computed] == [False] * len(computed)
    assert [row[:-1] for row in live] == [row[:-1] for row in computed]


def test_computed_buckets_are_followed_by_live_ones_up_to_now(fleet: Fleet) -> None:
    """Would let back: a bucket twice, a hole where the tier ends, or the future as a gap."""
    server = awkward_hour(fleet)["plain"]
    tier = next(asset for asset in TIERS if granularity_of(asset) == "5min")
    at = HOUR + timedelta(minutes=32)
    refresh_window(fleet.postgres, tier.table, start=HOUR, now=at)
    # A minute more has passed: 05:30 fills.
    fleet.execute(
        "delete from raw.server_resource_metrics where collected_at >= %s",
        (at + timedelta(minutes=1),),
    )
    found = read(
        fleet,
        [server],
        HOUR + timedelta(minutes=17, seconds=3),
        HOUR + timedelta(hours=2),
        granularity="5min",
        now=at + timedelta(minutes=1),
        columns="bucket_start - '2026-03-01T05:00Z', sample_count, expected_count, is_live",
    )
    assert found == [
        (timedelta(minutes=20), 10, 10, False),
        (timedelta(minutes=25), 10, 10, False),
        (timedelta(minutes=30), 6, 6, True),
    ]


def test_a_tail_that_is_not_wanted_is_not_there(fleet: Fleet) -> None:
    """Would let back: a report that asks for final figures and gets a bucket that still fills."""
    server = awkward_hour(fleet)["plain"]
    end = HOUR + timedelta(hours=1)
    assert not read(fleet, [server], HOUR, end, granularity="5min", now=end, live=False)
    assert read(fleet, [server], HOUR, end, granularity="5min", now=end)


def test_another_server_s_samples_stay_out_of_the_tail(fleet: Fleet) -> None:
    """Would let back: a tail that is computed for the whole fleet."""
    servers = awkward_hour(fleet)
    end = HOUR + timedelta(hours=1)
    found = read(
        fleet, [servers["gaps"]], HOUR, end, granularity="1min", now=end, columns="server_id"
    )
    assert set(found) == {(servers["gaps"],)}
