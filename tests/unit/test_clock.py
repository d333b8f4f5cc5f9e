"""The clock resource: stands still for tests, runs otherwise."""

from datetime import UTC, datetime, timedelta

from resmon_resources.clock import ClockResource


def test_fixed_clock_shows_its_instant_in_utc() -> None:
    """A test that says what time it is would be told another."""
    clock = ClockResource(fixed_at="2026-03-01T06:00:00+01:00")
    assert clock.now() == datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_clock_of_the_machine_runs_in_utc() -> None:
    """A naive or local instant would shift every bucket by hours."""
    before = datetime.now(UTC)
    shown = ClockResource().now()
    assert before <= shown <= before + timedelta(minutes=1)
    assert shown.utcoffset() == timedelta(0)
