"""When an outage of a part is told."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_cli.outages import (
    COLLECTOR_TELL_AFTER,
    REMIND_AFTER,
    TELL_AFTER,
    WELL_AFTER,
    Notice,
    Outage,
    Part,
    follow,
    merged,
)
from resmon_cli.watchdog import message_of, title_of

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = 5


def notices(looks: Sequence[bool | None], part: Part = "daemon") -> list[Notice]:
    """What is told when a part is looked at every five seconds."""
    outage: Outage | None = None
    found = []
    for place, is_well in enumerate(looks):
        now = START + timedelta(seconds=STEP * place)
        outage, notice = follow(part, outage, is_well=is_well, reason="it is away", now=now)
        found += [notice] if notice else []
    return found


def seconds(duration: timedelta) -> int:
    """Looks in a duration."""
    return int(duration.total_seconds()) // STEP


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([True] * 50, []),
        ([False] * 12 + [True] * 50, []),
        ([False] * 13, ["down"]),
        ([False] * 13 + [True] * 5, ["down"]),
        ([False] * 13 + [True] * 6, ["down", "up"]),
        ([False] * 13 + [True] * 5 + [False] * 50 + [True] * 9, ["down", "up"]),
        ([False] * 5 + [None] * 100, []),
        ([False] * 13 + [None] * 100 + [True] * 9, ["down", "up"]),
        ([False] * (13 + seconds(REMIND_AFTER)), ["down", "still down"]),
        ([False, True, True] * 5, ["down"]),
    ],
)
def test_an_outage_is_told_once_it_lasts(looks: list[bool | None], told: list[str]) -> None:
    """Would let back: a restart that rings, a daemon that starts and dies and never rings, an end
    without a beginning, or an outage of a night that is told once and forgotten."""
    assert [notice.change for notice in notices(looks)] == told


def test_a_collector_has_more_time() -> None:
    """Would let back: a message each time when a killed run is replaced within a minute."""
    assert notices([False] * seconds(COLLECTOR_TELL_AFTER), "collector") == []
    assert len(notices([False] * (seconds(COLLECTOR_TELL_AFTER) + 1), "collector")) == 1


def test_an_end_tells_from_when_to_when() -> None:
    """Would let back: an end that counts the time in which it was well again already."""
    end = notices([False] * 30 + [True] * 30)[-1]
    assert (end.since, end.at) == (START, START + timedelta(seconds=29 * STEP))


@given(st.lists(st.sampled_from([True, False, None]), max_size=400))
def test_beginnings_and_ends_alternate(looks: list[bool | None]) -> None:
    """Would let back: two beginnings, or an end of what nobody was told of."""
    changes = [notice.change for notice in notices(looks) if notice.change != "still down"]
    assert changes == ["down", "up"] * (len(changes) // 2) + ["down"] * (len(changes) % 2)
    assert TELL_AFTER > WELL_AFTER


def test_only_the_newest_of_a_part_is_worth_sending() -> None:
    """Would let back: after a night without network, beginnings of what is over by then."""
    down = Notice("daemon", "down", START, START, "r")
    other = Notice("database", "down", START, START, "r")
    up = Notice("daemon", "up", START, START + timedelta(minutes=9), "r")
    assert merged((down, other), up) == (other, up)
    text = message_of(up, host="h", number=1).text
    assert "down from 2026-03-01 00:00:00 UTC to 2026-03-01 00:09:00 UTC, 9 min" in text


@pytest.mark.parametrize("part", ["database", "daemon", "collector"])
@pytest.mark.parametrize("change", ["down", "still down", "up"])
def test_every_notice_has_words(part: Part, change: str) -> None:
    """Would let back: a notice that fails while it is worded, in the one moment it is needed."""
    notice = Notice(part, change, START, START, "a <b> & c")  # type: ignore[arg-type]
    message = message_of(notice, host="host-1", number=3)
    assert title_of(notice) in message.title
    assert "host-1" in message.title
    assert "<b> &" not in message.html
    assert message.fields["part"] == part
