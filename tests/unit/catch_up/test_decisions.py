"""What the catch-up requests, from stale windows and live runs alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from dagster import AssetKey

from resmon_assets.catch_up import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    RANGE_WINDOWS,
    LiveRun,
    Watched,
    decide,
    pause_after,
    told_of,
    why_not_now,
)
from resmon_assets.partitions import FIRST_DAY
from resmon_resources.window_ledger import StaleWindow

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
LAST = datetime(2026, 3, 10, 12, tzinfo=UTC)


def watched(name: str, *, job: str = "fine", is_live: bool = True, window: timedelta = HOUR):
    key = AssetKey(["tier", name])
    width = timedelta(minutes=5) if is_live else window
    return Watched(key, f"tier.{name}", window, width, job, is_live=is_live)


FINE, FIVE = watched("metrics_1min"), watched("metrics_5min")
HOURLY = watched("metrics_1hour", job="hourly", is_live=False)
DAILY = watched("metrics_1day", job="daily", is_live=False, window=DAY)


def stale(start: datetime, **facts) -> StaleWindow:
    return StaleWindow(start, facts.pop("reason", "changed"), revision=1, **facts)


def hours(*ago: int) -> list[datetime]:
    return sorted(LAST - n * HOUR for n in ago)


def ranges(decision) -> list[tuple[str, datetime, datetime]]:
    return [(run.job_name, run.first, run.last) for run in decision.runs]


def test_contiguous_hours_of_the_tables_of_one_job_are_one_run():
    """Would let back: a run per hour and table after an outage, at 4.5 CPU-s each."""
    wanted = [stale(start) for start in hours(5, 4, 3)]
    decision = decide({FINE: wanted, FIVE: wanted}, live=[], now=NOW)
    assert ranges(decision) == [("fine", LAST - 5 * HOUR, LAST - 3 * HOUR)]
    assert decision.runs[0].tables == (FINE, FIVE)
    assert len(decision.runs[0].attempts) == 6


def test_oldest_first_over_all_jobs_and_bounded():
    """Would let back: a backlog of one tier that keeps what retention waits for from being done."""
    facts = {
        FINE: [stale(start) for start in hours(30, 20, 10)],
        HOURLY: [stale(LAST - 25 * HOUR)],
        DAILY: [stale(LAST.replace(hour=0) - 2 * DAY)],
    }
    decision = decide(facts, live=[], now=NOW)
    assert [run.job_name for run in decision.runs] == ["daily", "fine"]
    assert decision.waiting == {"queued": 3}


def test_a_long_backlog_is_cut_into_ranges():
    """Would let back: one run over a week that holds a slot of the pool for an hour."""
    longest = RANGE_WINDOWS[HOUR]
    decision = decide({FINE: [stale(s) for s in hours(*range(3, 103))]}, live=[], now=NOW)
    assert [run.window_count for run in decision.runs] == [longest, longest]
    assert decision.runs[1].first == decision.runs[0].last + HOUR
    assert decision.waiting == {"queued": 100 - 2 * longest}


def test_hours_that_reach_back_to_their_month_are_computed_in_longer_ranges():
    """Would let back: sixty runs, a minute each, because of one late sample of the first."""
    usage = replace(watched("usage", job="usage"), reach="month")
    decision = decide({usage: [stale(s) for s in hours(*range(3, 103))]}, live=[], now=NOW)
    assert [run.window_count for run in decision.runs] == [72, 28]


def test_windows_that_differ_in_tables_are_not_computed_for_all():
    """Would let back: a month of fine tiers recomputed because its usage changed."""
    facts = {FINE: [stale(LAST - 5 * HOUR)], FIVE: [stale(s) for s in hours(5, 4)]}
    decision = decide(facts, live=[], now=NOW)
    assert [run.tables for run in decision.runs] == [(FINE, FIVE), (FIVE,)]


@pytest.mark.parametrize(
    ("ago", "reason"), [(0, "scheduled"), (1, "scheduled"), (2, None), (3, None)]
)
def test_the_newest_hours_are_left_to_the_schedule(ago, reason):
    """Would let back: two runs of one hour every five minutes."""
    assert why_not_now(FINE, stale(LAST - ago * HOUR), live=[], now=NOW) == reason


@pytest.mark.parametrize(
    ("minutes", "reason"), [(0, "scheduled"), (19, "scheduled"), (20, None), (60, None)]
)
def test_a_closed_window_is_left_to_its_schedule_for_a_while(minutes, reason):
    """Would let back: the sensor and the hourly schedule computing each hour twice."""
    now = LAST + minutes * MINUTE
    assert why_not_now(HOURLY, stale(LAST - HOUR), live=[], now=now) == reason


@pytest.mark.parametrize(
    ("first", "last", "is_covered"), [(6, 4, True), (5, 5, True), (4, 3, False)]
)
def test_windows_of_a_live_run_are_not_requested_again(first, last, is_covered):
    """Would let back: a second run for what a queued one is about to compute."""
    run = LiveRun(
        frozenset([FINE.key]),
        start=LAST - first * HOUR,
        end=LAST - last * HOUR + HOUR,
        is_waiting=True,
        is_catch_up=False,
    )
    decision = decide({FINE: [stale(LAST - 5 * HOUR)]}, live=[run], now=NOW)
    assert bool(decision.waiting.get("running")) is is_covered
    other = decide({FIVE: [stale(LAST - 5 * HOUR)]}, live=[run], now=NOW)
    assert len(other.runs) == 1, "a run of another table covers nothing"


def test_runs_in_flight_leave_less_room():
    """Would let back: a queue that grows by two runs a minute."""
    run = LiveRun(
        frozenset([DAILY.key]), start=FIRST_DAY, end=FIRST_DAY, is_waiting=True, is_catch_up=True
    )
    facts = {FINE: [stale(s) for s in hours(9, 7, 5)]}
    assert len(decide(facts, live=[run], now=NOW).runs) == 1
    assert decide(facts, live=[run, run], now=NOW).runs == ()


def test_pauses_grow_to_a_day_and_never_end():
    """Would let back: a run a minute for what cannot succeed, or data given up for good."""
    pauses = [pause_after(attempts) for attempts in range(1, 60)]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_a_failed_window_waits_and_then_comes_back_with_its_count():
    """Would let back: a failing window requested at every tick."""
    tried = NOW - FIRST_PAUSE
    facts = {FINE: [stale(LAST - 5 * HOUR, attempts=1, attempted_at=tried + MINUTE)]}
    assert decide(facts, live=[], now=NOW).waiting == {"paused": 1}
    facts = {FINE: [stale(LAST - 5 * HOUR, attempts=1, attempted_at=tried)]}
    (run,) = decide(facts, live=[], now=NOW).runs
    assert run.attempts[0].number == 2


def test_one_bad_window_is_alone_after_two_failures():
    """Would let back: eleven good hours that never come because the twelfth fails."""
    long_ago = NOW - 2 * LONGEST_PAUSE

    def lengths(attempts: int) -> list[int]:
        windows = [stale(s, attempts=attempts, attempted_at=long_ago) for s in hours(*range(3, 15))]
        return [run.window_count for run in decide({FINE: windows}, live=[], now=NOW).runs]

    assert lengths(0) == [12]
    assert lengths(1) == [3, 3]
    assert lengths(2) == [1, 1]


def test_refused_windows_are_told_and_not_tried():
    """Would let back: a loop over windows whose raw is gone."""
    decision = decide({FINE: [stale(LAST - 5 * HOUR, is_refused=True)]}, live=[], now=NOW)
    assert decision.runs == ()
    assert told_of(decision) == "stale windows that wait: 1 refused"


def test_a_day_rests_between_two_computations():
    """Would let back: a whole day read again every minute while late samples trickle in."""
    day = LAST.replace(hour=0) - DAY
    soon = stale(day, computed_at=NOW - 14 * MINUTE)
    later = stale(day, computed_at=NOW - 15 * MINUTE)
    assert why_not_now(DAILY, soon, live=[], now=NOW) == "resting"
    assert why_not_now(DAILY, later, live=[], now=NOW) is None


def test_a_persons_wish_waits_for_no_schedule():
    """Would let back: `resmon recompute` of the last hour that hangs until the hour is old."""
    wish = stale(LAST - HOUR, reason="requested", computed_at=NOW - MINUTE)
    assert why_not_now(FINE, wish, live=[], now=NOW) is None
    backlog = [stale(start) for start in hours(30, 20, 10)]
    (run, other) = decide({FINE: [*backlog, wish]}, live=[], now=NOW).runs
    assert run.is_requested, "before the backlog: somebody waits for it"
    assert not other.is_requested


@pytest.mark.parametrize(
    ("keep", "first"),
    [
        (None, FIRST_DAY),
        (timedelta(days=7), datetime(2026, 3, 3, 13, tzinfo=UTC)),
        (timedelta(days=3650), FIRST_DAY),
    ],
)
def test_what_retention_drops_is_not_watched(keep, first):
    """Would let back: windows computed again that retention has dropped, and drops again."""
    assert FINE.since({FINE.table: keep}, now=NOW) == first


@pytest.mark.parametrize(
    ("one", "until"), [(FINE, NOW), (HOURLY, LAST), (DAILY, LAST.replace(hour=0))]
)
def test_only_a_live_table_has_buckets_of_the_running_window(one, until):
    """Would let back: requests for the running hour of a tier that has no partition of it."""
    assert one.closed_until(NOW + MINUTE) == until


def test_nothing_stale_is_said():
    """Would let back: an empty reason on the sensor's page."""
    assert told_of(decide({FINE: []}, live=[], now=NOW)).startswith("every window is computed")
