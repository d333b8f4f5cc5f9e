"""The plan of a demo fleet and its samples: the same every time, and with what was planted."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from resmon_assets.demo.plan import KEPT_APART, Mount, Plan, check_request, plan_fleet
from resmon_assets.demo.samples import DayOfSamples, Identity, samples_of_day
from resmon_assets.demo.signals import reached_on_day, signals_of
from resmon_assets.frames import RAW_FILE_SYSTEMS, RAW_SAMPLES, schema_of
from resmon_resources.errors import ConfigurationInvalid

END = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
GIB = 1 << 30


def planned(*, servers: int = 20, days: int = 60, seed: int = 1) -> Plan:
    return plan_fleet(servers=servers, days=days, seed=seed, end=END)


def made(plan: Plan, day: int, *, first_id: int = 101) -> DayOfSamples:
    identities = [Identity(first_id + k, 7) for k in range(len(plan.servers))]
    signals = [signals_of(plan, k) for k in range(len(plan.servers))]
    return samples_of_day(plan, signals, identities, day=day)


@pytest.mark.parametrize(
    ("servers", "days", "seed"),
    [(4, 60, 1), (501, 60, 1), (20, 13, 1), (20, 366, 1), (20, 60, -1), (20, 60, 2**31)],
)
def test_what_cannot_be_made_is_refused(servers: int, days: int, seed: int) -> None:
    """Would let back: a fleet in which nothing can be planted, or a seed that cannot be stored."""
    with pytest.raises(ConfigurationInvalid, match="give"):
        check_request(servers=servers, days=days, seed=seed)


def test_a_seed_gives_the_same_fleet_and_another_one_another() -> None:
    """Would let back: a history that cannot be gone on with after an interruption."""
    assert planned() == planned()
    assert planned() != planned(seed=2)
    plan = planned(servers=5, days=14)
    first, second = made(plan, 3), made(plan, 3)
    assert first.samples.equals(second.samples)
    assert first.file_systems.equals(second.file_systems)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("servers", "days"), [(5, 14), (20, 60), (50, 30)])
def test_every_fleet_has_something_to_find(servers: int, days: int, seed: int) -> None:
    """Would let back: a seed by which nothing is planted, or two incidents in one."""
    plan = planned(servers=servers, days=days, seed=seed)
    assert len({server.name for server in plan.servers}) == servers
    assert any(server.drifts for server in plan.servers)
    assert any(mount.growth for server in plan.servers for mount in server.mounts)
    assert sum(len(server.incidents) for server in plan.servers) >= 3
    for server in plan.servers:
        for earlier, later in zip(server.incidents, server.incidents[1:], strict=False):
            assert later.started_at > earlier.ended_at + KEPT_APART
        for incident in server.incidents:
            assert plan.start + days / 2 * DAY - DAY <= incident.started_at
            assert incident.ended_at < plan.end


def test_a_day_has_the_rows_that_a_collector_stores() -> None:
    """Would let back: instants that are not the server's, or values that no probe measures."""
    plan = planned(servers=6, days=14)
    day = made(plan, 2)
    names = tuple(c.name for c in RAW_SAMPLES if c.name != "commit_sequence")
    assert day.samples.schema == schema_of(RAW_SAMPLES, only=names)
    assert day.file_systems.schema == schema_of(RAW_FILE_SYSTEMS)
    assert day.samples.height == 6 * 2880
    start = plan.start + 2 * DAY
    for rows in (day.samples, day.file_systems):
        assert rows["collected_at"].min() >= start  # type: ignore[operator]  # it is an instant
        assert rows["collected_at"].max() < start + DAY  # type: ignore[operator]  # the same
    used = day.samples.filter(
        pl.col("cpu_pct").is_between(0, 100)
        & (pl.col("memory_used_bytes") < pl.col("memory_total_bytes"))
        & (pl.col("disk_used_bytes") <= pl.col("disk_total_bytes"))
        & (pl.col("network_in_bytes") >= 0)
    )
    assert used.height == day.samples.height
    assert day.coverage["instant_count"].sum() == day.samples.height


def test_a_host_that_is_down_has_no_samples_and_boots() -> None:
    """Would let back: an outage with samples in it, or counters that outlive a boot."""
    plan = planned(seed=1)
    number, incident = next(
        (k, i)
        for k, server in enumerate(plan.servers)
        for i in server.incidents
        if i.kind == "host_down"
    )
    day = made(plan, (incident.started_at - plan.start) // DAY)
    mine = day.samples.filter(pl.col("server_id") == 101 + number).sort("collected_at")
    within = pl.col("collected_at").is_between(
        incident.started_at, incident.ended_at, closed="left"
    )
    assert mine.filter(within).is_empty()
    after = mine.filter(pl.col("collected_at") >= incident.ended_at)
    assert after["cpu_pct"].null_count() == 1
    assert after["cpu_pct"][0] is None
    assert after["uptime_seconds"][0] <= 30
    causes = day.coverage.filter(pl.col("server_id") == 101 + number)["cause"].to_list()
    assert causes == ["ok", "unreachable", "ok"]


def test_noise_is_not_white() -> None:
    """Would let back: noise that a detector averages away, as no real server's."""
    plan = planned()
    load = pl.Series(signals_of(plan, 0).load).log()
    days = load.to_frame("load").with_columns(step=pl.int_range(pl.len()) % 288)
    rest = days.with_columns(pl.col("load") - pl.col("load").mean().over("step"))["load"]
    frame = pl.DataFrame({"now": rest[12:], "hour_before": rest[:-12]})
    assert frame.select(pl.corr("now", "hour_before")).item() > 0.4


def test_the_day_of_a_limit_is_that_of_the_mean_by_hand() -> None:
    """Would let back: a truth that forecasts of daily means cannot meet.

    10 % a day from 6 %: the mean of day 3 is 41 %, and the file system stops at 66 %.
    """
    mount = Mount("/x", 100 * GIB, 0.06, "stalled", 6.0)
    assert reached_on_day(mount, 0.40, horizon_days=20) == 3
    assert reached_on_day(mount, 0.42, horizon_days=20) == 4
    assert reached_on_day(mount, 0.67, horizon_days=90) is None
