"""Drifts: noticed, told once, ended; and what must not be one."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from benchmarks._daily_series import (
    FIRST,
    days_up_to,
    episodes_of,
    leaking,
    stationary,
)
from resmon_assets.anomaly.drift import judge_day
from resmon_assets.anomaly.drift_rows import drifts_of, reason_of, rows_of, severity_of
from resmon_assets.frames import DEGRADATION_ROWS, schema_of


def day(number):
    return FIRST + timedelta(days=number)


def test_leak_is_noticed_soon_told_once_and_dated_back():
    """Lets back: a leak that nobody hears of, or hears of every day."""
    onset = 42
    found = episodes_of(leaking(stationary(40, 63, seed=11), 1.5, onset=onset), first=28)
    by_server = {drift.server_id for _, drift in found}
    assert len(by_server) == 40
    assert len(found) == 40, "one episode per leak"
    assert np.median([noticed - onset for noticed, _ in found]) <= 12
    assert np.median([abs((d.started_at - day(onset)).days) for _, d in found]) <= 3
    assert all(d.kind == "level_drift" and d.ended_at is None for _, d in found)


def test_stationary_series_with_a_week_are_left_alone():
    """Lets back: false alarms. Allowed here: one in 150 series and seventy days; the rate over
    years is in docs/analytics.md."""
    found = episodes_of(stationary(150, 84, seed=12))
    assert len(found) <= 1


def test_step_is_not_a_drift():
    """Lets back: a deployment reported as slow degradation for the four weeks after it."""
    values = stationary(60, 70, seed=13)
    values[:, 42:] += 20
    assert len(episodes_of(values, first=35)) <= 2


def test_rise_that_the_series_makes_all_the_time_is_none():
    """Lets back: a saw tooth of ten days (a cache that is emptied) told as a leak each time."""
    tooth = 30 + 1.5 * (np.arange(84) % 10)
    values = tooth[None, :] + np.random.default_rng(2).normal(0, 0.5, (20, 84))
    assert len(episodes_of(values, first=30)) <= 2


def test_restart_ends_the_drift_and_the_next_leak_is_another_one():
    """Lets back: an episode that stays open for ever, or that opens again out of its own past."""
    values = leaking(stationary(1, 60, seed=14) * 0 + 30, 1.5, onset=30, until=48)
    values += np.random.default_rng(4).normal(0, 0.4, values.shape)
    found = episodes_of(values)
    assert len(found) == 1
    _, drift = found[0]
    assert drift.end_reason == "fell_back"
    assert day(48) <= drift.ended_at <= day(50)
    again = np.concatenate([values, values[:, 30:48]], axis=1)
    assert [d.end_reason for _, d in episodes_of(again)] == ["fell_back", None]


def test_rise_that_stops_has_levelled_off():
    """Lets back: a new normal that is told as degradation for ever."""
    values = 30 + np.clip(np.arange(80) - 30, 0, 15) * 1.5
    found = episodes_of(values[None, :] + np.random.default_rng(5).normal(0, 0.4, (1, 80)))
    assert [d.end_reason for _, d in found] == ["levelled_off"]
    assert day(45) < found[0][1].ended_at <= day(60)


def test_growing_peaks_beside_an_unchanged_level_are_a_drift_of_spread():
    """Lets back: a p99 that doubles while everybody looks at the mean."""
    values = stationary(10, 63, seed=15) * 0 + 30
    random = np.random.default_rng(6)
    values = values + random.normal(0, 0.5, values.shape)
    spread = 12 + np.maximum(np.arange(63) - 42, 0) * 1.5 + random.normal(0, 0.8, values.shape)
    found = episodes_of(values, first=28, spread=spread)
    assert {d.kind for _, d in found} == {"spread_drift"}
    assert len(found) == 10
    assert "above the median of the day" in reason_of(found[0][1])


def test_day_that_is_not_measured_changes_nothing_and_a_week_ends_it():
    """Lets back: an outage that ends a leak, or a removed server that degrades for ever."""
    values = leaking(np.full((1, 70), 30.0), 1.5, onset=30)
    values += np.random.default_rng(7).normal(0, 0.4, values.shape)
    values[0, 55:] = np.nan
    ((_, drift),) = episodes_of(values)
    assert (drift.end_reason, drift.ended_at) == ("not_measured", day(61))


def test_day_judged_again_gives_the_same():
    """Lets back: verdicts that depend on what was judged since."""
    values = leaking(stationary(6, 60, seed=16), 2.0, onset=40)
    seen = days_up_to(values, 52)
    known = [drift for noticed, drift in episodes_of(values[:, :52]) if noticed < 52]
    first = judge_day(seen, known)
    assert first
    assert judge_day(seen, known) == first
    assert judge_day(seen, list(reversed(known))) == first


def test_rows_hold_all_that_the_next_day_needs():
    """Lets back: a drift that is another one after a night in the database."""
    found = [d for _, d in episodes_of(leaking(stationary(3, 60, seed=17), 2.0, onset=40))]
    rows = rows_of(found, day=day(59))
    assert rows.schema == schema_of(DEGRADATION_ROWS)
    assert drifts_of(rows) == sorted(found, key=found.index)
    later = rows_of([replace(found[0], peak_value=99.0)], day=day(60))
    assert drifts_of(rows.vstack(later))[-1].peak_value == pytest.approx(99.0)


def test_words_and_severity_of_a_leak():
    """Lets back: a reason without the figures that a person decides by."""
    found = episodes_of(np.where(np.arange(60) < 42, 41.0, 41 + 1.8 * (np.arange(60) - 42))[None])
    ((_, drift),) = found
    assert reason_of(drift).startswith("CPU rose from 41 % to ")
    assert "has not fallen back" in reason_of(drift)
    assert severity_of(replace(drift, peak_value=63.0)) == "warning"
    assert severity_of(replace(drift, peak_value=90.0)) == "critical"
    memory = replace(
        drift,
        metric="memory_used_bytes",
        baseline=6.6 * 2**30,
        peak_value=10.1 * 2**30,
        started_at=day(40),
        peak_at=day(52),
        end_reason="fell_back",
    )
    assert reason_of(memory) == (
        "Memory rose from 6.6 GiB to 10.1 GiB in 12 days, 299 MiB a day, then fell back."
    )
    assert severity_of(memory) == "warning"
