"""The real clock, for tests of code that looks at it by itself.

Belongs here: what keeps a test from beginning in one hour and being judged in the next. Code that
is given its time needs none of this.
"""

import time
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
ROOM = timedelta(minutes=1)
"""What a test has at least until the hour is over."""


def running_hour() -> datetime:
    """Start of the running hour; one that ends within a minute is waited out."""
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    if hour + HOUR - now >= ROOM:
        return hour
    while datetime.now(UTC) < hour + HOUR:
        time.sleep(0.1)
    return hour + HOUR
