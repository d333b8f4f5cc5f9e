"""What a rule would have done on stored history: alerts per subject, totals, and differences.

Belongs here: feeding slices of stored values to the machine that judges live, and counting what
came of it. Pure: frames in, records out. Where values come from is in replay_values.py.

The machine sees every value that can change something: values of a subject of which nothing is
known and that reach no level are passed over, and so is the inside of a stretch in which an open
alert stays as it is. Both change no condition but its last instant and peak, which are made good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from resmon_assets.alert_values import FREE_OPTION
from resmon_assets.alerting import LONGEST_GAP, step
from resmon_resources.alert_records import (
    SEVERITIES,
    Condition,
    Observation,
    Rule,
    Severity,
    Subject,
    Transition,
)

SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "subject": pl.Int32,
    "at": pl.Datetime("us", "UTC"),
    "value": pl.Float64,
}
"""Columns of the values that are judged: number of the subject, instant, value in the rule's unit;
null: not known. A column `free_bytes` may come with them."""

SCHEMA_COLUMNS = [pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()]

FLAP_WITHIN = timedelta(hours=1)
"""An alert that opens again so soon after it was over has flapped."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that there would have been.

    Attributes:
        began_at: when what it tells of began, aware UTC.
        opened_at: when it was opened, aware UTC.
        ended_at: when it was over; None: it goes on at the end of the range.
        severity: the most urgent that it had.
        peak_value: the worst value, in the unit of the rule.
    """

    began_at: datetime
    opened_at: datetime
    ended_at: datetime | None
    severity: Severity
    peak_value: float | None


@dataclass(frozen=True, slots=True)
class SubjectOutcome:
    """What would have come of a subject; at least one alert.

    Attributes:
        subject: what it is about.
        alerts: oldest first.
        until: end of the range, to which an alert that goes on is counted; aware UTC.
    """

    subject: Subject
    alerts: tuple[Alert, ...]
    until: datetime

    @property
    def opened_count(self) -> int:
        """How many alerts were opened."""
        return len(self.alerts)

    @property
    def flapped_count(self) -> int:
        """How many of them were opened within an hour of the end of the one before."""
        return sum(
            before.ended_at is not None and after.opened_at - before.ended_at < FLAP_WITHIN
            for before, after in zip(self.alerts, self.alerts[1:], strict=False)
        )

    @property
    def open_minutes(self) -> float:
        """Minutes with an open alert."""
        return sum(self._minutes())

    @property
    def longest_minutes(self) -> float:
        """Minutes of the longest alert."""
        return max(self._minutes())

    @property
    def first_opened_at(self) -> datetime:
        """When the first one was opened, aware UTC."""
        return self.alerts[0].opened_at

    @property
    def severity(self) -> Severity:
        """The most urgent severity of all."""
        return max((one.severity for one in self.alerts), key=SEVERITIES.index)

    @property
    def is_open(self) -> bool:
        """Whether the last one goes on at the end of the range."""
        return self.alerts[-1].ended_at is None

    def _minutes(self) -> list[float]:
        return [
            ((one.ended_at or self.until) - one.opened_at) / timedelta(minutes=1)
            for one in self.alerts
        ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would have come of all subjects.

    Attributes:
        subjects: those with an alert, the one with the most alerts first.
        judged_count: subjects of which a value was known.
        value_count: values that were judged.
        until: end of the range, aware UTC.
    """

    subjects: tuple[SubjectOutcome, ...]
    judged_count: int
    value_count: int
    until: datetime

    @property
    def opened_count(self) -> int:
        """Alerts opened."""
        return sum(one.opened_count for one in self.subjects)

    @property
    def flapped_count(self) -> int:
        """Alerts opened within an hour of the end of the one before."""
        return sum(one.flapped_count for one in self.subjects)

    @property
    def open_minutes(self) -> float:
        """Minutes with an open alert, summed over subjects."""
        return sum(one.open_minutes for one in self.subjects)

    @property
    def longest_minutes(self) -> float:
        """Minutes of the longest alert; 0 without any."""
        return max((one.longest_minutes for one in self.subjects), default=0.0)

    @property
    def most_open(self) -> int:
        """The most alerts that were open at one time."""
        changes = [
            (moment, change)
            for subject in self.subjects
            for one in subject.alerts
            for moment, change in ((one.opened_at, 1), (one.ended_at or self.until, -1))
        ]
        count = most = 0
        # At the same instant one that ends goes before one that opens.
        for _, change in sorted(changes):
            count += change
            most = max(most, count)
        return most


