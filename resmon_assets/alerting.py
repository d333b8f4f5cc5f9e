"""How a rule judges a value: levels with hysteresis, waiting times, and what becomes of an alert.

Belongs here: the state machine of one rule and one subject. Pure: no database, no clock. Live
judgement (of samples and by assets) and replay on stored history call the same function.

    (nothing) --level reached--> pending --for_seconds--> firing --left, keep_seconds--> clear
                                   |                        |
                                   +--left--> (nothing)     +--resolved by a person--> dismissed

A value between trigger and clear of a level keeps what is: an alert stays open, but waiting begins
anew, so that a value that wobbles around its level never opens one. Each opening of the hours
before an opening doubles the time that the level must be left, so that a slow wobble becomes one
long alert.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isnan

from resmon_resources.alert_records import (
    Condition,
    Observation,
    Rule,
    Step,
    Transition,
    TransitionKind,
    lasting_state,
)

OPENINGS_MEMORY = timedelta(hours=6)
"""Openings so long before an opening make the rule wait longer until that one is resolved."""
LONGEST_KEEP = timedelta(hours=2)
LONGEST_GAP = timedelta(minutes=5)
"""Two values further apart than this, and than for_seconds, say nothing of the time between: that a
level is reached for so long is counted anew. That it is left is not, or a rule whose values are
seldom would never end."""


def step(
    rule: Rule,
    before: Condition | None,
    observation: Observation,
    *,
    longest_gap: timedelta = LONGEST_GAP,
) -> Step:
    """Judge one value.

    Args:
        rule: as it holds for the subject.
        before: what is known; None: nothing.
        longest_gap: for values that come seldom, in place of `LONGEST_GAP`.
        observation: the value; an unknown one (None, not a number), or one that is not newer than
            the last, changes nothing. Of a subject of which nothing is known, the caller alone
            knows whether a value is late.

    Returns:
        The condition afterwards and the change of the alert, if there is one.
    """
    same = Step(rule.name, observation.subject, before, before)
    value = observation.value
    # Not a number lies beyond no level: it would end every alert.
    is_known = value is not None and not isnan(value)
    if value is None or not is_known or (before is not None and observation.at <= before.last_at):
        return same
    judge = _Judge(rule, observation, value, longest_gap)
    if before is None or before.state == "clear":
        return judge.idle(before)
    if before.state == "pending":
        return judge.pending(before)
    return judge.firing(before)


def over(rule: Rule, before: Condition, observation: Observation) -> Step:
    """End a subject that is not judged any more: it is gone, or its rule is switched off.

    No level, waiting time or value has a say: what is open is resolved at once.

    Args:
        rule: as it holds for the subject.
        before: what is known of it.
        observation: when, and why in words; its value is not looked at, the last one is told.
    """
    told = replace(observation, at=max(observation.at, before.last_at))
    return _Judge(rule, told, before.last_value or 0.0).over(before)


def is_worth_storing(result: Step) -> bool:
    """Whether more changed than instant and values, which are stored now and then only."""
    if result.before is None or result.after is None:
        return result.before is not result.after
    return bool(lasting_state(result.before) != lasting_state(result.after))


def keep_time(rule: Rule, openings: tuple[datetime, ...]) -> timedelta:
    """How long a level must be left, given the openings so far, oldest first.

    What counts is how many there were in the hours before the last one: while an alert is open, its
    time does not become shorter again.
    """
    recent = sum(openings[-1] - opening <= OPENINGS_MEMORY for opening in openings)
    keep = timedelta(seconds=rule.keep_seconds)
    return max(keep, min(LONGEST_KEEP, keep * 2.0 ** max(0, min(recent, 16) - 1)))


@dataclass(frozen=True, slots=True)
class _Judge:
    """One value against one rule."""

    rule: Rule
    observation: Observation
    value: float
    longest_gap: timedelta = LONGEST_GAP

    @property
    def at(self) -> datetime:
        """Instant of the value."""
        return self.observation.at

    def reached(self) -> int:
        """The most urgent level whose trigger is reached; 0: none."""
        return max(
            (
                number
                for number, level in enumerate(self.rule.levels, start=1)
                if self._is_beyond(level.trigger)
            ),
            default=0,
        )

    def held(self, current: int) -> int:
        """The most urgent level up to `current` that is not left; 0: none."""
        return max(
            (
                number
                for number, level in enumerate(self.rule.levels[:current], start=1)
                if self._is_beyond(level.clear)
            ),
            default=0,
        )

    def idle(self, before: Condition | None) -> Step:
        """Nothing was beyond a level."""
        level = self.reached()
        if level == 0:
            # Kept as it is, while it remembers openings that still count.
            kept = before if before is not None and self._recent(before.openings) else None
            return Step(self.rule.name, self.observation.subject, before, kept)
        started = Condition(
            state="pending",
            level=level,
            since=self.at,
            last_at=self.at,
            last_value=self.value,
            peak_value=self.value,
            openings=self._recent(before.openings if before is not None else ()),
        )
        return self._ripen(before, started)

    def pending(self, before: Condition) -> Step:
        """A level is reached, for_seconds run."""
        level = self.reached()
        if level == 0:
            after = self._cleared(before) if before.openings else None
            return Step(self.rule.name, self.observation.subject, before, after)
        if self._is_after_gap(before):
            return self.idle(replace(before, state="clear"))
        known = self._seen(replace(before, level=min(before.level, level)))
        return self._ripen(before, self._higher(known, level))

    def firing(self, before: Condition) -> Step:
        """An alert is open, or a person has resolved it although it goes on."""
        seen = self._seen(before)
        if self._is_after_gap(before):
            seen = replace(seen, higher_level=None, higher_since=None)
        known = self._lower(self._higher(seen, self.reached()))
        wait = timedelta(seconds=self.rule.for_seconds)
        if (
            known.higher_level is not None
            and known.higher_since is not None
            and self.at - known.higher_since >= wait
        ):
            is_new = known.state == "dismissed"
            after = replace(
                known,
                state="firing",
                level=known.higher_level,
                higher_level=None,
                higher_since=None,
                openings=self._opened(known) if is_new else known.openings,
            )
            return self._told("opened" if is_new else "escalated", before, after)
        if (
            known.lower_level is None
            or known.lower_since is None
            or self.at - known.lower_since < keep_time(self.rule, known.openings)
        ):
            return Step(self.rule.name, self.observation.subject, before, known)
        if known.lower_level == 0:
            kind: TransitionKind | None = "resolved" if known.state == "firing" else None
            return self._told(kind, before, self._cleared(known), told_of=known)
        eased = replace(known, level=known.lower_level, lower_level=None, lower_since=None)
        return self._told("eased" if known.state == "firing" else None, before, eased)

    def over(self, before: Condition) -> Step:
        """The subject is not judged any more."""
        after = self._cleared(before)
        if before.state == "firing":
            return self._told("resolved", before, after, told_of=before)
        known = after if after.openings else None
        return Step(self.rule.name, self.observation.subject, before, known)

    def _is_beyond(self, limit: float) -> bool:
        """Whether the value is at `limit` or on its urgent side."""
        return self.value >= limit if self.rule.direction == "above" else self.value <= limit

    def _is_after_gap(self, before: Condition) -> bool:
        """Whether nothing is known of the time between the last value and this one."""
        gap = max(self.longest_gap, timedelta(seconds=self.rule.for_seconds))
        return self.at - before.last_at > gap

    def _ripen(self, before: Condition | None, pending: Condition) -> Step:
        """Open the alert when the level was reached for long enough."""
        if self.at - pending.since < timedelta(seconds=self.rule.for_seconds):
            return Step(self.rule.name, self.observation.subject, before, pending)
        after = replace(pending, state="firing", openings=self._opened(pending))
        return self._told("opened", before, after)

    def _seen(self, condition: Condition) -> Condition:
        """With this value as the last, and the peak brought up to date."""
        worst = max if self.rule.direction == "above" else min
        peak = self.value if condition.peak_value is None else condition.peak_value
        return replace(
            condition,
            last_at=self.at,
            last_value=self.value,
            peak_value=worst(peak, self.value),
        )

    def _higher(self, condition: Condition, reached: int) -> Condition:
        """Note since when a more urgent level is reached: the least urgent of the stretch."""
        if reached <= condition.level:
            return replace(condition, higher_level=None, higher_since=None)
        if condition.higher_level is None:
            return replace(condition, higher_level=reached, higher_since=self.at)
        return replace(condition, higher_level=min(condition.higher_level, reached))

    def _lower(self, condition: Condition) -> Condition:
        """Note since when the level is left: the most urgent one that still held since."""
        held = self.held(condition.level)
        if held >= condition.level:
            return replace(condition, lower_level=None, lower_since=None)
        if condition.lower_level is None:
            return replace(condition, lower_level=held, lower_since=self.at)
        return replace(condition, lower_level=max(condition.lower_level, held))

    def _cleared(self, condition: Condition) -> Condition:
        """Over; the openings are kept."""
        return Condition(
            state="clear",
            level=0,
            since=self.at,
            last_at=self.at,
            last_value=self.value,
            openings=self._recent(condition.openings),
        )

    def _recent(self, openings: tuple[datetime, ...]) -> tuple[datetime, ...]:
        """Openings that still count."""
        return tuple(one for one in openings if self.at - one <= OPENINGS_MEMORY)

    def _opened(self, condition: Condition) -> tuple[datetime, ...]:
        """Openings with this one."""
        return (*self._recent(condition.openings), self.at)

    def _told(
        self,
        kind: TransitionKind | None,
        before: Condition | None,
        after: Condition,
        *,
        told_of: Condition | None = None,
    ) -> Step:
        """The step with its change of the alert, told of `told_of` (default: the state after)."""
        subject = self.observation.subject
        if kind is None:
            return Step(self.rule.name, subject, before, after)
        shown = told_of or after
        # Of fewer levels than there were when it opened the last one speaks.
        level = self.rule.levels[min(shown.level, len(self.rule.levels)) - 1]
        transition = Transition(
            kind=kind,
            rule=self.rule.name,
            subject=subject,
            at=self.at,
            began_at=shown.since,
            level=shown.level,
            severity=level.severity,
            trigger=level.trigger,
            value=self.value,
            peak_value=shown.peak_value,
            reason=self.observation.reason,
            details=self.observation.details,
        )
        return Step(self.rule.name, subject, before, after, transition)
