"""Conditions, alerts, their events and the outbox, as they are read and written.

Belongs here: the statements on alert.conditions, alert.alerts, alert.alert_events and alert.outbox,
for those who judge and for a person. What a value means is in resmon_assets/alerting.py, who is
told in resmon_assets/alert/planning.py. Asks no clock.

Whoever changes a condition and its alert holds the row of the condition first, then that of the
alert, several of them in the order of (rule, subject) and of alert_id: writers wait for each other,
and do not deadlock.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Json

from resmon_resources.alert_records import Condition, Severity, Step, Transition, lasting_state
from resmon_resources.alert_words import words_of
from resmon_resources.errors import AlertOver, AlertUnknown
from resmon_resources.postgres_connection import array_parameter, load_query

Key = tuple[str, str]
"""Rule and key of a subject."""

SETTLE = timedelta(seconds=5)
"""A change waits this long in the outbox, so that what happens together is announced together."""
SETTLE_OF_RULE = {"unreachable": timedelta(seconds=30)}
"""A group that goes away is seen server by server: by then each has been asked once more."""
OPENINGS_KEPT = timedelta(hours=6)
"""Openings longer ago count for nothing; see OPENINGS_MEMORY of resmon_assets/alerting.py."""

_STATE_COLUMNS = (
    *("state", "level", "since", "last_at", "last_value", "peak_value"),
    *("higher_level", "higher_since", "lower_level", "lower_since"),
)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one step.

    Attributes:
        step: the step.
        is_lost: another writer was first: nothing was changed. Read the condition again and judge
            again.
        alert_id: the alert that it opened or changed; None: none.
        event_id: the event of that change; None: none.
    """

    step: Step
    is_lost: bool = False
    alert_id: int | None = None
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class AlertHead:
    """An alert as it stands, without its history.

    Attributes:
        alert_id: identity.
        rule: name of the rule.
        subject: what it is about, for the machine.
        subject_name: the same for a person.
        state: `open`, `acknowledged` or `resolved`.
        severity: how urgent it is.
        value: value at the last change; None: none.
        acknowledged_by: who took it on; None: nobody has.
        resolved_by: `condition`, or who resolved it; None: it goes on.
        resolved_at: when it was over, aware UTC; None: it goes on.
    """

    alert_id: int
    rule: str
    subject: str
    subject_name: str
    state: Literal["open", "acknowledged", "resolved"]
    severity: Severity
    value: float | None
    acknowledged_by: str | None
    resolved_by: str | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of alert.conditions that the transaction holds."""

    condition: Condition
    alert_id: int | None


def read_conditions(
    connection: psycopg.Connection[Any],
    rules: Collection[str],
    *,
    server_ids: Collection[int] | None = None,
) -> dict[Key, Condition]:
    """What is known of the subjects of some rules.

    Args:
        connection: any open connection.
        rules: names of rules.
        server_ids: only subjects of these servers; None: all.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            load_query("alert", "select_conditions"),
            {
                "rules": sorted(rules),
                "server_ids": None if server_ids is None else sorted(server_ids),
            },
        ).fetchall()
    return {(row["rule"], row["subject"]): _condition_of(row) for row in rows}


def write_steps(
    connection: psycopg.Connection[Any], steps: Sequence[Step], *, now: datetime
) -> list[Written]:
    """Store what values did: conditions, alerts, events, outbox; in the caller's transaction.

    A step is stored when the stored condition is still the one that it began with, instants and
    values aside, and is not newer than what follows from it. Several steps of one subject follow
    each other; when one is lost, those after it are. An alert that is open already (because its
    condition was deleted) is taken over, not opened again.

    Args:
        connection: a connection in a transaction; rows of conditions and alerts stay locked in it.
        steps: results of resmon_assets.alerting.step; of one subject oldest first.
        now: present moment, aware UTC: when it is written, and from when on notices wait.

    Returns:
        What became of each step, in the order of `steps`.
    """
    done: dict[int, Written] = {}
    lost: set[Key] = set()
    for turn in _turns(steps):
        numbers = [number for number in turn if _key(steps[number]) not in lost]
        written = _write_apart(connection, [steps[number] for number in numbers], now=now)
        done |= dict(zip(numbers, written, strict=True))
        lost |= {_key(one.step) for one in written if one.is_lost}
    return [done.get(number, Written(step, is_lost=True)) for number, step in enumerate(steps)]


