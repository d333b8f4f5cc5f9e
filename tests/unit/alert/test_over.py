"""The end of subjects that are not judged any more."""

from datetime import UTC, datetime, timedelta

import pytest

from resmon_assets.alerting import over, step
from resmon_resources.alert_records import Condition, Level, Observation, Rule, Step, Subject

START = datetime(2026, 3, 11, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULE = Rule(
    "disk_high",
    "above",
    (Level("warning", 85.0, 83.0), Level("critical", 95.0, 93.0)),
    for_seconds=60,
    keep_seconds=600,
)
SUBJECT = Subject("server:12", "web-1", server_id=12, organization_id=3)


def at(minute: int, value: float | None = None, reason: str = "") -> Observation:
    return Observation(SUBJECT, START + minute * MINUTE, value, reason=reason)


def after(*values: float) -> Condition:
    """What is known after a value a minute."""
    known: Condition | None = None
    for minute, value in enumerate(values):
        known = step(RULE, known, at(minute, value)).after
    assert known is not None
    return known


def end(before: Condition, *, rule: Rule = RULE, minute: int = 5) -> Step:
    return over(rule, before, at(minute, reason="not collected any more"))


def test_an_open_alert_is_resolved_at_once_with_the_reason() -> None:
    """Would let back: an alert of a server that was removed, open for ever or for keep_seconds."""
    done = end(after(96, 96))
    assert done.transition is not None
    assert done.transition.kind == "resolved"
    assert done.transition.severity == "critical"
    assert (done.transition.at, done.transition.reason) == (
        START + 5 * MINUTE,
        "not collected any more",
    )
    assert done.transition.value == 96
    assert done.after is not None
    assert (done.after.state, len(done.after.openings)) == ("clear", 1)


def test_what_only_waits_or_was_dismissed_ends_without_a_word() -> None:
    """Would let back: the end of an alert that nobody was told of."""
    assert end(after(96)) == Step(RULE.name, SUBJECT, after(96), None)
    fired = after(96, 96)
    dismissed = Condition(
        "dismissed", fired.level, fired.since, fired.last_at, openings=fired.openings
    )
    done = end(dismissed)
    assert done.transition is None
    assert done.after is not None
    assert done.after.state == "clear"


@pytest.mark.parametrize("minute", [0, 1])
def test_the_end_is_never_before_the_last_value(minute: int) -> None:
    """Would let back: an alert that was resolved before it was opened."""
    done = end(after(96, 96), minute=minute)
    assert done.transition is not None
    assert done.transition.at == START + MINUTE


def test_a_rule_that_lost_a_level_meanwhile_still_ends_its_alert() -> None:
    """Would let back: an index error for whoever takes away a level that an alert is open at."""
    fewer = Rule("disk_high", "above", RULE.levels[:1], for_seconds=60, keep_seconds=0)
    done = end(after(96, 96), rule=fewer)
    assert done.transition is not None
    assert done.transition.severity == "warning"
    judged = step(fewer, after(96, 96), at(3, 10))
    assert judged.transition is not None
    assert judged.transition.kind == "resolved"
