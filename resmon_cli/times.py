"""Times as people write them on the command line.

Belongs here: the notation of TIME options, shared by all commands. Knows no command and no clock.
"""

import re
from datetime import UTC, datetime, timedelta

from resmon_resources.errors import ConfigurationInvalid

_RELATIVE = re.compile(r"-(\d{1,6})\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


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
            return now - timedelta(seconds=int(relative[1]) * _SECONDS[relative[2]])
        moment = datetime.fromisoformat(stripped)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = (
            f"{text!r} is not a time. Give 2026-03-01, 2026-03-01T12:00 (UTC), "
            "2026-03-01T12:00+01:00, now, or a distance back from now: -30m, -2h, -7d."
        )
        raise ConfigurationInvalid(msg) from error
