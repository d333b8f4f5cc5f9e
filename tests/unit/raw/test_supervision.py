"""Supervision: which action each state of lock, heartbeat and run leads to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from resmon_assets.raw.supervision import RunFact, supervise, wanted_hours
from resmon_resources.collector_registry import CollectorRow

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOW = HOUR + timedelta(minutes=20)


def collector_row(**changes):
    row = CollectorRow(
        shard=0,
        hour=HOUR,
        run_id="run-1",
        host="box",
        pid=100,
        backend_pid=200,
        started_at=NOW - timedelta(minutes=10),
        heartbeat_at=NOW - timedelta(seconds=5),
        fleet_open_at=NOW - timedelta(minutes=9),
        is_stop_requested=False,
        stop_requested_at=None,
        ended_at=None,
        end_reason=None,
        is_locked=True,
    )
    return replace(row, **changes)


def run_fact(**changes):
    fact = RunFact("run-1", 0, HOUR, "started", NOW - timedelta(minutes=10))
    return replace(fact, **changes)


def kinds(*, rows=(), runs=(), now=NOW, shards=1):
    actions = supervise(now=now, shards=shards, collectors=rows, runs=runs)
    return [(action.kind, action.shard, action.hour) for action in actions]


def test_nothing_runs_then_a_run_is_requested_for_each_shard():
    """Would let back: an empty registry that nobody ever fills."""
    assert kinds(shards=2) == [("request", 0, HOUR), ("request", 1, HOUR)]


def test_alive_collector_has_its_lease_renewed():
    """Would let back: a collector that ends after ten minutes although its sensor is on."""
    assert kinds(rows=[collector_row()], runs=[run_fact()]) == [("renew", 0, HOUR)]


def test_a_run_by_hand_counts_for_every_shard():
    """Would let back: a second collector beside one that was materialized by hand."""
    assert kinds(rows=[collector_row()], runs=[run_fact(shard=None)]) == [("renew", 0, HOUR)]


@pytest.mark.parametrize("age", [0, 59])
def test_a_run_on_its_way_is_waited_for(age):
    """Would let back: a new run at each tick while the first one is still starting."""
    run = run_fact(phase="waiting", since=NOW - timedelta(seconds=age))
    assert kinds(runs=[run]) == []


def test_a_run_that_never_starts_is_failed_and_replaced():
    """Would let back: collection that waits for ever for a run that was lost between launch and
    start."""
    run = run_fact(phase="waiting", since=NOW - timedelta(seconds=61))
    assert kinds(runs=[run]) == [("fail_run", 0, HOUR), ("request", 0, HOUR)]


def test_a_started_run_without_a_lock_is_a_ghost():
    """Would let back: STARTED for ever after the run and its code server were killed."""
    rows = [collector_row(is_locked=False)]
    assert kinds(rows=rows, runs=[run_fact()]) == [("fail_run", 0, HOUR), ("request", 0, HOUR)]


def test_a_run_that_has_just_started_may_take_its_lock():
    """Would let back: failing a healthy run in the seconds before it claims its shard."""
    run = run_fact(since=NOW - timedelta(seconds=19))
    assert kinds(rows=[collector_row(is_locked=False)], runs=[run]) == []


@pytest.mark.parametrize(("age", "expected"), [(19, []), (21, ["fail_run", "request"])])
def test_a_collector_gets_its_lock_back_after_a_restart_of_the_database(age, expected):
    """Would let back: a healthy run failed, and half a minute of samples missed, because the
    sensor came back from a restart of PostgreSQL a second before the collector did."""
    actions = supervise(
        now=NOW,
        shards=1,
        collectors=[collector_row(is_locked=False)],
        runs=[run_fact()],
        database_since=NOW - timedelta(seconds=age),
    )
    assert [action.kind for action in actions] == expected


def test_a_killed_collector_is_replaced_at_the_next_tick():
    """Would let back: more than a minute without samples after a SIGKILL: 15 s until the tick
    of the sensor, at most 12 s until a run has its lock, then the first instants."""
    killed = collector_row(is_locked=False, heartbeat_at=NOW - timedelta(seconds=15))
    actions = supervise(
        now=NOW,
        shards=1,
        collectors=[killed],
        runs=[run_fact()],
        database_since=NOW - timedelta(days=3),
    )
    assert [action.kind for action in actions] == ["fail_run", "request"]


def test_a_silent_collector_is_asked_to_stop_then_fenced():
    """Would let back: a hung collector that holds its lock for the rest of the hour."""
    silent = collector_row(heartbeat_at=NOW - timedelta(seconds=31))
    assert kinds(rows=[silent], runs=[run_fact()]) == [("stop", 0, HOUR)]
    asked = replace(silent, is_stop_requested=True, stop_requested_at=NOW - timedelta(seconds=61))
    assert kinds(rows=[asked], runs=[run_fact()]) == [("fence", 0, HOUR)]


def test_a_lock_without_a_live_run_is_stopped():
    """Would let back: a process that goes on after its run was cancelled, next to a second one."""
    assert kinds(rows=[collector_row()]) == [("stop", 0, HOUR)]


def test_a_collector_that_is_stopping_is_left_alone_for_a_minute():
    """Would let back: the lease of a collector renewed while it is told to end."""
    row = collector_row(is_stop_requested=True, stop_requested_at=NOW - timedelta(seconds=30))
    assert kinds(rows=[row], runs=[run_fact()]) == []


def test_an_hour_that_was_finished_is_not_requested_again():
    """Would let back: the closed hour requested once more in the seconds before the turn."""
    now = HOUR + timedelta(minutes=59, seconds=59)
    row = collector_row(is_locked=False, ended_at=HOUR + timedelta(hours=1), end_reason="hour over")
    following = collector_row(hour=HOUR + timedelta(hours=1), run_id="run-2", heartbeat_at=now)
    run = run_fact(run_id="run-2", hour=HOUR + timedelta(hours=1))
    assert kinds(rows=[row, following], runs=[run], now=now) == [
        ("renew", 0, HOUR + timedelta(hours=1))
    ]


def test_a_collector_that_ended_early_is_replaced():
    """Would let back: a terminated collector that leaves the rest of its hour empty."""
    row = collector_row(is_locked=False, ended_at=NOW - timedelta(seconds=30), end_reason="stop")
    assert kinds(rows=[row]) == [("request", 0, HOUR)]


def test_the_coming_hour_is_wanted_from_180_seconds_before():
    """Would let back: a successor that opens its fleet only when its hour has begun."""
    assert wanted_hours(HOUR + timedelta(minutes=56, seconds=59)) == [HOUR]
    assert wanted_hours(HOUR + timedelta(minutes=57)) == [HOUR, HOUR + timedelta(hours=1)]
