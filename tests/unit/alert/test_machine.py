"""The machine that judges a value: a table of courses by hand, and what holds for any course."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from resmon_assets.alerting import LONGEST_GAP, LONGEST_KEEP, is_worth_storing, keep_time, step
from resmon_resources.alert_records import (
    Condition,
    Level,
    Observation,
    Rule,
    Step,
    Subject,
    Transition,
)
from resmon_resources.alert_rules import problems_of

START = datetime(2026, 3, 10, tzinfo=UTC)
SERVER = Subject("server:1", "web-1", 1, 1)
CPU = Rule("cpu_high", "above", (Level("warning", 90, 80),), 120, 120)
DISK = Rule("disk_high", "above", (Level("warning", 85, 83), Level("critical", 95, 93)), 60, 60)
DAYS = Rule("days", "below", (Level("warning", 14, 16), Level("critical", 3, 5)), 0, 0)

Course = Sequence[tuple[float, float | None]]
"""Seconds after the start, and the value."""


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def played(rule: Rule, course: Course, before: Condition | None = None) -> list[Step]:
    """The steps of a course of values."""
    steps = []
    for seconds, value in course:
        steps.append(step(rule, before, Observation(SERVER, at(seconds), value)))
        before = steps[-1].after
    return steps


def changes(steps: Sequence[Step]) -> list[tuple[float, str, int]]:
    """Seconds, kind and level of each change of the alert."""
    found = [one.transition for one in steps if one.transition is not None]
    return [((one.at - START).total_seconds(), one.kind, one.level) for one in found]


def every(seconds: float, *values: float | None) -> Course:
    """Values this far apart."""
    return [(seconds * k, value) for k, value in enumerate(values)]


@pytest.mark.parametrize(
    ("rule", "course", "expected"),
    [
        pytest.param(CPU, every(30, 95, 95, 95, 95), [], id="not long enough"),
        pytest.param(CPU, every(30, *[95] * 6), [(120, "opened", 1)], id="long enough"),
        pytest.param(CPU, every(30, *[90] * 6), [(120, "opened", 1)], id="at the level is reached"),
        pytest.param(
            CPU, every(30, 95, 95, 95, 95, 89, 95, 95, 95, 95), [], id="one value below begins anew"
        ),
        pytest.param(CPU, every(30, 95, None, 95, nan, 95), [(120, "opened", 1)], id="unknown"),
        pytest.param(CPU, [(0, 95), (301, 95), (421, 95)], [(421, "opened", 1)], id="a gap"),
        pytest.param(CPU, [(0, 95), (300, 95)], [(300, "opened", 1)], id="no gap yet"),
        pytest.param(
            CPU,
            every(60, 95, 95, 95, 85, 79, 80, 79, 79, 79),
            [(120, "opened", 1), (480, "resolved", 1)],
            id="left without a break",
        ),
        pytest.param(DAYS, every(60, 14, 15, 16, 16.1), [(0, "opened", 1), (180, "resolved", 1)]),
        pytest.param(
            DAYS,
            every(60, 20, 2, 4, 5.5, 99),
            [(60, "opened", 2), (180, "eased", 1), (240, "resolved", 1)],
            id="below, without waiting",
        ),
        pytest.param(
            DISK,
            every(60, 86, 86, 96, 96, 94, 92, 92, 80, 80),
            [
                (60, "opened", 1),
                (180, "escalated", 2),
                (360, "eased", 1),
                (480, "resolved", 1),
            ],
            id="up and down the levels",
        ),
        pytest.param(
            DISK, every(60, 96, 86, 86), [(60, "opened", 1)], id="the least urgent of the stretch"
        ),
        pytest.param(
            DISK,
            [(0, 86), (60, 86), (120, 96), (3720, 96), (3780, 96)],
            [(60, "opened", 1), (3780, "escalated", 2)],
            id="a gap says nothing of a higher level",
        ),
        pytest.param(
            replace(CPU, for_seconds=0, keep_seconds=0),
            every(30, 95, 79, 95, nan, 79),
            [(0, "opened", 1), (30, "resolved", 1), (60, "opened", 1), (120, "resolved", 1)],
            id="no waiting; not a number ends nothing",
        ),
    ],
)
def test_courses_by_hand(
    rule: Rule, course: Course, expected: list[tuple[float, str, int]]
) -> None:
    """Would let back: a level, a waiting time or a gap that counts otherwise than documented."""
    assert changes(played(rule, course)) == expected


def test_a_slow_wobble_becomes_one_long_alert() -> None:
    """Would let back: an alert per hour for a server that is busy in half of each hour."""
    half_hours = every(60, *([95] * 30 + [50] * 30) * 12)
    rule = replace(CPU, for_seconds=300, keep_seconds=300)
    opened = [one for one in changes(played(rule, half_hours)) if one[1] == "opened"]
    assert len(opened) == 4, "after 5, 10 and 20 minutes left it ends, not after 40 any more"


def test_the_time_to_be_left_is_doubled_with_each_opening_up_to_a_bound() -> None:
    """Would let back: openings of yesterday that count, or a rule that never ends."""
    openings = tuple(at(600 * k) for k in range(20))
    minutes = [keep_time(CPU, openings[:k]).total_seconds() / 60 for k in (0, 1, 2, 3, 5)]
    assert minutes == [2, 2, 4, 8, 32]
    assert keep_time(CPU, openings) == LONGEST_KEEP
    assert keep_time(CPU, (*openings, at(86_400))) == timedelta(minutes=2)
    assert keep_time(replace(CPU, keep_seconds=86_400), openings) == timedelta(days=1)
    assert keep_time(replace(CPU, keep_seconds=0), openings) == timedelta(0)


def test_what_is_over_for_long_is_forgotten() -> None:
    """Would let back: a stored condition for every subject that ever had an alert."""
    course = [*every(30, *[95] * 6, *[50] * 6), (6 * 3600 + 60, 50), (6 * 3600 + 180, 50)]
    steps = played(CPU, course)
    assert steps[-2].after is not None
    assert steps[-2].after.openings
    assert steps[-1].after is None
    assert is_worth_storing(steps[-1])


def test_after_a_person_has_resolved_it_only_a_higher_level_opens_it_again() -> None:
    """Would let back: an alert that comes back a tick after somebody has dismissed it."""
    firing = played(DISK, every(60, 86, 86))[-1].after
    assert firing is not None
    dismissed = replace(firing, state="dismissed")
    assert changes(played(DISK, [(180, 86), (240, 90), (300, 86)], dismissed)) == []
    again = played(DISK, [(180, 96), (240, 96)], dismissed)
    assert changes(again) == [(240, "opened", 2)]
    over = played(DISK, [(180, 50), (240, 50), (300, 86), (360, 86)], dismissed)
    assert changes(over) == [(360, "opened", 1)]


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Rules that a person may set."""
    triggers = sorted(draw(st.lists(st.integers(10, 90), min_size=1, max_size=3, unique=True)))
    band = draw(st.integers(0, 10))
    is_above = draw(st.booleans())
    levels = tuple(
        Level("warning", float(one if is_above else 100 - one), clear)
        for one in triggers
        for clear in [float(one - band if is_above else 100 - one + band)]
    )
    rule = Rule(
        "any",
        "above" if is_above else "below",
        levels,
        draw(st.sampled_from([0, 60, 300, 900])),
        draw(st.sampled_from([0, 60, 300, 900])),
    )
    assume(not problems_of(rule))
    return rule