@dataclass(frozen=True, slots=True)
class Difference:
    """What a changed rule would have done otherwise.

    Attributes:
        opened_count: alerts more (less than zero: fewer).
        flapped_count: of those opened within an hour of the end of the one before.
        open_minutes: minutes with an open alert.
        only_before: names of subjects that had an alert and have none with the change.
        only_after: names of subjects that have one with the change only.
    """

    opened_count: int
    flapped_count: int
    open_minutes: float
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def difference_of(before: Outcome, after: Outcome) -> Difference:
    """What differs from `before` to `after`."""
    had = {one.subject.key: one.subject.name for one in before.subjects}
    have = {one.subject.key: one.subject.name for one in after.subjects}
    return Difference(
        opened_count=after.opened_count - before.opened_count,
        flapped_count=after.flapped_count - before.flapped_count,
        open_minutes=after.open_minutes - before.open_minutes,
        only_before=tuple(sorted(name for key, name in had.items() if key not in have)),
        only_after=tuple(sorted(name for key, name in have.items() if key not in had)),
    )


@dataclass(slots=True)
class _Course:
    """What is known of a subject while its values go by."""

    condition: Condition | None = None
    alerts: list[Alert] = field(default_factory=list)

    def take(self, change: Transition) -> None:
        """Count a change of the alert."""
        if change.kind == "opened":
            self.alerts.append(
                Alert(change.began_at, change.at, None, change.severity, change.peak_value)
            )
            return
        last = self.alerts[-1]
        worst = max(last.severity, change.severity, key=SEVERITIES.index)
        ended = change.at if change.kind == "resolved" else None
        self.alerts[-1] = replace(
            last, ended_at=ended, severity=worst, peak_value=change.peak_value
        )

    def result(self) -> tuple[Alert, ...]:
        """All alerts; the peak of one that goes on is that of its condition."""
        condition = self.condition
        if self.alerts and self.alerts[-1].ended_at is None and condition is not None:
            return (*self.alerts[:-1], replace(self.alerts[-1], peak_value=condition.peak_value))
        return tuple(self.alerts)


class Replay:
    """A rule on stored values, slice after slice of time."""

    def __init__(
        self,
        subjects: Mapping[int, Subject],
        rules: Mapping[int, Rule],
        *,
        gaps: Mapping[int, timedelta] | None = None,
    ) -> None:
        """Begin with nothing known: what was open before the range is opened in it.

        Args:
            subjects: number -> what it is about; may grow between slices.
            rules: number -> the rule as it holds for it; may grow too.
            gaps: number -> `longest_gap` of `alerting.step`; without it LONGEST_GAP.
        """
        self._subjects = subjects
        self._rules = rules
        self._gaps = gaps
        self._courses: dict[int, _Course] = {}
        self._judged: set[int] = set()
        self._value_count = 0

    def feed(self, values: pl.DataFrame) -> None:
        """Judge a slice.

        Args:
            values: `SCHEMA`, in any order, and `free_bytes` where FREE_OPTION is to be judged;
                every instant after those of the slices before.
        """
        known = values.filter(pl.col("value").is_not_null() & pl.col("value").is_not_nan())
        if known.is_empty():
            return
        known = known.sort("subject", "at")
        numbers = known["subject"].to_numpy()
        instants = known["at"].dt.epoch("us").to_numpy()
        measured = known["value"].to_numpy()
        free = known["free_bytes"].to_numpy() if "free_bytes" in known.columns else None
        starts = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
        ends = np.append(starts[1:], len(numbers))
        highest = np.maximum.reduceat(measured, starts)
        lowest = np.minimum.reduceat(measured, starts)
        self._value_count += len(numbers)
        for place, number in enumerate(numbers[starts].tolist()):
            rule = self._rules[number]
            if not rule.is_enabled:
                continue
            self._judged.add(number)
            trigger = rule.levels[0].trigger
            is_above = rule.direction == "above"
            is_reached = highest[place] >= trigger if is_above else lowest[place] <= trigger
            course = self._courses.get(number)
            if not is_reached and (course is None or course.condition is None):
                continue
            if course is None:
                course = self._courses[number] = _Course()
            within = slice(int(starts[place]), int(ends[place]))
            values_of = measured[within]
            if free is not None:
                values_of = _roomy(rule, values_of, free[within])
            gap = LONGEST_GAP if self._gaps is None else self._gaps[number]
            _Player(rule, self._subjects[number], course, gap).play(instants[within], values_of)

    def outcome(self, *, until: datetime) -> Outcome:
        """What came of it; `until` is the end of the range, aware UTC."""
        found = [
            SubjectOutcome(self._subjects[number], course.result(), until)
            for number, course in self._courses.items()
            if course.alerts
        ]
        found.sort(key=lambda one: (-one.opened_count, -one.open_minutes, one.subject.name))
        return Outcome(tuple(found), len(self._judged), self._value_count, until)


