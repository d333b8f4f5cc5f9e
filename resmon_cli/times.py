"""Times and durations as people write them on the command line.

Belongs here: the notation of such options, shared by all commands. Knows no command and no clock.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

import click

from resmon_resources.errors import ConfigurationInvalid

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
"""Times that are understood: what lies outside was mistyped, and would overflow somewhere."""

LONGEST_DAYS = 36_500
"""Of a duration: a hundred years."""

_RELATIVE = re.compile(r"-(\d{1,6})\s*(s|m|min|h|d|w)")
_DURATION = re.compile(r"(?:\d{1,9}\s*(?:s|m|min|h|d|w)\s*)+")
_PART = re.compile(r"(\d+)\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SHOWN_LETTERS = 60
_SHOWN_TIME = "%Y-%m-%d %H:%M:%S"
_SHOWN = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def parse_time(text: str, *, now: datetime) -> datetime:
    """A moment in UTC from ISO 8601, `now`, or `-2h`; without an offset it is UTC.

    Raises:
        ConfigurationInvalid: says which forms are understood.
    """
    stripped = text.strip()
    if stripped == "now":
        return now
    relative = _RELATIVE.fullmatch(stripped)
    try:
        if relative:
            moment = now - timedelta(seconds=int(relative[1]) * _SECONDS[relative[2]])
        else:
            moment = datetime.fromisoformat(stripped)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        msg = (
            f"{_shown(text)} is not a time. Give 2026-03-01, 2026-03-01T12:00 (UTC), "
            "2026-03-01T12:00+01:00, now, or a distance back from now: -30m, -2h, -7d."
        )
        raise ConfigurationInvalid(msg) from error
    if not EARLIEST <= moment < LATEST:
        msg = f"{_shown(text)} is before {EARLIEST:%Y} or not before {LATEST:%Y}. Was it mistyped?"
        raise ConfigurationInvalid(msg)
    return moment


def window_of(from_text: str, to_text: str, *, now: datetime) -> tuple[datetime, datetime]:
    """Start and end of a half-open range, in UTC, from --from and --to.

    Raises:
        ConfigurationInvalid: not times, or the end is not after the start.
    """
    start, end = parse_time(from_text, now=now), parse_time(to_text, now=now)
    if start >= end:
        msg = (
            f"--from {from_text} ({start:{_SHOWN_TIME}} UTC) is not before "
            f"--to {to_text} ({end:{_SHOWN_TIME}} UTC). Swap them, or leave out --to for now."
        )
        raise ConfigurationInvalid(msg)
    return start, end


def parse_duration(text: str) -> int:
    """Seconds from `90s`, `5m`, `2h`, `1d`, `1h30m`; a number alone is refused, but for 0.

    Raises:
        ConfigurationInvalid: says which forms are understood.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0
    if not _DURATION.fullmatch(stripped):
        msg = (
            f"{_shown(text)} is not a duration. Give it with a unit: 90s, 5m, 2h, 1d, 1h30m, or 0."
        )
        raise ConfigurationInvalid(msg)
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(stripped))
    if seconds > LONGEST_DAYS * _SECONDS["d"]:
        msg = f"{_shown(text)} is longer than a hundred years. Give at most {LONGEST_DAYS}d."
        raise ConfigurationInvalid(msg)
    return seconds


def duration_notation(seconds: int) -> str:
    """Seconds as `parse_duration` reads them: `90s`, `5m`, `1h30m`; exact."""
    if not seconds:
        return "0"
    if seconds < 120:  # noqa: PLR2004 - 90s is read faster than 1m30s
        return f"{seconds}s" if seconds % 60 else f"{seconds // 60}m"
    parts = []
    for unit, size in _SHOWN:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


class _UtcDay(click.ParamType[datetime]):
    """A UTC day as click converts it: its first moment, without a zone."""

    name = "day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The day; usage error when it is none."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.combine(date.fromisoformat(str(value)), time())
        except ValueError:
            self.fail(f"{_shown(str(value))} is not a day. Give one like 2026-03-01.", param, ctx)


UTC_DAY = _UtcDay()
"""Type of an option or argument that is a UTC day."""


def _shown(text: str) -> str:
    """What was given, for a message; a long text is cut."""
    return repr(text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…")
