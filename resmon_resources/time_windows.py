"""Stretches of time that come once or every week in a named zone, changes of clocks included.

Belongs here: when such a window is, was or will be. Pure: no database, no clock. Silences and
maintenance windows are made of them; what they match is told where they are used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)


@dataclass(frozen=True, slots=True)
class Weekly:
    """When a window comes back.

    Attributes:
        weekday: on which it begins, in its zone: 1 Monday to 7 Sunday.
        local_start: time of day in its zone at which it begins.
        duration: time that passes until it ends; at most a week.
        zone: whose clock and calendar are meant.
    """

    weekday: int
    local_start: time
    duration: timedelta
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A stretch of time, or one that comes back.

    Attributes:
        starts_at: aware UTC; begin of a one-off window, or from when on a weekly one holds.
        ends_at: end, exclusive; None: a weekly one without an end.
        weekly: when it comes back; None: it does not.
    """

    starts_at: datetime
    ends_at: datetime | None
    weekly: Weekly | None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that a window is: half-open, aware UTC."""

    begin: datetime
    end: datetime


def weekly_of(
    weekday: int | None,
    local_start: time | None,
    duration_minutes: int | None,
    time_zone: str | None,
) -> Weekly | None:
    """The weekly part of a stored window; None when it does not come back.

    Raises:
        ZoneInfoNotFoundError, ValueError: the zone is not known on this machine.
    """
    if weekday is None or local_start is None or duration_minutes is None or time_zone is None:
        return None
    return Weekly(weekday, local_start, timedelta(minutes=duration_minutes), ZoneInfo(time_zone))


def is_inside(window: TimeWindow, at: datetime) -> bool:
    """Whether `at` (aware) lies in the half-open window."""
    return occurrence_at(window, at) is not None


def occurrence_at(window: TimeWindow, at: datetime) -> Occurrence | None:
    """The time of the window that `at` (aware) lies in; None when it lies in none.

    A weekly window begins at its local time of day and lasts its duration in time that passes, so
    that it ends at another time of day when the clocks change within it. A start that the clocks
    leave out is moved on by the change; of a start that comes twice the first counts (PEP 495, fold
    0).
    """
    if at < window.starts_at or (window.ends_at is not None and at >= window.ends_at):
        return None
    weekly = window.weekly
    if weekly is None:
        # A window that does not come back has an end (a check of the tables).
        return Occurrence(window.starts_at, window.ends_at or datetime.max.replace(tzinfo=UTC))
    today = at.astimezone(weekly.zone).date()
    for begin in _begins(weekly, today, back=-(-weekly.duration // DAY)):
        if begin <= at < begin + weekly.duration:
            return _within(window, begin, weekly.duration)
    return None


def next_occurrence(window: TimeWindow, at: datetime) -> Occurrence | None:
    """The time of the window that `at` lies in or, when it lies in none, the next one.

    None when there is none any more.
    """
    since = max(at, window.starts_at)
    now = occurrence_at(window, since)
    if now is not None or window.weekly is None:
        return now
    weekly = window.weekly
    for begin in sorted(_begins(weekly, since.astimezone(weekly.zone).date(), ahead=8)):
        if begin > since:
            is_over = window.ends_at is not None and begin >= window.ends_at
            return None if is_over else _within(window, begin, weekly.duration)
    return None


def _begins(weekly: Weekly, day: date, *, back: int = 0, ahead: int = 0) -> Iterator[datetime]:
    """Begins on the days from `back` before `day` to `ahead` after it, newest first, aware UTC."""
    for days in range(ahead, -back - 1, -1):
        one = day + days * DAY
        if one.isoweekday() == weekly.weekday:
            local = datetime.combine(one, weekly.local_start, tzinfo=weekly.zone)
            # In UTC: the difference of two instants of one zone would be that of the clock's hands.
            yield local.astimezone(UTC)


def _within(window: TimeWindow, begin: datetime, duration: timedelta) -> Occurrence:
    """From `begin` on for `duration`, within what the window holds for."""
    end = begin + duration
    return Occurrence(
        max(begin, window.starts_at), end if window.ends_at is None else min(end, window.ends_at)
    )