@dataclass(frozen=True, slots=True)
class _Player:
    """The values of one subject."""

    rule: Rule
    subject: Subject
    course: _Course
    longest_gap: timedelta

    def play(self, instants: NDArray[np.int64], measured: NDArray[np.float64]) -> None:
        """Judge the values, oldest first; pass over those that change nothing."""
        zones = _zones_of(self.rule, measured)
        reaching = np.flatnonzero(zones >= _REACHED)
        run_ends = np.append(np.flatnonzero(zones[1:] != zones[:-1]), len(zones) - 1)
        place = 0
        while place < len(measured):
            before = self.course.condition
            if before is None or before.state == "clear":
                following = np.searchsorted(reaching, place)
                if following == len(reaching):
                    # Openings that no longer count are forgotten when the next level is reached.
                    return
                place = int(reaching[following])
            elif _is_steady(before) and _stays(before, int(zones[place])):
                end = int(run_ends[np.searchsorted(run_ends, place)])
                if end > place:
                    self._pass_over(before, instants[place:end], measured[place:end])
                    place = end
            self._judge(_moment(instants[place]), float(measured[place]))
            place += 1

    def _judge(self, at: datetime, value: float) -> None:
        """Let the machine see a value."""
        seen = Observation(self.subject, at, value)
        done = step(self.rule, self.course.condition, seen, longest_gap=self.longest_gap)
        self.course.condition = done.after
        if done.transition is not None:
            self.course.take(done.transition)

    def _pass_over(
        self, before: Condition, instants: NDArray[np.int64], measured: NDArray[np.float64]
    ) -> None:
        """Values that leave an open alert as it is: the last instant and the peak move on."""
        worst = max if self.rule.direction == "above" else min
        peak = float(measured.max() if self.rule.direction == "above" else measured.min())
        known = peak if before.peak_value is None else before.peak_value
        self.course.condition = replace(
            before, last_at=_moment(instants[-1]), peak_value=worst(known, peak)
        )


_REACHED = 8
"""A zone is this many times the level that is reached, plus the level that is held."""


