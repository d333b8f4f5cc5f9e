"""Replay of rules on stored values: the same as live, and what is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_assets.alert.replay import (
    SCHEMA,
    Alert,
    Outcome,
    Replay,
    SubjectOutcome,
    buckets_as_values,
    difference_of,
    grid_of_spells,
    instants_of_stretches,
    occupied,
)
from resmon_assets.alerting import step
from resmon_resources.alert_records import Condition, Level, Observation, Rule, Severity, Subject

START = datetime(2026, 3, 10, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CPU = Rule("cpu_high", "above", (Level("warning", 90, 80),), 120, 120)
STEPS = Rule(
    "steps",
    "above",
    (Level("info", 50, 45), Level("warning", 70, 65), Level("critical", 90, 80)),
    60,
    120,
)
DAYS = Rule("days", "below", (Level("warning", 50, 60), Level("critical", 20, 30)), 0, 300)
SUBJECTS = {number: Subject(f"server:{number}", f"web-{number}", number, 1) for number in range(4)}


def frame(rows: Sequence[tuple[int, datetime, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(SCHEMA), orient="row")


def live(rule: Rule, values: Sequence[tuple[datetime, float | None]]) -> tuple[Alert, ...]:
    """What the machine does value by value, as when they come."""
    condition: Condition | None = None
    alerts: list[Alert] = []
    rank: Mapping[Severity, int] = {"info": 0, "warning": 1, "critical": 2}
    for at, value in values:
        done = step(rule, condition, Observation(SUBJECTS[1], at, value))
        condition, change = done.after, done.transition
        if change is None:
            continue
        if change.kind == "opened":
            alerts.append(
                Alert(change.began_at, change.at, None, change.severity, change.peak_value)
            )
            continue
        worst = max(alerts[-1].severity, change.severity, key=rank.__getitem__)
        ended = change.at if change.kind == "resolved" else None
        alerts[-1] = replace(
            alerts[-1], severity=worst, ended_at=ended, peak_value=change.peak_value
        )
    if alerts and alerts[-1].ended_at is None and condition is not None:
        alerts[-1] = replace(alerts[-1], peak_value=condition.peak_value)
    return tuple(alerts)


@given(
    st.sampled_from([CPU, STEPS, DAYS, replace(STEPS, for_seconds=0, keep_seconds=0)]),
    st.lists(
        st.tuples(
            st.sampled_from([30, 30, 30, 60, 400]),
            st.one_of(
                st.sampled_from([10.0, 47.0, 60.0, 85.0, 95.0, 99.0]), st.floats(0, 100), st.none()
            ),
            st.integers(1, 12),
        ),
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_replay_does_what_the_machine_does_live(
    rule: Rule, runs: list[tuple[int, float | None, int]], slices: int
) -> None:
    """Would let back: values passed over that would have changed something."""
    at, values = START, []
    for distance, value, count in runs:
        for _ in range(count):
            at += timedelta(seconds=distance)
            values.append((at, value))
    replay = Replay(SUBJECTS, dict.fromkeys(SUBJECTS, rule))
    size = max(1, -(-len(values) // slices))
    for first in range(0, len(values), size):
        rows = [(1, *one) for one in values[first : first + size]]
        replay.feed(frame(rows[::-1]))
    outcome = replay.outcome(until=at)
    found = outcome.subjects[0].alerts if outcome.subjects else ()
    assert found == live(rule, values)
    assert outcome.value_count == sum(value is not None for _, value in values)


def test_each_subject_has_its_own_rule_and_course() -> None:
    """Would let back: values of one server that open the alert of another."""
    rules = {0: CPU, 1: CPU, 2: replace(CPU, levels=(Level("critical", 40, 30),)), 3: CPU}
    replay = Replay(SUBJECTS, rules)
    for slice_start in range(0, 20, 10):
        replay.feed(
            frame(
                [
                    (number, START + k * MINUTE, value)
                    for k in range(slice_start, slice_start + 10)
                    for number, value in ((0, 95.0), (1, 50.0), (2, 50.0), (3, None))
                ]
            )
        )
    outcome = replay.outcome(until=START + 20 * MINUTE)
    assert outcome.judged_count == 3
    assert {one.subject.name: one.severity for one in outcome.subjects} == {
        "web-0": "warning",
        "web-2": "critical",
    }
    assert [one.opened_count for one in outcome.subjects] == [1, 1]
    assert outcome.subjects[0].first_opened_at == START + 2 * MINUTE
    assert outcome.subjects[0].is_open
    assert outcome.open_minutes == 36
    assert outcome.most_open == 2


def test_what_has_enough_free_is_not_nearly_full() -> None:
    """Would let back: a page for 93 % of a petabyte, or none because the free bytes are unknown."""
    rule = replace(CPU, for_seconds=0, keep_seconds=0, options={"minimum_free_bytes": 100})
    values = frame([(number, START + k * MINUTE, 95.0) for number in range(3) for k in range(3)])
    free = pl.Series([100.0, 100.0, 99.0, 500.0, 500.0, 500.0, None, None, None])
    replay = Replay(SUBJECTS, dict.fromkeys(SUBJECTS, rule))
    replay.feed(values.with_columns(free_bytes=free))
    found = replay.outcome(until=START + HOUR).subjects
    assert {one.subject.name: one.first_opened_at for one in found} == {
        "web-0": START + 2 * MINUTE,
        "web-2": START,
    }


def test_values_that_come_seldom_have_a_gap_of_their_own() -> None:
    """Would let back: values each ten minutes that never open an alert with a waiting time."""
    rows = [(1, START + 10 * k * MINUTE, 95.0) for k in range(3)]
    counts = []
    for gap in (5 * MINUTE, 15 * MINUTE):
        replay = Replay(SUBJECTS, dict.fromkeys(SUBJECTS, CPU), gaps={1: gap})
        replay.feed(frame(rows))
        counts.append(replay.outcome(until=START + HOUR).opened_count)
    assert counts == [0, 1]


def alert(first: float, last: float | None, severity: Severity = "warning") -> Alert:
    """An alert of these minutes."""
    ended = None if last is None else START + last * MINUTE
    return Alert(START + first * MINUTE, START + first * MINUTE, ended, severity, 99.0)


def outcome_of(**alerts: Sequence[Alert]) -> Outcome:
    subjects = [
        SubjectOutcome(Subject(name, name), tuple(some), START + DAY)
        for name, some in alerts.items()
    ]
    return Outcome(tuple(subjects), 9, 99, START + DAY)


def test_what_is_counted() -> None:
    """Would let back: an alert that goes on counted as nothing, or flapping of yesterday."""
    found = outcome_of(
        a=[alert(0, 10), alert(69, 80, "critical"), alert(141, None)], b=[alert(10, 20)]
    )
    first = found.subjects[0]
    assert (first.opened_count, first.flapped_count) == (3, 1)
    assert first.open_minutes == 10 + 11 + 1440 - 141
    assert first.longest_minutes == 1440 - 141
    assert first.severity == "critical"
    assert found.most_open == 1, "one that ends at the instant another opens goes before it"
    assert outcome_of().most_open == 0
    assert outcome_of().longest_minutes == 0


def test_the_difference_to_a_changed_rule() -> None:
    """Would let back: servers that get or lose alerts by a change and are not named."""
    before = outcome_of(a=[alert(0, 10), alert(20, 30)], b=[alert(0, 10)])
    after = outcome_of(a=[alert(0, 30)], c=[alert(0, 5)])
    found = difference_of(before, after)
    assert (found.opened_count, found.flapped_count, found.open_minutes) == (-1, -1, 5)
    assert (found.only_before, found.only_after) == (("b",), ("c",))


@given(st.lists(st.lists(st.sampled_from([70.0, 85.0, 95.0]), min_size=2, max_size=2), max_size=60))
def test_buckets_say_what_their_samples_said_within_a_minute(minutes: list[list[float]]) -> None:
    """Would let back: an average or a maximum that opens alerts that the samples did not."""
    rule = replace(CPU, for_seconds=300, keep_seconds=300)
    samples = [
        (1, START + k * MINUTE + part * timedelta(seconds=30), value)
        for k, pair in enumerate(minutes)
        for part, value in enumerate(pair)
    ]
    buckets = pl.DataFrame(
        [(1, START + k * MINUTE, max(pair), min(pair), None) for k, pair in enumerate(minutes)],
        schema={
            "subject": pl.Int32,
            "at": SCHEMA["at"],
            "highest": pl.Float32,
            "lowest": pl.Float32,
            "free_bytes": pl.Float64,
        },
        orient="row",
    )
    until = START + len(minutes) * MINUTE
    # From samples a minute more or less may tip the scales: both bounds are replayed.
    longer = replace(rule, for_seconds=360, keep_seconds=240)
    shorter = replace(rule, for_seconds=240, keep_seconds=360)
    minutes_open = []
    for one, values in (
        (longer, frame(samples)),
        (rule, buckets_as_values(buckets, width=MINUTE)),
        (shorter, frame(samples)),
    ):
        replay = Replay(SUBJECTS, dict.fromkeys(SUBJECTS, one))
        replay.feed(values)
        minutes_open.append(replay.outcome(until=until).open_minutes)
    slack = 2.0 * len(minutes) ** 0.5 + 2
    assert minutes_open[0] - slack <= minutes_open[1] <= minutes_open[2] + slack


def test_a_bucket_with_one_value_is_one_value() -> None:
    """Would let back: a null that is judged, or a sample counted twice."""
    buckets = pl.DataFrame(
        {"subject": [1, 1, 2], "at": [START, START + MINUTE, START], "highest": [5.0, 7.0, None]}
    ).with_columns(
        lowest=pl.Series([5.0, 6.0, None], dtype=pl.Float64),
        free_bytes=pl.lit(3.0),
        at=pl.col("at").cast(SCHEMA["at"]),
    )
    found = buckets_as_values(buckets, width=MINUTE).drop_nulls().sort("subject", "at")
    assert found.drop("free_bytes").rows() == [
        (1, START + timedelta(seconds=15), 5.0),
        (1, START + timedelta(seconds=75), 7.0),
        (1, START + timedelta(seconds=105), 6.0),
    ]
    assert found.schema == {**SCHEMA, "free_bytes": pl.Float64}


def stretches(*rows: tuple[int, float, float, int, float | None]) -> pl.DataFrame:
    """Stretches by minutes after the start."""
    return pl.DataFrame(
        [
            (n, START + a * MINUTE, START + b * MINUTE, count, value)
            for n, a, b, count, value in rows
        ],
        schema={
            "subject": pl.Int32,
            "started_at": SCHEMA["at"],
            "ended_at": SCHEMA["at"],
            "instant_count": pl.Int32,
            "value": pl.Float64,
        },
        orient="row",
    )


def test_stretches_become_their_instants() -> None:
    """Would let back: an outage of a day that is judged at its two ends only."""
    found = instants_of_stretches(
        stretches((1, 0, 2, 5, 0.0), (1, 2.5, 2.5, 1, 1.0), (2, -10, 600, 611, 1.0)),
        start=START,
        end=START + 2 * HOUR,
        most=3 * MINUTE,
    )
    of_one = found.filter(pl.col("subject") == 1).sort("at")
    assert ((of_one["at"] - START).dt.total_seconds().to_list()) == [0, 30, 60, 90, 120, 150]
    assert of_one["value"].to_list() == [0.0] * 5 + [1.0]
    of_two = found.filter(pl.col("subject") == 2).sort("at")
    assert ((of_two["at"] - START) / MINUTE).to_list() == [0, 1, 2, 3], "its end lies beyond"


def test_the_end_of_a_long_stretch_is_told() -> None:
    """Would let back: an alert whose last value is hours before its end."""
    found = instants_of_stretches(
        stretches((1, 0, 600, 601, 1.0)), start=START, end=START + DAY, most=2 * MINUTE
    )
    assert ((found["at"].sort() - START) / MINUTE).to_list() == [0, 1, 2, 600]


def test_no_stretches_are_no_values() -> None:
    """Would let back: an error for a fleet in which nothing happened."""
    assert instants_of_stretches(stretches(), start=START, end=START + DAY, most=HOUR).is_empty()


def test_spells_become_values_with_zeros_after_them() -> None:
    """Would let back: an episode that never ends, or that is judged once."""
    spells = pl.DataFrame(
        [
            (1, START, START + 10 * MINUTE, 2.0),
            (1, START + 5 * MINUTE, START + 15 * MINUTE, 3.0),
            (2, START + 50 * MINUTE, None, 2.0),
        ],
        schema={
            "subject": pl.Int32,
            "started_at": SCHEMA["at"],
            "ended_at": SCHEMA["at"],
            "value": pl.Float64,
        },
        orient="row",
    )
    found = grid_of_spells(spells, every=5 * MINUTE, after=10 * MINUTE, end=START + HOUR).sort(
        "subject", "at"
    )
    assert [(n, (at - START) / MINUTE, value) for n, at, value in found.rows()] == [
        (1, 0, 2.0),
        (1, 5, 3.0),
        (1, 10, 3.0),
        (1, 15, 0.0),
        (1, 20, 0.0),
        (2, 50, 2.0),
        (2, 55, 2.0),
    ]


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        ([], "...."),
        ([alert(0, 1)], "w..."),
        ([alert(30, 90, "critical"), alert(60, 800)], "cww."),
        ([alert(800, None)], "..ww"),
    ],
)
def test_a_timeline_shows_the_most_urgent_alert_of_each_part(
    alerts: list[Alert], expected: str
) -> None:
    """Would let back: an alert of a minute that is invisible in a week."""
    cells = occupied(alerts, start=START, end=START + DAY, cells=4)
    assert "".join("." if cell is None else cell[0] for cell in cells) == expected
