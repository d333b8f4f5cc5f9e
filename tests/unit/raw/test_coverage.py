"""Coverage: instants folded into stretches."""

from datetime import UTC, datetime, timedelta

from resmon_assets.raw.coverage import COLLECTOR_DOWN, OK, CoverageTracker
from resmon_resources.sample_store import Stretch

START = datetime(2026, 3, 1, 10, 0, 7, tzinfo=UTC)
STEP = timedelta(seconds=30)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def record(tracker, position, cause=OK, *, active_since=LONG_AGO):
    tracker.record(
        1, START + position * STEP, cause=cause, interval=STEP, active_since=active_since
    )


def stretch(first, last, cause, count=None):
    return Stretch(1, START + first * STEP, START + last * STEP, cause, count or last - first + 1)


def test_equal_causes_are_one_stretch():
    """Would let back: one coverage row per tick."""
    tracker = CoverageTracker()
    for position in range(4):
        record(tracker, position)
    assert tracker.drain_turned() == [stretch(0, 3, OK)]
    assert tracker.drain_grown() == []
    record(tracker, 4)
    assert tracker.drain_turned() == []
    assert tracker.drain_grown() == [stretch(0, 4, OK)]
    assert tracker.drain_grown() == []


def test_a_change_of_cause_closes_the_stretch():
    """Would let back: an outage that disappears in the stretch around it."""
    tracker = CoverageTracker()
    for position, cause in enumerate([OK, OK, "timeout", OK]):
        record(tracker, position, cause)
    assert tracker.drain_turned() == [
        stretch(0, 1, OK),
        stretch(2, 2, "timeout"),
        stretch(3, 3, OK),
    ]
    assert tracker.drain_grown() == []


def test_a_restart_shows_the_instants_that_nobody_collected():
    """Would let back: a dead collector that leaves no trace in coverage."""
    tracker = CoverageTracker([stretch(0, 3, OK)])
    record(tracker, 8)
    assert tracker.drain_turned() == [stretch(4, 7, COLLECTOR_DOWN), stretch(8, 8, OK)]


def test_a_restart_without_a_gap_goes_on_with_the_stored_stretch():
    """Would let back: the hourly hand-over cutting every stretch in two."""
    tracker = CoverageTracker([stretch(0, 3, OK)])
    record(tracker, 4)
    assert tracker.drain_turned() == []
    assert tracker.drain_grown() == [stretch(0, 4, OK)]


def test_a_pause_is_not_an_outage_of_the_collector():
    """Would let back: the hours for which a server was paused counted as collector_down."""
    tracker = CoverageTracker([stretch(0, 3, OK)])
    resumed = START + 7 * STEP - timedelta(seconds=10)
    record(tracker, 8, active_since=resumed)
    assert tracker.drain_turned() == [stretch(7, 7, COLLECTOR_DOWN), stretch(8, 8, OK)]


def test_instants_at_which_a_new_server_was_not_asked_are_a_gap():
    """Would let back: the first minute of a server without a sample and without a reason."""
    tracker = CoverageTracker()
    tracker.record(
        1,
        START + 3 * STEP,
        cause=OK,
        interval=STEP,
        active_since=LONG_AGO,
        passed_over_since=START + STEP,
    )
    assert tracker.drain_turned() == [stretch(1, 2, COLLECTOR_DOWN), stretch(3, 3, OK)]


def test_an_instant_seen_twice_counts_once():
    """Would let back: two overlapping collectors counting the same instant."""
    tracker = CoverageTracker()
    record(tracker, 0)
    record(tracker, 0, "timeout")
    assert tracker.drain_turned() == [stretch(0, 0, OK)]