def _roomy(
    rule: Rule, measured: NDArray[np.float64], free: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The values, below every level where enough bytes are free for FREE_OPTION."""
    enough = rule.options.get(FREE_OPTION) or 0
    if not enough:
        return measured
    # Not a number, where it is not known, is never enough.
    is_roomy = (free >= enough) & (measured >= rule.levels[0].clear)
    return np.where(is_roomy, np.nextafter(rule.levels[0].clear, -np.inf), measured)


def _zones_of(rule: Rule, measured: NDArray[np.float64]) -> NDArray[np.int64]:
    """Level reached and level held of each value, as one number."""
    sign = 1.0 if rule.direction == "above" else -1.0
    zones = np.zeros(len(measured), dtype=np.int64)
    for level in rule.levels:
        zones += _REACHED * (sign * measured >= sign * level.trigger)
        zones += sign * measured >= sign * level.clear
    return zones


def _is_steady(condition: Condition) -> bool:
    """Whether an alert is open and no waiting time runs."""
    return (
        condition.state == "firing"
        and condition.higher_level is None
        and condition.lower_level is None
    )


def _stays(condition: Condition, zone: int) -> bool:
    """Whether values of a zone leave an open alert as it is."""
    reached, held = divmod(zone, _REACHED)
    return reached <= condition.level <= held


def _conformed(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of `SCHEMA`."""
    return frame.select(SCHEMA_COLUMNS)


def _moment(microseconds: np.int64) -> datetime:
    """Microseconds since the epoch as an aware instant; exact."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def buckets_as_values(buckets: pl.DataFrame, *, width: timedelta) -> pl.DataFrame:
    """Two values for each bucket, its highest and its lowest, instead of samples that are gone.

    A level is reached by all samples of a bucket when its lowest value reaches it, and left by all
    when its highest has left it (for rules that look upwards; for others the other way round). Both
    together say what the samples would have said, but for times within the bucket. An average would
    hide what one sample of it reached or left.

    Args:
        buckets: `subject`, `at` (start of the bucket), `highest`, `lowest` (null: not measured),
            `free_bytes` at the highest (null: not known).
        width: of a bucket.

    Returns:
        `SCHEMA` and `free_bytes`; the values lie at a quarter and at three quarters of the bucket,
        one value where both are equal.
    """
    at = pl.col("at")
    first = buckets.select("subject", "free_bytes", at=at + width / 4, value="highest")
    second = buckets.filter(pl.col("highest") != pl.col("lowest")).select(
        "subject", "free_bytes", at=at + 3 * width / 4, value="lowest"
    )
    return pl.concat([first, second]).select(*SCHEMA_COLUMNS, pl.col("free_bytes").cast(pl.Float64))


def instants_of_stretches(
    stretches: pl.DataFrame, *, start: datetime, end: datetime, most: timedelta
) -> pl.DataFrame:
    """Values at the scheduled instants of stretches that all have the same value.

    Args:
        stretches: `subject`, `started_at`, `ended_at` (both are instants of it), `instant_count`,
            `value`.
        start: of the range, aware UTC, inclusive.
        end: of the range, aware UTC, exclusive.
        most: so much of each stretch is told instant by instant, from its begin or that of the
            range; the rest by its last one. Longer than any waiting time of the rule.

    Returns:
        `SCHEMA`.
    """
    interval = (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds() / (
        pl.col("instant_count") - 1
    ).clip(lower_bound=1)
    skipped = (pl.lit(start) - pl.col("started_at")).dt.total_microseconds() / interval
    dense = most / timedelta(microseconds=1) / interval
    last = pl.col("instant_count") - 1
    expanded = (
        stretches.with_columns(
            interval=interval,
            first=pl.when(interval > 0).then(skipped.ceil().clip(lower_bound=0)).otherwise(0),
        )
        .with_columns(
            place=pl.int_ranges(
                pl.col("first").cast(pl.Int64),
                pl.when(pl.col("interval") > 0)
                .then(pl.min_horizontal(pl.col("first") + dense.ceil(), last))
                .otherwise(0)
                .cast(pl.Int64)
                + 1,
            ),
            last=last.cast(pl.Int64),
        )
        .with_columns(place=pl.concat_list("place", "last").list.unique())
        .explode("place")
    )
    return (
        expanded.with_columns(
            at=pl.col("started_at")
            + pl.duration(microseconds=(pl.col("place") * pl.col("interval")).round(0))
        )
        .filter(pl.col("at").is_between(start, end, closed="left"))
        .pipe(_conformed)
    )


def grid_of_spells(
    spells: pl.DataFrame, *, every: timedelta, after: timedelta, end: datetime
) -> pl.DataFrame:
    """Values at regular instants of spells in which something held, and zeros after them.

    Args:
        spells: `subject`, `started_at`, `ended_at` (exclusive; null: it goes on), `value`.
        every: distance of the instants, counted from the begin of each spell.
        after: for so long after a spell a zero is told at each instant.
        end: of the range, aware UTC, exclusive.

    Returns:
        `SCHEMA`; of spells of a subject that overlap the highest value counts.
    """
    closed = spells.with_columns(until=pl.col("ended_at").fill_null(end).clip(upper_bound=end))
    parts = [
        closed.select("subject", "value", begin="started_at", stop="until"),
        closed.select(
            "subject", begin="until", stop=pl.min_horizontal(pl.col("until") + after, pl.lit(end))
        ).with_columns(value=pl.lit(0.0)),
    ]
    rows = pl.concat(parts, how="diagonal").filter(pl.col("begin") < pl.col("stop"))
    return (
        rows.with_columns(
            at=pl.datetime_ranges("begin", "stop", interval=every, closed="left"),
        )
        .explode("at")
        .group_by("subject", "at")
        .agg(pl.col("value").max())
        .pipe(_conformed)
    )


def occupied(
    alerts: Sequence[Alert], *, start: datetime, end: datetime, cells: int
) -> list[Severity | None]:
    """For each of `cells` equal parts of [start, end): the most urgent alert in it, or None."""
    found: list[Severity | None] = [None] * cells
    width = (end - start) / cells
    for one in alerts:
        first = int((one.opened_at - start) / width)
        last = int(((one.ended_at or end) - start) / width)
        for place in range(max(first, 0), min(max(last, first), cells - 1) + 1):
            known = found[place]
            if known is None or SEVERITIES.index(one.severity) > SEVERITIES.index(known):
                found[place] = one.severity
    return found
