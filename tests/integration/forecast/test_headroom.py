"""Headroom of a day on a real database: computed from tiers and forecasts, judged, refused."""

from datetime import timedelta

import polars as pl
import pytest
from dagster import AssetCheckSeverity, DagsterInstance, materialize

from resmon_assets.automation import WATCHED, stale_of
from resmon_assets.forecast.headroom_assets import (
    HEADROOM_CHECKS,
    RISING,
    TOGETHER,
    forecast_headroom,
)
from resmon_assets.forecast.headroom_window import HEADROOM_DAY, refresh_headroom
from resmon_assets.forecast.refresh import refresh_forecasts
from resmon_assets.frames import METRICS, STATISTICS, TIER_ROWS, schema_of
from resmon_assets.naming import CAPACITY_FORECASTS, HEADROOM, table_of
from resmon_assets.window_checks import COVERS_FLEET, KEEPS_ORDER, KEEPS_RANGE, judge_stored
from resmon_resources.clock import ClockResource
from resmon_resources.errors import WindowRefused
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.retention_policy import read_policy
from resmon_resources.window_ledger import mark_red, window_states
from tests.integration.forecast.world import DAY, GIB, NOW, ONE

pytestmark = pytest.mark.integration

HOURS = 28 * 24
NAMES = {"cpu_pct": 10.0, "memory_used_bytes": 4.0 * GIB, "disk_used_bytes": 20.0 * GIB}


@pytest.fixture
def server(world):
    """A server of 8 cores and 32 GiB that hardly does anything, with 30 days of history."""
    server = world.server("web-1", world.organization("acme"))
    hours(world, server)
    world.days(server, **{name: [value] * 30 for name, value in NAMES.items()})
    world.finish()
    world.execute(
        "insert into raw.server_status (server_id, status, last_attempt_at, cpu_count, "
        "memory_total_bytes, disk_total_bytes) values (%s, 'healthy', %s, 8, %s, %s)",
        (server, NOW, 32 * GIB, 100 * GIB),
    )
    refresh_forecasts(world.postgres, start=DAY, now=NOW)
    return server


def hours(world, server, *, count=HOURS, **changed):
    """Rows of tier.metrics_1hour, the last of which ends with `DAY`."""
    columns = {
        "bucket_start": [DAY + ONE - timedelta(hours=k) for k in range(count, 0, -1)],
        "server_id": [server] * count,
        "organization_id": [1] * count,
        "sample_count": [120] * count,
        "expected_count": [120] * count,
    }
    for metric in METRICS:
        for statistic in STATISTICS:
            columns[f"{metric}_{statistic}"] = [(NAMES | changed).get(metric)] * count
    with world.postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions('tier.metrics_1hour', 'month', %s, %s)",
            (columns["bucket_start"][0], DAY + ONE),
        )
    with world.postgres.connect() as connection:
        copy_frame(
            connection, "tier.metrics_1hour", pl.DataFrame(columns, schema=schema_of(TIER_ROWS))
        )


def refresh(world, *, now=NOW):
    return refresh_headroom(world.postgres, start=DAY, now=now)


def judge(world):
    return judge_stored(
        world.postgres, HEADROOM_DAY, windows=[DAY], rising=RISING, together=TOGETHER
    )


def test_idle_server_is_underused_with_the_size_that_fits(world, server):
    """Lets back: percentiles, forecasts or sizes that do not find each other."""
    outcome = refresh(world)
    assert (outcome.row_count, outcome.stored.totals["underused"]) == (1, 1)
    found = world.execute(
        "select server_name, verdict, cpu_count, suggested_cpu_count, measured_hours, "
        "rank_in_fleet, limiting_resource, suggestion from resmon.headroom"
    )
    assert found == [
        (
            "web-1",
            "underused",
            8,
            1,
            HOURS,
            1,
            "disk",
            "1 instead of 8 cores and 4.75 instead of 32 GiB of memory would put the p95 of 28 "
            "days at its target.",
        )
    ]
    ahead = world.execute(
        "select cpu_pct_upper_80_30d, memory_used_bytes_upper_80_30d from forecast.headroom"
    )
    assert ahead == [(pytest.approx(10.0, abs=1.0), pytest.approx(4.0 * GIB, rel=0.1))]


