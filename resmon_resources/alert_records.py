"""What alert rules, their subjects, values and changes are, as values that pass between modules.

Belongs here: frozen records without behaviour of their own. How they follow from each other is in
resmon_assets/alerting.py, how they are stored in alert_store.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, get_args

Severity = Literal["info", "warning", "critical"]
"""From the least to the most urgent."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

ConditionState = Literal["pending", "firing", "dismissed", "clear"]
TransitionKind = Literal["opened", "escalated", "eased", "resolved"]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a rule.

    Attributes:
        severity: how urgent it is.
        trigger: value at which it is reached.
        clear: value beyond which it is left again; between the two it is kept (hysteresis).
    """

    severity: Severity
    trigger: float
    clear: float


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it holds for one subject, after all settings.

    Attributes:
        name: for example `cpu_high`.
        direction: `above`: a value at or above a level reaches it; `below`: at or below.
        levels: from the least urgent to the most; at least one.
        for_seconds: seconds that a level must be reached before an alert opens or gets worse.
        keep_seconds: seconds that a level must be left before an alert gets better or ends.
        remind_seconds: seconds until an alert that nobody took on is announced again; None: never.
        is_enabled: whether it is judged.
        tells_ends: whether who was told of an alert is told of its end; False of what is a fact
            and not a state. The end is recorded all the same.
        unit: of values and levels.
        options: what only this rule has, by name.
    """

    name: str
    direction: Literal["above", "below"]
    levels: tuple[Level, ...]
    for_seconds: int
    keep_seconds: int
    remind_seconds: int | None = None
    is_enabled: bool = True
    tells_ends: bool = True
    unit: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a condition or an alert is about.

    Attributes:
        key: for the machine, unique: `server:12`, `server:12 /var`, `organization:3 memory_bytes`,
            `job:metrics_1day_job`.
        name: for a person: `web-1`, `web-1 /var`.
        server_id: server that it belongs to; None: none.
        organization_id: organization that owns it now; None: the platform itself.
    """

    key: str
    name: str
    server_id: int | None = None
    organization_id: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """A value that a rule is to judge.

    Attributes:
        subject: what was measured.
        at: instant of the value, aware UTC.
        value: in the unit of the rule; None: not known, which changes nothing.
        reason: why, in words for a person; empty: the sentence is made from value and level.
        details: more of the matter by name; stored with the alert.
    """

    subject: Subject
    at: datetime
    value: float | None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule knows of a subject; one row of alert.conditions. None in its place: nothing.

    Attributes:
        state: `pending` while for_seconds run, `firing` with an open alert, `dismissed` when a
            person has resolved the alert although it goes on, `clear` when it is over.
        level: level that holds, from 1; 0 when clear.
        since: begin of the stretch (pending, firing, dismissed), or its end (clear); aware UTC.
        last_at: instant of the last value, aware UTC.
        last_value: that value.
        peak_value: the worst value of the stretch.
        higher_level: a more urgent level that is reached since `higher_since`; None: none.
        higher_since: aware UTC.
        lower_level: the level that still held since `lower_since`, 0 for none; None: not left.
        lower_since: aware UTC.
        openings: when alerts were opened in the last hours, oldest first.
    """

    state: ConditionState
    level: int
    since: datetime
    last_at: datetime
    last_value: float | None = None
    peak_value: float | None = None
    higher_level: int | None = None
    higher_since: datetime | None = None
    lower_level: int | None = None
    lower_since: datetime | None = None
    openings: tuple[datetime, ...] = ()


lasting_state = attrgetter(
    *("state", "level", "since", "openings"),
    *("higher_level", "higher_since", "lower_level", "lower_since"),
)
"""What of a condition does not change with each value: two that agree in it are the same to who
judges next. Instant and values of the last one are stored now and then only."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an alert that follows from a value.

    Attributes:
        kind: `opened`, `escalated` to a higher level, `eased` to a lower one, `resolved`.
        rule: name of the rule.
        subject: what it is about.
        at: instant of the value that brought it, aware UTC.
        began_at: begin of the stretch, aware UTC.
        level: level after the change, from 1; of `resolved` the one before.
        severity: of that level.
        trigger: value at which that level is reached.
        value: the value; None where there is none.
        peak_value: the worst value of the stretch.
        reason: why, in one sentence for a person.
        details: more of the matter by name.
    """

    kind: TransitionKind
    rule: str
    subject: Subject
    at: datetime
    began_at: datetime
    level: int
    severity: Severity
    trigger: float
    value: float | None
    peak_value: float | None
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What one value did: the condition before and after, and the change of the alert.

    Attributes:
        rule: name of the rule.
        subject: what was judged.
        before: condition before; None: nothing was known.
        after: condition after; None: nothing is to be known.
        transition: change of the alert; None: none.
    """

    rule: str
    subject: Subject
    before: Condition | None
    after: Condition | None
    transition: Transition | None = None
