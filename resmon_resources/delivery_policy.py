"""When a message that nobody took is tried again, and when it is given up.

Belongs here: the arithmetic, without a clock. The attempts are made in notifier.py.
"""

import zlib
from datetime import datetime, timedelta

FIRST_DELAY_SECONDS = 30.0
LONGEST_DELAY_SECONDS = 3600.0
JITTER = 0.2
"""Each pause is up to this share longer or shorter, so that many messages do not come at once."""

GIVE_UP_AFTER = timedelta(hours=24)
REFUSALS = 5
"""Refusals in a row (a wrong address, a message it will not take) after which it is given up: seven
and a half minutes, in which a service that was being replaced is back."""


def delay_seconds(attempt: int, *, number: int) -> float:
    """Pause after attempt `attempt` (from 1): 30 s, 1, 2, 4 … 60 min, with jitter.

    The jitter follows from the message and the attempt: the same again gives the same.
    """
    pause = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempt - 1, 20))
    share = zlib.crc32(f"{number}:{attempt}".encode()) / 0xFFFFFFFF
    return min(LONGEST_DELAY_SECONDS, pause * (1 - JITTER + 2 * JITTER * share))


def next_attempt_at(
    now: datetime, *, attempt: int, refusals: int, give_up_at: datetime, number: int
) -> datetime | None:
    """When to try again after a failure; None: give up.

    Args:
        now: of the failure, aware UTC.
        attempt: attempts so far, with this one.
        refusals: refusals in a row, with this one.
        give_up_at: when its time is over; there is a last attempt at that instant.
        number: of the message.
    """
    if refusals >= REFUSALS or now >= give_up_at:
        return None
    return min(now + timedelta(seconds=delay_seconds(attempt, number=number)), give_up_at)