def forget_old_conditions(connection: psycopg.Connection[Any], *, now: datetime) -> int:
    """Delete conditions that are over and whose openings count no more; how many there were."""
    return connection.execute(
        load_query("alert", "delete_forgotten_conditions"), {"before": now - OPENINGS_KEPT}
    ).rowcount


def acknowledge(
    connection: psycopg.Connection[Any], alert_id: int, *, actor: str, now: datetime, note: str = ""
) -> AlertHead:
    """Take an alert on: it is not announced again by itself, unless it gets worse.

    One that somebody else has acknowledged changes hands; who has it already, and says nothing new,
    changes nothing.

    Returns:
        The alert as it was before.

    Raises:
        AlertUnknown: there is no such alert.
        AlertOver: it is resolved.
    """
    return _change_by_person(
        connection,
        alert_id,
        _Act("acknowledged", "acknowledged", f"acknowledged by {actor}"),
        actor=actor,
        now=now,
        note=note,
    )


def unacknowledge(
    connection: psycopg.Connection[Any], alert_id: int, *, actor: str, now: datetime, note: str = ""
) -> AlertHead:
    """Give an alert back: nobody has taken it on. As `acknowledge` otherwise."""
    return _change_by_person(
        connection,
        alert_id,
        _Act("open", "unacknowledged", f"given back by {actor}"),
        actor=actor,
        now=now,
        note=note,
    )


def resolve(
    connection: psycopg.Connection[Any], alert_id: int, *, actor: str, now: datetime, note: str = ""
) -> AlertHead:
    """End an alert by hand. While its condition goes on no other is opened, unless it gets worse.

    Returns:
        The alert as it was before.

    Raises:
        AlertUnknown: there is no such alert.
        AlertOver: it is resolved.
    """
    return _change_by_person(
        connection,
        alert_id,
        _Act("resolved", "resolved", f"resolved by {actor}"),
        actor=actor,
        now=now,
        note=note,
    )


def note(
    connection: psycopg.Connection[Any], alert_id: int, text: str, *, actor: str, now: datetime
) -> int:
    """Add a note to the history of an alert, open or resolved; the number of the event.

    Raises:
        AlertUnknown: there is no such alert.
    """
    row = connection.execute(
        load_query("alert", "insert_note"),
        {"alert_id": alert_id, "message": text, "actor": actor, "now": now},
    ).fetchone()
    if row is None:
        raise _unknown(alert_id)
    return int(row[0])


# Steps


def _key(step: Step) -> Key:
    """What a step is about."""
    return step.rule, step.subject.key


def _turns(steps: Sequence[Step]) -> Iterator[list[int]]:
    """Numbers of steps, each subject at most once in a turn, in their order."""
    turns: list[list[int]] = []
    count: dict[Key, int] = {}
    for number, step in enumerate(steps):
        turn = count.get(_key(step), 0)
        count[_key(step)] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(number)
    yield from turns


def _write_apart(
    connection: psycopg.Connection[Any], steps: Sequence[Step], *, now: datetime
) -> list[Written]:
    """Store steps of which each is about another subject."""
    if not steps:
        return []
    stored = _locked(connection, steps)
    won = {_key(step) for step in steps if _agrees(stored.get(_key(step)), step)}
    fresh = [step for step in steps if _key(step) in won and _key(step) not in stored]
    fresh = [step for step in fresh if step.after is not None]
    won -= {_key(step) for step in fresh} - _insert_conditions(connection, fresh)
    valid = [step for step in steps if _key(step) in won]
    reasons = _reasons(connection, valid)
    opened = _open_alerts(connection, _with(valid, {"opened"}), reasons, now=now)
    alert_ids = {key: row.alert_id for key, row in stored.items()} | {
        key: alert_id for key, (alert_id, _) in opened.items()
    }
    _store_conditions(connection, valid, alert_ids, known=stored.keys() | opened.keys())
    changed = _with(valid, {"escalated", "eased", "resolved"})
    events = _change_alerts(connection, changed, reasons, alert_ids, now=now)
    events |= {key: event_id for key, (_, event_id) in opened.items() if event_id is not None}
    return [
        Written(
            step,
            is_lost=_key(step) not in won,
            alert_id=alert_ids.get(_key(step)) if step.transition and _key(step) in won else None,
            event_id=events.get(_key(step)),
        )
        for step in steps
    ]