def test_second_computation_changes_nothing_even_when_the_newest_size_has_changed(world, server):
    """Lets back: a day of last week told by the cores of today."""
    refresh(world)
    world.execute("update raw.server_status set cpu_count = 64")
    stored = refresh(world).stored
    assert (stored.new, stored.changed, stored.deleted, stored.stored_rows) == (0, 0, 0, 1)


def test_red_hours_are_gaps_that_the_coverage_tells(world, server):
    """Lets back: percentiles of hours that a check found wrong."""
    red = [DAY + timedelta(hours=k) for k in range(3)]
    for hour in red:
        world.finish(hour, tables=["tier.metrics_1hour"])
        with world.postgres.connect() as connection:
            mark_red(connection, "tier.metrics_1hour", hour, is_red=True)
    refresh(world)
    assert world.execute("select measured_hours from forecast.headroom") == [(HOURS - 3,)]


def test_red_and_missing_forecasts_are_refused(world, server):
    """Lets back: headroom without a look ahead that nobody notices."""
    with pytest.raises(WindowRefused, match=r"metrics_1day has not been computed"):
        refresh_headroom(world.postgres, start=DAY - ONE, now=NOW)
    with world.postgres.connect() as connection:
        mark_red(connection, table_of(CAPACITY_FORECASTS), DAY, is_red=True)
    with pytest.raises(WindowRefused, match="capacity_forecasts"):
        refresh(world)
    assert refresh(world, now=DAY + timedelta(hours=23)).stored is None, "the day is not over"


def test_new_forecasts_make_the_day_stale(world, server):
    """Lets back: headroom that stays when late samples changed the forecast."""
    watched = next(w for w in WATCHED if w.key == HEADROOM)

    def stale():
        with world.postgres.connect() as connection:
            found = stale_of(connection, watched, now=NOW, policy=read_policy(connection))
        return [window.start for window in found]

    assert stale() == [DAY]
    refresh(world)
    assert stale() == []
    world.finish(revision=2)
    refresh_forecasts(world.postgres, start=DAY, now=NOW)
    assert stale() == [DAY]


def test_asset_runs_with_its_checks(world, server):
    """Lets back: an asset that no run can materialize, or a fleet without verdicts unnoticed."""
    silent = world.server("web-2", 1)
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            [forecast_headroom, HEADROOM_CHECKS],
            partition_key=f"{DAY:%Y-%m-%d}",
            resources={
                "postgres": world.postgres,
                "clock": ClockResource(fixed_at=NOW.isoformat()),
            },
            instance=instance,
        )
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert len(found) == 5
    covers = found.pop(f"forecast_headroom_{COVERS_FLEET}")
    assert all(evaluation.passed for evaluation in found.values())
    assert not covers.passed, "one of two has a verdict"
    assert covers.severity == AssetCheckSeverity.WARN
    assert covers.metadata["actual"].value == pytest.approx(0.5)
    assert world.execute(
        "select verdict, rank_in_fleet from forecast.headroom where server_id = %s", (silent,)
    ) == [("unknown", None)]


@pytest.mark.parametrize(
    ("damage", "rule"),
    [("rank_in_fleet = null", KEEPS_ORDER), ("cpu_pct_p95_28d = 101", KEEPS_RANGE)],
)
def test_wrong_rows_are_found_and_the_day_is_marked(world, server, damage, rule):
    """Lets back: checks that can not fail."""
    refresh(world)
    assert not [judgement for judgement in judge(world) if judgement.red]
    world.execute(f"update forecast.headroom set {damage}")
    assert [judgement.rule for judgement in judge(world) if judgement.red] == [rule]
    with world.postgres.connect() as connection:
        assert window_states(connection, HEADROOM_DAY.table.name, DAY, DAY + ONE)[DAY].is_red
