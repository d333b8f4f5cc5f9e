"""When an outage of a part of Resmon is told: once it lasts, again after hours, and at its end.

Belongs here: the decision, without a clock. What is looked at, and how it is told, is in
watchdog.py.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

Part = Literal["database", "daemon", "collector"]

TELL_AFTER = timedelta(seconds=60)
"""An outage that heals within this time is told to nobody."""

COLLECTOR_TELL_AFTER = timedelta(minutes=3)
"""A collector that dies is replaced within a minute, and the hour changes hands."""

WELL_AFTER = timedelta(seconds=30)
"""So long a part must be well until its outage is over: one that starts and dies is down."""

REMIND_AFTER = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Outage:
    """A part that is not well.

    Attributes:
        since: when it was first seen so, aware UTC.
        ill_at: when it was last seen so.
        reason: what was seen last, in words.
        told_at: when it was last told; None: it was not.
    """

    since: datetime
    ill_at: datetime
    reason: str
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that is to be told.

    Attributes:
        part: what it is about.
        change: `down`, `still down`, or `up`: it is over.
        since: begin of the outage, aware UTC.
        at: when this was decided; of `up` when it was well again.
        reason: what was seen, in words.
    """

    part: Part
    change: Literal["down", "still down", "up"]
    since: datetime
    at: datetime
    reason: str


def follow(
    part: Part, outage: Outage | None, *, is_well: bool | None, reason: str, now: datetime
) -> tuple[Outage | None, Notice | None]:
    """What is known of a part after a look at it, and what is to be told.

    Args:
        part: what was looked at.
        outage: what was known; None: it was well.
        is_well: what was seen; None: nothing could be seen, which changes nothing.
        reason: why it is not well, in words.
        now: of the look, aware UTC.
    """
    if is_well is None:
        return outage, None
    if is_well:
        return _well(part, outage, now)
    if outage is None:
        return Outage(since=now, ill_at=now, reason=reason), None
    outage = replace(outage, ill_at=now, reason=reason)
    limit = COLLECTOR_TELL_AFTER if part == "collector" else TELL_AFTER
    if outage.told_at is None and now - outage.since >= limit:
        told = replace(outage, told_at=now)
        return told, Notice(part, "down", outage.since, now, reason)
    if outage.told_at is not None and now - outage.told_at >= REMIND_AFTER:
        told = replace(outage, told_at=now)
        return told, Notice(part, "still down", outage.since, now, reason)
    return outage, None


def _well(part: Part, outage: Outage | None, now: datetime) -> tuple[Outage | None, Notice | None]:
    """A part that looks well: its outage is over when that has lasted."""
    if outage is None or now - outage.ill_at < WELL_AFTER:
        return outage, None
    if outage.told_at is None:
        return None, None
    return None, Notice(part, "up", outage.since, outage.ill_at, outage.reason)


def merged(waiting: tuple[Notice, ...], notice: Notice) -> tuple[Notice, ...]:
    """Notices that nobody has got yet, with a new one: only the newest of each part is worth it.

    An end whose beginning was not told yet tells of both.
    """
    return (*(one for one in waiting if one.part != notice.part), notice)