def _locked(connection: psycopg.Connection[Any], steps: Iterable[Step]) -> dict[Key, _Stored]:
    """Stored conditions of the subjects of steps, held until the transaction ends."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(load_query("alert", "lock_conditions"), _key_columns(steps))
        return {
            (row["rule"], row["subject"]): _Stored(_condition_of(row), row["alert_id"])
            for row in rows
        }


def _agrees(stored: _Stored | None, step: Step) -> bool:
    """Whether a step begins with what is stored and is not older than it."""
    if stored is None or step.before is None:
        return stored is None and step.before is None
    at = step.transition.at if step.transition is not None else None
    at = step.after.last_at if at is None and step.after is not None else at
    is_late = at is not None and at < stored.condition.last_at
    return not is_late and lasting_state(stored.condition) == lasting_state(step.before)


def _with(steps: Iterable[Step], kinds: Collection[str]) -> list[tuple[Step, Transition]]:
    """Steps with a change of one of these kinds."""
    return [
        (step, step.transition)
        for step in steps
        if step.transition is not None and step.transition.kind in kinds
    ]


def _insert_conditions(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> set[Key]:
    """Store first conditions; those that no other writer stored meanwhile."""
    if not steps:
        return set()
    rows = connection.execute(load_query("alert", "insert_conditions"), _condition_columns(steps))
    return {(row[0], row[1]) for row in rows}


def _store_conditions(
    connection: psycopg.Connection[Any],
    steps: Sequence[Step],
    alert_ids: Mapping[Key, int | None],
    *,
    known: Collection[Key],
) -> None:
    """Store or delete the rows of conditions; those that were only just made are right already."""
    over = [step for step in steps if step.after is None and step.before is not None]
    if over:
        connection.execute(load_query("alert", "delete_conditions"), _key_columns(over))
    kept = [step for step in steps if step.after is not None and _key(step) in known]
    if kept:
        firing = [
            alert_ids.get(_key(step))
            if step.after is not None and step.after.state == "firing"
            else None
            for step in kept
        ]
        connection.execute(
            load_query("alert", "update_conditions"),
            _condition_columns(kept) | {"alert_id": firing},
        )


def _open_alerts(
    connection: psycopg.Connection[Any],
    steps: Sequence[tuple[Step, Transition]],
    reasons: Mapping[Key, str],
    *,
    now: datetime,
) -> dict[Key, tuple[int, int | None]]:
    """Open alerts; alert and event of each, without an event where one was open already."""
    if not steps:
        return {}
    columns = _transition_columns(steps, reasons, now=now) | _key_columns(step for step, _ in steps)
    columns |= {
        "subject_name": [step.subject.name for step, _ in steps],
        "server_id": [step.subject.server_id for step, _ in steps],
        "organization_id": [step.subject.organization_id for step, _ in steps],
        "began_at": [transition.began_at for _, transition in steps],
    }
    rows = connection.execute(load_query("alert", "open_alerts"), columns).fetchall()
    opened: dict[Key, tuple[int, int | None]] = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    missing = [step for step, _ in steps if _key(step) not in opened]
    if missing:
        found = connection.execute(
            load_query("alert", "select_open_alerts"), _key_columns(missing)
        ).fetchall()
        opened |= {(row[0], row[1]): (row[2], None) for row in found}
    return opened


def _change_alerts(
    connection: psycopg.Connection[Any],
    steps: Sequence[tuple[Step, Transition]],
    reasons: Mapping[Key, str],
    alert_ids: Mapping[Key, int | None],
    *,
    now: datetime,
) -> dict[Key, int]:
    """Make alerts worse, better or resolved; the event of each."""
    open_ones = [pair for pair in steps if alert_ids.get(_key(pair[0])) is not None]
    if not open_ones:
        return {}
    keys = {cast(int, alert_ids[_key(step)]): _key(step) for step, _ in open_ones}
    rows = connection.execute(
        load_query("alert", "change_alerts"),
        _transition_columns(open_ones, reasons, now=now) | {"alert_id": list(keys)},
    ).fetchall()
    return {keys[row[0]]: row[1] for row in rows}


def _reasons(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> dict[Key, str]:
    """The sentence of each change; made from level and value where it has none."""
    found = [(_key(step), step.transition) for step in steps if step.transition is not None]
    if all(transition.reason for _, transition in found):
        return {key: transition.reason for key, transition in found}
    rows = connection.execute(load_query("alert", "select_units")).fetchall()
    units = {row[0]: (row[1], row[2]) for row in rows}
    reasons = {}
    for key, transition in found:
        unit, direction = units.get(transition.rule, ("", "above"))
        reasons[key] = transition.reason or words_of(transition, unit, direction=direction)
    return reasons


def _key_columns(steps: Iterable[Step]) -> dict[str, Any]:
    """Rule and subject of steps, one array each."""
    keys = [_key(step) for step in steps]
    return {"rule": [rule for rule, _ in keys], "subject": [subject for _, subject in keys]}


def _condition_columns(steps: Sequence[Step]) -> dict[str, Any]:
    """Conditions after steps, one array each column; an array cannot hold arrays of any length."""
    states = [step.after for step in steps if step.after is not None]
    return (
        _key_columns(steps)
        | {
            name: array_parameter([getattr(state, name) for state in states])
            for name in _STATE_COLUMNS
        }
        | {
            "server_id": [step.subject.server_id for step in steps],
            "organization_id": [step.subject.organization_id for step in steps],
            "openings": [
                f"{{{','.join(opening.isoformat() for opening in state.openings)}}}"
                for state in states
            ],
        }
    )


def _transition_columns(
    steps: Sequence[tuple[Step, Transition]], reasons: Mapping[Key, str], *, now: datetime
) -> dict[str, Any]:
    """Changes of alerts, one array each column."""
    transitions = [transition for _, transition in steps]
    return {
        "now": now,
        "kind": [transition.kind for transition in transitions],
        "at": [transition.at for transition in transitions],
        "level": [transition.level for transition in transitions],
        "severity": [transition.severity for transition in transitions],
        "trigger_value": [transition.trigger for transition in transitions],
        "value": [transition.value for transition in transitions],
        "peak_value": [transition.peak_value for transition in transitions],
        "message": [reasons[_key(step)] for step, _ in steps],
        "details": [Json(dict(transition.details)) for transition in transitions],
        "due_at": [now + settle_time(transition.rule) for transition in transitions],
    }


def settle_time(rule: str) -> timedelta:
    """How long a change of this rule waits before it is decided who is told."""
    return SETTLE_OF_RULE.get(rule, SETTLE)


def _condition_of(row: Mapping[str, Any]) -> Condition:
    """A condition as it is stored."""
    return Condition(
        **{name: row[name] for name in _STATE_COLUMNS}, openings=tuple(row["openings"])
    )


# People


@dataclass(frozen=True, slots=True)
class _Act:
    """What a person does: the state afterwards, the kind of the event, and its message."""

    state: str
    kind: str
    message: str


def _change_by_person(
    connection: psycopg.Connection[Any],
    alert_id: int,
    act: _Act,
    *,
    actor: str,
    now: datetime,
    note: str,
) -> AlertHead:
    """Change an alert that is not over."""
    with connection.transaction():
        connection.execute(load_query("alert", "lock_condition_of_alert"), {"alert_id": alert_id})
        with connection.cursor(row_factory=class_row(AlertHead)) as cursor:
            head = cursor.execute(
                load_query("alert", "lock_alert"), {"alert_id": alert_id}
            ).fetchone()
        if head is None:
            raise _unknown(alert_id)
        if head.resolved_at is not None:
            msg = (
                f"Alert {alert_id} ({head.rule}, {head.subject_name}) can not be changed: it was "
                f"resolved at {head.resolved_at:%Y-%m-%d %H:%M:%S} UTC by {head.resolved_by}. A "
                "note can still be added."
            )
            raise AlertOver(msg)
        if not note and _is_done(head, act, actor):
            return head
        if act.state == "resolved":
            connection.execute(
                load_query("alert", "dismiss_condition"),
                {"rule": head.rule, "subject": head.subject},
            )
        connection.execute(
            load_query("alert", "update_alert_by_person"),
            {
                "alert_id": alert_id,
                "state": act.state,
                "kind": act.kind,
                "actor": actor,
                "message": f"{act.message}: {note}" if note else act.message,
                "now": now,
                "due_at": now + settle_time(head.rule),
            },
        )
    return head


def _is_done(head: AlertHead, act: _Act, actor: str) -> bool:
    """Whether the alert is already as the person wants it."""
    if act.state == "acknowledged":
        return head.acknowledged_by == actor and head.state == "acknowledged"
    return head.state == act.state


def _unknown(alert_id: int) -> AlertUnknown:
    """The error for a number that no alert has."""
    msg = f"There is no alert {alert_id}. See their numbers with `resmon alert list`."
    return AlertUnknown(msg)