COURSES = st.lists(
    st.tuples(st.sampled_from([30, 30, 30, 60, 300, 301, 4000]), st.integers(0, 100)),
    min_size=1,
    max_size=80,
)


def course_of(drawn: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """Distances to instants."""
    course, seconds = [], 0
    for distance, value in drawn:
        seconds += distance
        course.append((float(seconds), float(value)))
    return course


@dataclass(frozen=True)
class Judged:
    """A value with what it did."""

    seconds: float
    value: float
    level_before: int
    change: Transition | None


def judged(rule: Rule, course: Sequence[tuple[float, float]]) -> list[Judged]:
    """Every value with the level of the alert before it (0: none) and the change it brought."""
    found, level = [], 0
    for (seconds, value), one in zip(course, played(rule, course), strict=True):
        found.append(Judged(seconds, value, level, one.transition))
        if one.transition is not None:
            level = 0 if one.transition.kind == "resolved" else one.transition.level
    return found


def reaches(rule: Rule, level: int, value: float) -> bool:
    trigger = rule.levels[level - 1].trigger
    return value >= trigger if rule.direction == "above" else value <= trigger


def holds(rule: Rule, level: int, value: float) -> bool:
    clear = rule.levels[level - 1].clear
    return value >= clear if rule.direction == "above" else value <= clear


@given(rules(), COURSES)
def test_an_alert_is_opened_once_and_resolved_once(
    rule: Rule, drawn: list[tuple[int, int]]
) -> None:
    """Would let back: two openings without an end between, or a change of what is not open."""
    for one in judged(rule, course_of(drawn)):
        if one.change is None:
            continue
        if one.change.kind == "opened":
            assert one.level_before == 0
        elif one.change.kind == "escalated":
            assert one.change.level > one.level_before > 0
        elif one.change.kind == "eased":
            assert 0 < one.change.level < one.level_before
        else:
            assert one.change.level == one.level_before > 0


@given(rules(), COURSES)
def test_opening_and_escalating_need_the_level_for_all_of_the_time(
    rule: Rule, drawn: list[tuple[int, int]]
) -> None:
    """Would let back: an alert from a value that wobbles around its level, or out of a gap."""
    course = judged(rule, course_of(drawn))
    gap = max(LONGEST_GAP.total_seconds(), rule.for_seconds)
    for place, one in enumerate(course):
        if one.change is None or one.change.kind not in ("opened", "escalated"):
            continue
        first = next(
            k for k in range(place + 1) if course[k].seconds >= one.seconds - rule.for_seconds
        )
        if course[first].seconds > one.seconds - rule.for_seconds:
            first -= 1
        stretch = course[max(first, 0) : place + 1]
        assert all(reaches(rule, one.change.level, each.value) for each in stretch)
        assert stretch[-1].seconds - stretch[0].seconds >= rule.for_seconds
        assert all(b.seconds - a.seconds <= gap for a, b in pairwise(stretch))


@given(rules(), COURSES)
def test_what_is_reached_for_long_enough_is_open(rule: Rule, drawn: list[tuple[int, int]]) -> None:
    """Would let back: a rule that stays silent. The stretch is found by a second method."""
    gap = max(LONGEST_GAP.total_seconds(), rule.for_seconds)
    since: float | None = None
    last = 0.0
    for one in judged(rule, course_of(drawn)):
        if not reaches(rule, 1, one.value):
            since = None
        elif since is None or one.seconds - last > gap:
            since = one.seconds
        last = one.seconds
        is_open = one.level_before > 0 if one.change is None else one.change.kind != "resolved"
        if since is not None and one.seconds - since >= rule.for_seconds:
            assert is_open


@given(rules(), COURSES)
def test_easing_and_ending_need_the_level_left_for_all_of_the_time(
    rule: Rule, drawn: list[tuple[int, int]]
) -> None:
    """Would let back: an alert that ends at a dip, and is opened again right after it."""
    course = judged(rule, course_of(drawn))
    for place, one in enumerate(course):
        if one.change is None or one.change.kind not in ("eased", "resolved"):
            continue
        kept = [
            each for each in course[: place + 1] if each.seconds >= one.seconds - rule.keep_seconds
        ]
        assert not any(holds(rule, one.level_before, each.value) for each in kept)
        if one.change.kind == "resolved":
            assert not any(holds(rule, 1, each.value) for each in kept)
        else:
            assert reaches(rule, one.change.level, one.value) or not holds(
                rule, one.change.level + 1, one.value
            )


@given(rules(), st.data())
def test_values_within_the_band_of_a_level_change_nothing(rule: Rule, data: st.DataObject) -> None:
    """Would let back: hysteresis that does not hold an alert, or that opens one."""
    number = data.draw(st.integers(1, len(rule.levels)))
    level = rule.levels[number - 1]
    band = sorted((level.clear, level.trigger))
    within = st.floats(band[0], band[1]).filter(
        lambda value: not reaches(rule, number, value) and holds(rule, number, value)
    )
    assume(level.clear != level.trigger)
    beyond = rule.levels[number:]
    values = data.draw(st.lists(within, min_size=1, max_size=40))
    assume(not any(reaches(rule, number + 1, value) for value in values if beyond))
    minutes = [(60.0 * k, value) for k, value in enumerate(values)]
    if number == 1:
        assert changes(played(rule, minutes)) == []
    firing = Condition("firing", number, at(-60), at(-60), openings=(at(-60),))
    assert changes(played(rule, minutes, firing)) == []


@given(rules(), COURSES, st.data())
def test_late_values_change_nothing(
    rule: Rule, drawn: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Would let back: an alert that opens or ends by what a spool brought an hour late."""
    course = course_of(drawn)
    for one in played(rule, course):
        known = one.after
        if known is None:
            continue
        late = data.draw(st.timedeltas(timedelta(0), timedelta(hours=3)))
        value = data.draw(st.floats(0, 100))
        result = step(rule, known, Observation(SERVER, known.last_at - late, value))
        assert result.after == known
        assert result.transition is None
        assert not is_worth_storing(result)


@given(rules(), COURSES)
def test_times_are_in_order(rule: Rule, drawn: list[tuple[int, int]]) -> None:
    """Would let back: an alert that began after it was opened, or ended before."""
    course = course_of(drawn)
    for (seconds, _), one in zip(course, played(rule, course), strict=True):
        known, change = one.after, one.transition
        if change is not None:
            assert START < change.began_at <= change.at == at(seconds)
        if known is not None:
            assert known.since <= known.last_at <= at(seconds)
            assert list(known.openings) == sorted(known.openings)
            assert all(known.since <= s <= known.last_at for s in (known.higher_since,) if s)
            assert all(known.since <= s <= known.last_at for s in (known.lower_since,) if s)
            assert (known.higher_level is None) == (known.higher_since is None)
            assert (known.lower_level is None) == (known.lower_since is None)
            assert (known.level == 0) == (known.state == "clear")


@given(rules(), COURSES, st.integers(0, 80))
def test_two_halves_equal_the_whole(rule: Rule, drawn: list[tuple[int, int]], cut: int) -> None:
    """Would let back: something that the machine remembers elsewhere than in the condition."""
    course = course_of(drawn)
    first = played(rule, course[:cut])
    second = played(rule, course[cut:], first[-1].after if first else None)
    assert first + second == played(rule, course)


@given(rules(), COURSES)
def test_what_is_not_worth_storing_is_no_change(rule: Rule, drawn: list[tuple[int, int]]) -> None:
    """Would let back: a change of an alert that no row tells of."""
    for one in played(rule, course_of(drawn)):
        if one.transition is not None:
            assert is_worth_storing(one)
