"""Forecasts of a day on a real database: what is forecast, what is refused, what a rerun does."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from psycopg import sql

from resmon_assets.automation import WATCHED, stale_of
from resmon_assets.forecast.checks import OWN_RULES, RISING
from resmon_assets.forecast.refresh import FORECAST_DAY, SOURCES, refresh_forecasts
from resmon_assets.naming import CAPACITY_FORECASTS
from resmon_assets.window_checks import judge_stored
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres_connection import load_query
from resmon_resources.retention_policy import read_policy
from resmon_resources.window_ledger import mark_red, window_states
from tests.integration.forecast.world import DAY, GIB, NOW, ONE, World, checks_of

pytestmark = pytest.mark.integration

WOBBLE = [0.0, 0.5, -0.4, 0.2, -0.6, 0.3, 0.1]
"""A week that repeats, without a trend."""


def around(level, days=30, by=1.0):
    return [level + by * WOBBLE[k % 7] for k in range(days)]


def growing(level, slope, days=30):
    """Bytes that end at `level`, in GiB."""
    return [(level - slope * (days - 1 - k) + 0.2 * WOBBLE[k % 7]) * GIB for k in range(days)]


@pytest.fixture
def server(world):
    return world.server("web-1", world.organization("acme"))


def forecast(world, start=DAY, now=NOW):
    return refresh_forecasts(world.postgres, start=start, now=now)


def one(world, method="best", **where):
    rows = world.forecasts(method=method, **where)
    assert len(rows) == 1
    return rows[0]


def test_day_of_a_growing_disk_beside_a_steady_cpu(world, server):
    """Lets back: a disk that fills up without a date, or a date for what does not grow."""
    world.cpu(server, around(20.0))
    world.file_system(server, "/data", growing(80.0, 0.5))
    world.finish()
    result = world.run()
    assert result.success
    checks = checks_of(result)
    assert len(checks) == 8
    assert all(evaluation.passed for evaluation in checks.values())
    disk = one(world, mount="/data")
    assert (disk["metric"], disk["server_id"], disk["status"]) == (
        "filesystem_used_bytes",
        server,
        "ok",
    )
    assert disk["capacity"] == 100 * GIB
    # 80 GiB on the last day and half a GiB a day: 90 after 20 days, 100 after 40.
    for percent, ahead in ((85, 10), (90, 20), (100, 40)):
        assert abs((disk[f"reach_{percent}_on"] - DAY.date()).days - ahead) <= 1
        earliest, latest = disk[f"reach_{percent}_earliest"], disk[f"reach_{percent}_latest"]
        assert earliest <= DAY.date() + timedelta(days=ahead) <= latest
    assert [len(disk[name]) for name in ("value", "lower_80", "upper_95")] == [30, 30, 30]
    line = one(world, "linear", mount="/data")
    assert line["slope_per_day"] == pytest.approx(0.5 * GIB, rel=0.05)
    assert line["trend"] == "increasing"
    assert line["intercept"] == pytest.approx(80 * GIB, rel=0.01)
    cpu = one(world, metric="cpu_pct")
    assert [cpu[f"reach_{p}_reason"] for p in (85, 90, 100)] == ["flat"] * 3
    assert cpu["last_value"] == pytest.approx(around(20.0)[-1])
    assert all(0 <= value <= 100 for value in cpu["lower_95"] + cpu["upper_95"])


def test_the_report_names_and_draws_the_most_urgent(world, server):
    """Lets back: a run whose result nobody can see without SQL."""
    world.file_system(server, "/data", growing(80.0, 0.5))
    world.file_system(server, "/", around(30.0 * GIB, by=GIB / 10))
    world.finish()
    event = world.run().asset_materializations_for_node("forecast__capacity_forecasts")[0]
    table = event.metadata["most_urgent"].value
    assert "| web-1 /data | filesystem_used_bytes | 80 % | 85 % |" in table
    assert "web-1 / |" not in table
    assert event.metadata["picture"].value.startswith("![The most urgent forecasts](data:image/png")
    assert len(event.metadata["picture"].value) < 8 * 1024 * 4 / 3 + 100
    assert event.metadata["series"].value == 2


def test_running_twice_changes_nothing(world, server):
    """Lets back: 100,000 rows rewritten by every rerun."""
    world.cpu(server, around(20.0, by=7.0))
    world.file_system(server, "/", growing(50.0, 0.1))
    world.finish()
    first = forecast(world).outcome.stored
    assert first is not None
    assert (first.new, first.changed) == (4, 0)
    again = forecast(world, now=NOW + ONE).outcome.stored
    assert again is not None
    assert (again.new, again.changed, again.deleted, again.stored_rows) == (0, 0, 0, 4)


def test_fewer_than_seven_days_are_told_as_such(world, server):
    """Lets back: a forecast from six days, or a server that is silently left out."""
    world.cpu(server, around(20.0, days=6))
    world.finish()
    assert world.run().success
    for method in ("linear", "best"):
        row = one(world, method)
        assert (row["status"], row["history_days"]) == ("insufficient_data", 6)
        assert (row["value"], row["slope_per_day"], row["model"]) == (None, None, None)
        assert row["reach_100_reason"] == "insufficient_data"
        assert row["last_value"] == pytest.approx(around(20.0, days=6)[-1])


def test_last_value_is_that_of_the_day_itself(world, server):
    """Lets back: scores of forecasts against a value of another day."""
    world.cpu(server, [*around(20.0), None])
    world.finish()
    forecast(world)
    row = one(world)
    assert (row["last_value"], row["history_days"], row["status"]) == (None, 30, "ok")


def test_mounts_vanish_and_come_back(world, server):
    """Lets back: a mount that is gone and filling up for ever, or history that is lost."""
    world.file_system(server, "/gone", growing(80.0, 0.5), until=DAY - 8 * ONE)
    world.file_system(server, "/back", growing(60.0, 0.1, days=10), until=DAY - 20 * ONE)
    world.file_system(server, "/back", growing(63.0, 0.1, days=2))
    world.finish()
    forecast(world)
    assert {row["mount"]: row["history_days"] for row in world.forecasts()} == {"/back": 12}


def test_a_server_that_moved_is_one_series_of_its_new_organization(world, server):
    """Lets back: two forecasts from half a history each."""
    other = world.organization("other")
    world.days(server, cpu_pct=[*around(20.0, days=19), 10.0])
    move = DAY + timedelta(hours=12)
    world.change(server, move, organization_id=other)
    world.days(server, organization=other, cpu_pct=[30.0])
    world.finish()
    forecast(world)
    row = one(world)
    assert (row["organization_id"], row["history_days"]) == (other, 20)
    assert row["last_value"] == pytest.approx(20.0), "the mean of the two parts of the day"


def test_paused_servers_are_not_forecast(world, server):
    """Lets back: forecasts of servers that nobody runs any more."""
    world.cpu(server, around(20.0))
    world.change(server, DAY, state="paused")
    world.finish()
    assert forecast(world).outcome.row_count == 0


def test_organizations_are_measured_by_their_quotas(world, server):
    """Lets back: a quota of another organization, or of another time."""
    world.execute(
        """insert into inventory.quotas
            (organization_id, resource, valid_from, limit_value, set_at) values
            (1, 'storage_bytes', '2026-01-01Z', %(old)s, now()),
            (1, 'storage_bytes', '2026-02-01Z', %(held)s, now()),
            (1, 'storage_bytes', %(later)s, 5, now()),
            (1, 'bandwidth_bytes_per_month', '2026-01-01Z', 3100, now())""",
        {"old": 7, "held": 100 * GIB, "later": DAY + ONE},
    )
    world.organization_days(
        1,
        cpu_pct_core_sum=[v * 2880 * 4 for v in around(20.0)],
        disk_used_bytes=growing(80.0, 0.5),
        disk_total_bytes=[400.0 * GIB] * 30,
        memory_used_bytes=around(5.0 * GIB),
        memory_total_bytes=[8.0 * GIB] * 30,
        network_in_bytes=[50] * 30,
        network_out_bytes=[10] * 30,
        cpu_core_count=[4.0] * 30,
    )
    world.finish()
    assert world.run().success
    rows = {row["metric"]: row for row in world.forecasts(method="best", server_id=0)}
    assert {metric: row["capacity"] for metric, row in rows.items()} == {
        "cpu_pct": 100,
        "memory_used_bytes": 8 * GIB,
        "disk_used_bytes": 100 * GIB,
        "servers": None,
        "cpu_cores": None,
        "bandwidth_bytes_per_day": 100,
    }
    assert rows["cpu_pct"]["last_value"] == pytest.approx(around(20.0)[-1])
    assert abs((rows["disk_used_bytes"]["reach_90_on"] - DAY.date()).days - 20) <= 1
    assert rows["servers"]["reach_100_reason"] == "no_capacity"
    assert rows["bandwidth_bytes_per_day"]["last_value"] == 60
    # A quota may be exceeded: nothing is cut off at it.
    world.execute("update inventory.quotas set limit_value = %s", (81 * GIB,))
    forecast(world)
    assert max(one(world, "linear", metric="disk_used_bytes")["value"]) > 90 * GIB


@pytest.mark.parametrize("table", SOURCES)
def test_a_day_without_its_sources_is_refused(world, server, table):
    """Lets back: forecasts of a day whose tiers are not there yet, or wrong."""
    world.cpu(server, around(20.0))
    world.finish(tables=[source for source in SOURCES if source != table])
    with pytest.raises(WindowRefused, match=f"{table} has not been computed for that day"):
        forecast(world)
    world.finish(tables=[table])
    with world.postgres.connect() as connection:
        mark_red(connection, table, DAY, is_red=True)
    with pytest.raises(WindowRefused, match=f"Reading {table}.* red"):
        forecast(world)
    assert world.forecasts() == []


def test_a_red_day_is_a_gap_of_the_history(world, server):
    """Lets back: one wrong day that stops forecasts for two months, or that is learned from."""
    world.cpu(server, [*around(20.0, days=20), 9000.0, *around(20.0, days=9)])
    red = DAY - 9 * ONE
    world.finish(red, DAY)
    with world.postgres.connect() as connection:
        mark_red(connection, SOURCES[0], red, is_red=True)
    day = forecast(world)
    assert day.red == (red,)
    row = one(world)
    assert row["history_days"] == 29
    assert row["scale"] < 2


def test_a_model_is_chosen_once_a_week(world, server):
    """Lets back: a choice per day, at seven times the cost, or one that is never renewed."""
    first = DAY - 8 * ONE
    world.cpu(server, around(20.0, days=40, by=5.0))
    days = [first + k * ONE for k in range(9)]
    world.finish(*days)
    result = world.run(first, DAY)
    assert result.success
    rows = world.forecasts(method="best")
    assert [row["bucket_start"] for row in rows] == days
    chosen = [row["bucket_start"] for row in rows if row["choice"] is not None]
    # On the first day, because there was none, and on its day of the week.
    assert chosen[0] == first
    assert len({day.weekday() for day in chosen[1:]}) == 1
    assert chosen[-1] > first
    for before, row in pairwise(rows):
        if row["choice"] is None:
            assert row["model"] == before["model"]
    assert world.forecasts(method="linear")[0]["choice"] is None


def test_capacity_stays_known_when_raw_has_gone(world, server):
    """Lets back: limits that vanish when a day is computed again after retention."""
    noon = DAY + timedelta(hours=12)
    world.sample(server, 1, noon, noon + timedelta(minutes=1))
    world.execute("update raw.server_resource_metrics set memory_total_bytes = %s", (16 * GIB,))
    world.days(server, memory_used_bytes=around(4.0 * GIB, by=GIB / 10))
    world.finish()
    forecast(world)
    assert one(world)["capacity"] == 16 * GIB
    world.execute("delete from raw.server_resource_metrics")
    stored = forecast(world, now=NOW + ONE).outcome.stored
    assert stored is not None
    assert (stored.new, stored.changed, stored.deleted) == (0, 0, 0)


def test_stale_follows_the_tier_of_the_day(world, server):
    """Lets back: forecasts that are never computed again after late samples, or for ever."""
    world.cpu(server, around(20.0))
    watched = next(one for one in WATCHED if one.key == CAPACITY_FORECASTS)

    def stale():
        with world.postgres.connect() as connection:
            policy = read_policy(connection)
            return [
                (window.start, window.reason)
                for window in stale_of(connection, watched, now=NOW, policy=policy)
            ]

    assert stale() == [], "nothing is due before the tier is there"
    world.finish(revision=3)
    assert stale() == [(DAY, "changed")]
    forecast(world)
    assert stale() == []
    world.finish(revision=4)
    assert stale() == [(DAY, "changed")]
    forecast(world)
    with world.postgres.connect() as connection:
        states = window_states(connection, FORECAST_DAY.table.name, DAY, DAY + ONE)
    assert states[DAY].revision == 4


def test_wrong_rows_are_found(world: World, server):
    """Lets back: a check that cannot fail."""
    world.file_system(server, "/data", growing(80.0, 0.5))
    world.finish()
    for broken, rule in (
        ("upper_80[3] = 1e9, upper_95[3] = 1e8", "keeps_bands_in_order"),
        ("value = value[1:29]", "keeps_bands_in_order"),
        ("value = null", "keeps_bands_in_order"),
        ("lower_95[1] = -5", "keeps_within_bounds"),
        ("reach_85_reason = null, reach_85_on = null", "tells_day_or_reason"),
        ("reach_85_reason = 'because', reach_85_on = null", "tells_day_or_reason"),
        ("reach_85_latest = reach_85_on - 1", "keeps_order"),
        ("r_squared = 'NaN'", "keeps_range"),
    ):
        forecast(world)  # puts right what the last one broke
        assert not [name for name, found in judge(world).items() if not found[DAY].is_good]
        world.execute(f"update forecast.capacity_forecasts set {broken} where method = 'best'")
        assert [name for name, found in judge(world).items() if not found[DAY].is_good] == [rule]
    with world.postgres.connect() as connection:
        states = window_states(connection, FORECAST_DAY.table.name, DAY, DAY + ONE)
    assert states[DAY].is_red


def judge(world):
    judgements = judge_stored(
        world.postgres, FORECAST_DAY, windows=[DAY], rising=RISING, own_rules=OWN_RULES
    )
    return {judgement.rule: judgement.findings for judgement in judgements}


def test_a_server_without_rows_is_found(world, server):
    """Lets back: a server that the computation loses and that nobody misses."""
    world.cpu(server, around(20.0))
    world.finish()
    lost = forecast(world)
    assert lost.outcome.stored is not None
    assert lost.outcome.stored.totals["due_servers"] == 1
    assert lost.outcome.stored.totals["missing_servers"] == 0
    world.execute("delete from forecast.capacity_forecasts")
    query = (world.postgres, "forecast", "sum_stored_forecasts")
    assert missing_servers(*query) == 1


def missing_servers(postgres, stage, name):
    statement = sql.SQL(load_query(stage, name)).format(table=FORECAST_DAY.table.identifier)
    with postgres.connect() as connection:
        cursor = connection.execute(statement, {"start": DAY, "end": DAY + ONE})
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))["missing_servers"]


def test_days_are_dates_of_the_calendar(world, server):
    """Lets back: an element or a date that is a day off: element k is day D + k."""
    world.file_system(server, "/data", [(89.9 - 0.5 * (29 - k)) * GIB for k in range(30)])
    world.finish()
    forecast(world)
    row = one(world, "linear")
    assert row["reach_90_on"] == date(2026, 3, 11)
    assert row["value"][0] == pytest.approx(90.4 * GIB, rel=1e-4)
