"""Trends and slow degradation on a real database: computed, stored, judged, refused."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from dagster import DagsterInstance, materialize

from resmon_assets.anomaly.daily_assets import (
    DAILY_ASSETS,
    DAILY_CHECKS,
    DEGRADATION_RISING,
    DEGRADATION_TOGETHER,
    TRENDS_RISING,
    TRENDS_TOGETHER,
)
from resmon_assets.anomaly.days_window import (
    DEGRADATION,
    TRENDS,
    refresh_degradation,
    refresh_trends,
)
from resmon_assets.anomaly.open_episodes import observe_episodes
from resmon_assets.window_checks import KEEPS_ORDER, KEEPS_RANGE, judge_stored
from resmon_resources import inventory
from resmon_resources.clock import ClockResource
from resmon_resources.errors import WindowRefused
from resmon_resources.window_ledger import stale_windows, window_states
from tests.integration.anomaly.daily_fleet import DAILY, ONE_DAY, DailyFleet, day_of

pytestmark = pytest.mark.integration

NOW = day_of(80)
GROUPS: dict[str, dict[str, Any]] = {
    TRENDS.name: {"rising": TRENDS_RISING, "together": TRENDS_TOGETHER},
    DEGRADATION.name: {"rising": DEGRADATION_RISING, "together": DEGRADATION_TOGETHER},
}


@pytest.fixture
def fleet(postgres):
    return DailyFleet(postgres)


def quiet(days, *, servers=2, seed=1):
    return 30 + np.random.default_rng(seed).normal(0, 0.5, (servers, days))


def leak(days, *, onset):
    """Two servers, the first of which leaks 1.5 points a day."""
    values = quiet(days)
    values[0] += 1.5 * np.maximum(np.arange(days) - onset, 0)
    return values


def judge(fleet, first, last):
    """Judge the days first to last, one after another."""
    return [
        refresh_degradation(fleet.postgres, start=day_of(number), now=NOW)
        for number in range(first, last + 1)
    ]


def reports(fleet):
    return fleet.execute(
        "select bucket_start, server_id, metric, kind, started_at, ended_at, peak_value, score, "
        "reason from anomaly.degradation_reports order by 1, 2"
    )


def test_trends_are_stored_once_and_a_second_run_changes_nothing(fleet):
    """Lets back: rows that are written anew every night."""
    fleet.store(60, cpu_pct=leak(60, onset=0))
    first = refresh_trends(fleet.postgres, start=day_of(59), now=NOW)
    assert (first.server_count, first.row_count, first.stored.new) == (2, 10, 10)
    again = refresh_trends(fleet.postgres, start=day_of(59), now=NOW).stored
    assert (again.new, again.changed, again.deleted, again.stored_rows) == (0, 0, 0, 10)
    rows = fleet.execute(
        "select server_id, metric, direction_30d, round(slope_per_day_30d::numeric, 1) "
        "from resmon.utilization_trends where metric = 'cpu_pct' order by 1"
    )
    assert rows[0] == (1, "cpu_pct", "increasing", pytest.approx(1.5, abs=0.11))
    assert rows[1][2] == "flat"


def test_leak_is_one_episode_however_many_days_tell_of_it(fleet):
    """Lets back: an episode per day in what people and alerts read."""
    fleet.store(55, cpu_pct=leak(55, onset=35))
    judge(fleet, 45, 54)
    told = fleet.execute("select count(*) from anomaly.degradation_reports")[0][0]
    assert told > 1
    (episode,) = fleet.execute(
        "select server_id, metric, kind, detector, ended_at, started_at, told_on, reason "
        "from resmon.degradation_reports"
    )
    assert episode[:5] == (1, "cpu_pct", "level_drift", "drift", None)
    assert abs((episode[5] - day_of(35)) / ONE_DAY) <= 3
    assert episode[6] == day_of(54)
    assert episode[7].startswith("CPU rose from 30 % to ")


def test_day_computed_again_gives_the_same_rows_whatever_came_after(fleet):
    """Lets back: a backfill that tells yesterday by what is known today."""
    fleet.store(55, cpu_pct=leak(55, onset=35))
    judge(fleet, 46, 50)
    before = reports(fleet)
    assert before
    judge(fleet, 51, 53)
    outcomes = judge(fleet, 49, 53)
    assert all(o.stored.new + o.stored.changed + o.stored.deleted == 0 for o in outcomes)
    assert [row for row in reports(fleet) if row[0] <= day_of(50)] == before


def test_red_and_missing_sources_are_refused_and_red_history_is_a_gap(fleet):
    """Lets back: conclusions from rows that a check found wrong."""
    values = quiet(60)
    values[:, 50] = 99.0
    fleet.store(60, cpu_pct=values)
    fleet.redden(50)
    refresh_trends(fleet.postgres, start=day_of(59), now=NOW)
    measured = fleet.execute("select distinct measured_days_30d from anomaly.utilization_trends")
    assert measured == [(29,)]
    with pytest.raises(WindowRefused, match="red"):
        refresh_trends(fleet.postgres, start=day_of(50), now=NOW)
    with pytest.raises(WindowRefused, match="has not been computed"):
        refresh_degradation(fleet.postgres, start=day_of(60), now=NOW)
    judge(fleet, 30, 30)
    fleet.redden(30, table=DEGRADATION.table.name)
    with pytest.raises(WindowRefused, match="degradation_reports"):
        judge(fleet, 31, 31)


def test_day_that_is_not_over_is_left_alone(fleet):
    """Lets back: a trend that ends at noon."""
    fleet.store(30, cpu_pct=quiet(30))
    assert refresh_trends(fleet.postgres, start=day_of(29), now=day_of(29)).stored is None


def test_new_revision_of_the_tier_makes_its_day_stale(fleet):
    """Lets back: late samples that trends never hear of."""
    fleet.store(20, cpu_pct=quiet(20))
    refresh_trends(fleet.postgres, start=day_of(19), now=NOW)

    def stale():
        with fleet.postgres.connect() as connection:
            found = stale_windows(
                connection,
                TRENDS.table.name,
                day_of(18),
                day_of(25),
                closed_until=day_of(25),
                window=ONE_DAY,
                source=DAILY,
                is_from_samples=False,
            )
        return [(window.start, window.reason) for window in found]

    assert stale() == [(day_of(18), "changed")], "never computed; days without a tier do not count"
    fleet.execute(
        "update ops.window_state set revision = 2 where asset = %s and window_start = %s",
        (DAILY, day_of(19)),
    )
    assert stale()[1:] == [(day_of(19), "changed")]


def test_assets_run_with_their_checks(fleet):
    """Lets back: an asset that no run can materialize, or checks that judge nothing."""
    fleet.store(55, cpu_pct=leak(55, onset=35))
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            [*DAILY_ASSETS, *DAILY_CHECKS],
            tags={
                "dagster/asset_partition_range_start": day_of(53).strftime("%Y-%m-%d"),
                "dagster/asset_partition_range_end": day_of(54).strftime("%Y-%m-%d"),
            },
            resources={
                "postgres": fleet.postgres,
                "clock": ClockResource(fixed_at=NOW.isoformat()),
            },
            instance=instance,
        )
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 10
    assert all(evaluation.passed for evaluation in evaluations)
    assert fleet.execute("select count(*) from anomaly.utilization_trends") == [(20,)]
    assert fleet.execute("select count(*) from resmon.degradation_reports") == [(1,)]


@pytest.mark.parametrize(
    ("asset", "damage", "rule"),
    [
        (TRENDS, "update anomaly.utilization_trends set direction_7d = null", KEEPS_ORDER),
        (TRENDS, "update anomaly.utilization_trends set p_value_7d = 'NaN'", KEEPS_RANGE),
        (DEGRADATION, "update anomaly.degradation_reports set baseline = 1e9", KEEPS_ORDER),
        (DEGRADATION, "update anomaly.degradation_reports set score = -1", KEEPS_RANGE),
    ],
)
def test_wrong_rows_are_found_and_the_day_is_marked(fleet, asset, damage, rule):
    """Lets back: checks that can not fail."""
    fleet.store(55, cpu_pct=leak(55, onset=35))
    refresh_trends(fleet.postgres, start=day_of(54), now=NOW)
    judge(fleet, 54, 54)
    arguments = GROUPS[asset.name]
    assert not [
        j for j in judge_stored(fleet.postgres, asset, windows=[day_of(54)], **arguments) if j.red
    ]
    fleet.execute(damage)
    judgements = judge_stored(fleet.postgres, asset, windows=[day_of(54)], **arguments)
    assert [j.rule for j in judgements if j.red] == [rule]
    with fleet.postgres.connect() as connection:
        states = window_states(connection, asset.table.name, day_of(54), day_of(55))
    assert states[day_of(54)].is_red


def test_a_drift_is_an_alert_that_the_minutes_do_not_end(fleet):
    """Lets back: a memory leak that is found and told to nobody, or an alert about it that ends
    and opens again with each five-minute run, which knows of no drift.
    """
    with fleet.postgres.connect() as connection:
        inventory.add_organization(connection, "acme", now=day_of(0))
        for name in ("web-1", "web-2"):
            inventory.add_server(connection, name, host=name, organization="acme", now=day_of(0))
    fleet.store(60, cpu_pct=leak(60, onset=40))
    seen = "select subject, state, reason from alert.alerts"
    # Days long gone are no news.
    judge(fleet, 45, 58)
    assert reports(fleet) != []
    assert fleet.execute(seen) == []
    end = day_of(60)
    refresh_degradation(fleet.postgres, start=day_of(59), now=end + timedelta(minutes=35))
    (row,) = fleet.execute(seen)
    assert row[:2] == ("server:1 cpu_pct", "open")
    with fleet.postgres.connect() as connection:
        observe_episodes(
            connection, at=end + timedelta(hours=1), now=end + timedelta(hours=1, minutes=1)
        )
    assert [state for _, state, _ in fleet.execute(seen)] == ["open"]
