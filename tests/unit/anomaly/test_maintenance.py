"""Maintenance windows: half-open, weekly in a named zone, changes of clocks."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from resmon_assets.anomaly.maintenance import MaintenanceWindow, quiet_servers
from resmon_resources.time_windows import (
    Occurrence,
    Weekly,
    is_inside,
    next_occurrence,
    occurrence_at,
)

BERLIN = ZoneInfo("Europe/Berlin")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def once(start: datetime, end: datetime, **matcher: Any) -> MaintenanceWindow:
    given: dict[str, Any] = {"server_id": None, "organization_ids": None} | matcher
    return MaintenanceWindow(start, end, None, reason="patches", **given)


def weekly(weekday: int, start: time, minutes: int, ends_at: datetime | None = None):
    rule = Weekly(weekday, start, timedelta(minutes=minutes), BERLIN)
    return MaintenanceWindow(LONG_AGO, ends_at, rule, None, None, "patches")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_window_of_its_own_is_half_open() -> None:
    """Would let back: an alarm kept quiet in the minute after the maintenance."""
    window = once(utc("2026-03-03T10:00"), utc("2026-03-03T11:00"))
    instants = ("2026-03-03T09:59", "2026-03-03T10:00", "2026-03-03T10:59", "2026-03-03T11:00")
    assert [is_inside(window, utc(text)) for text in instants] == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # In winter 22:00 in Berlin is 21:00 UTC; in summer 20:00 UTC. 2026-03-04 is a Wednesday.
        ("2026-03-04T20:59", False),
        ("2026-03-04T21:00", True),
        ("2026-03-05T00:59", True),
        ("2026-03-05T01:00", False),
        ("2026-07-01T19:59", False),
        ("2026-07-01T20:00", True),
        ("2026-07-02T00:00", False),
        ("2026-03-05T22:00", False),
    ],
)
def test_a_weekly_window_follows_the_clock_of_its_zone(*, text: str, expected: bool) -> None:
    """Would let back: a window that moves by an hour in summer, or ends at midnight."""
    assert is_inside(weekly(3, time(22), 240), utc(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Sunday 2026-03-29, 02:00 becomes 03:00: 02:30 does not exist and is 03:30, 01:30 UTC.
        ("2026-03-29T01:29", False),
        ("2026-03-29T01:30", True),
        ("2026-03-29T02:29", True),
        ("2026-03-29T02:30", False),
        # Sunday 2026-10-25, 03:00 becomes 02:00: the first 02:30 is 00:30 UTC.
        ("2026-10-25T00:29", False),
        ("2026-10-25T00:30", True),
        ("2026-10-25T01:29", True),
        ("2026-10-25T01:30", False),
    ],
)
def test_a_start_that_is_left_out_or_comes_twice(*, text: str, expected: bool) -> None:
    """Would let back: a window that is lost in spring and doubled in autumn."""
    assert is_inside(weekly(7, time(2, 30), 60), utc(text)) is expected


def test_the_length_is_time_that_passes_when_the_clocks_change_within_it() -> None:
    """Would let back: a window of four hours that lasts three in spring."""
    window = weekly(7, time(0), 240)  # Saturday 23:00 UTC to Sunday 03:00 UTC
    assert is_inside(window, utc("2026-03-29T02:59"))
    assert not is_inside(window, utc("2026-03-29T03:00"))


def test_a_weekly_window_ends_for_good() -> None:
    """Would let back: an agreement that was given notice of and is still kept."""
    window = weekly(3, time(22), 240, ends_at=utc("2026-03-05T00:00"))
    assert is_inside(window, utc("2026-03-04T23:59"))
    assert not is_inside(window, utc("2026-03-05T00:00"))
    assert not is_inside(window, utc("2026-03-11T22:00"))


def test_a_week_long_window_holds_all_week() -> None:
    """Would let back: a look back that is too short for the longest window."""
    window = weekly(3, time(22), 7 * 24 * 60)
    day = utc("2026-02-01T00:00")
    assert all(is_inside(window, day + k * timedelta(hours=5)) for k in range(100))


def test_a_window_is_for_a_server_an_organization_or_all() -> None:
    """Would let back: one server's maintenance that keeps a whole fleet quiet."""
    at = utc("2026-03-03T10:00")
    ids = np.array([1, 2, 3], dtype=np.int32)
    owners = np.array([7, 8, 8], dtype=np.int32)

    def quiet(**matcher: object) -> list[bool]:
        windows = [once(at, at + timedelta(hours=1), **matcher)]
        return list(quiet_servers(windows, at, server_ids=ids, organization_ids=owners))

    assert quiet(server_id=2) == [False, True, False]
    assert quiet(organization_ids=frozenset({8, 9})) == [False, True, True]
    assert quiet(organization_ids=frozenset()) == [False, False, False]
    assert quiet() == [True, True, True]


@pytest.mark.parametrize(
    ("at", "begin", "end"),
    [
        # Wednesdays at 22:00 in Berlin for four hours: 21:00 UTC in winter, 20:00 in summer.
        ("2026-03-04T20:59", "2026-03-04T21:00", "2026-03-05T01:00"),
        ("2026-03-05T00:59", "2026-03-04T21:00", "2026-03-05T01:00"),
        ("2026-03-05T01:00", "2026-03-11T21:00", "2026-03-12T01:00"),
        ("2026-03-26T12:00", "2026-04-01T20:00", "2026-04-02T00:00"),
        # It holds from New Year on, which lies within one.
        ("2025-06-01T00:00", "2026-01-01T00:00", "2026-01-01T01:00"),
    ],
)
def test_the_next_time_of_a_weekly_window(*, at: str, begin: str, end: str) -> None:
    """Would let back: a list that names last week's time, or one an hour off after March."""
    expected = Occurrence(utc(begin), utc(end))
    assert next_occurrence(weekly(3, time(22), 240), utc(at)) == expected


def test_a_time_ends_with_the_window_and_none_follows() -> None:
    """Would let back: a notice held back until an end that the window does not have any more."""
    window = weekly(3, time(22), 240, ends_at=utc("2026-03-05T00:00"))
    at = utc("2026-03-04T23:00")
    assert occurrence_at(window, at) == Occurrence(utc("2026-03-04T21:00"), utc("2026-03-05T00:00"))
    assert next_occurrence(window, utc("2026-03-05T00:00")) is None


def test_a_window_of_its_own_comes_once() -> None:
    """Would let back: a one-off window that is announced again when it is over."""
    begin, end = utc("2026-03-03T10:00"), utc("2026-03-03T11:00")
    window = once(begin, end)
    assert next_occurrence(window, utc("2026-03-01T00:00")) == Occurrence(begin, end)
    assert next_occurrence(window, begin) == Occurrence(begin, end)
    assert next_occurrence(window, end) is None
