"""Sentences about changes of alerts, by a table of cases."""

from datetime import UTC, datetime, timedelta

import pytest

from resmon_resources.alert_records import Subject, Transition, TransitionKind
from resmon_resources.alert_words import value_words, words_of

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def a_change(
    rule: str,
    kind: TransitionKind,
    *,
    seconds: int,
    value: float | None = 97.26,
    name: str = "web-1",
) -> Transition:
    return Transition(
        kind=kind,
        rule=rule,
        subject=Subject("server:12", name, 12, 3),
        at=AT,
        began_at=AT - timedelta(seconds=seconds),
        level=1,
        severity="warning",
        trigger=90.0,
        value=value,
        peak_value=99.0,
        reason="",
    )


@pytest.mark.parametrize(
    ("change", "unit", "words"),
    [
        (
            a_change("cpu_high", "opened", seconds=300),
            "percent",
            "CPU of web-1 has been at or above 90 % for 5 minutes (now 97.3 %)",
        ),
        (
            a_change("file_system_high", "opened", seconds=0, name="web-1 /var"),
            "percent",
            "file system web-1 /var is at or above 90 % (now 97.3 %)",
        ),
        (
            a_change("memory_high", "escalated", seconds=4000),
            "percent",
            "memory of web-1 is at or above 90 % by now (now 97.3 %), 1 hour 6 minutes after it "
            "began",
        ),
        (
            a_change("disk_high", "eased", seconds=90_000, value=88.0),
            "percent",
            "disk of web-1 has eased to 88 %, after 1 day 1 hour",
        ),
        (
            a_change("cpu_high", "resolved", seconds=60, value=12.0),
            "percent",
            "CPU of web-1 is back to 12 %, after 1 minute (at worst 99 %)",
        ),
        (
            a_change("unreachable", "opened", seconds=120, value=1.0),
            "failing",
            "web-1 has not been read for 2 minutes",
        ),
        (
            a_change("unreachable", "resolved", seconds=45, value=0.0),
            "failing",
            "web-1 can be read again, after 45 seconds",
        ),
        (
            a_change("host_key_changed", "opened", seconds=0, value=1.0),
            "failing",
            "web-1 shows another host key than the one that is known and is not connected to",
        ),
        (
            a_change("of_somebody", "opened", seconds=0, value=None),
            "count",
            "of_somebody of web-1 is at or above 90 count",
        ),
    ],
)
def test_a_change_says_what_a_person_would_say(change: Transition, unit: str, words: str) -> None:
    """Would let back: notices that name a rule and a number and leave the rest to the reader."""
    assert words_of(change, unit) == words


def test_a_rule_that_looks_down_says_below() -> None:
    """Would let back: "at or above 3 days" for a disk that is full in two."""
    change = a_change("disk_full_soon", "opened", seconds=0, value=2.0, name="web-1 /var")
    assert words_of(change, "days", direction="below") == (
        "time until web-1 /var is full is at or below 90 days (now 2 days)"
    )


def test_values_carry_their_unit() -> None:
    """Would let back: figures that nobody can read without the rule beside them."""
    assert value_words(90.0, "percent") == "90 %"
    assert value_words(600.0, "seconds") == "10 minutes"
    assert value_words(2.5, "days") == "2.5 days"
