"""What assets and the supervision see, judged and stored in their own transaction.

Belongs here: from observations to stored steps: which rule holds for a subject, what is known of
it, and which subjects are over. How a value is judged is in `alerting.py`; where values come from
is the business of whoever calls.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import psycopg

from resmon_assets.alerting import is_worth_storing, over, step
from resmon_resources.alert_records import Condition, Observation, Rule, Step, Subject
from resmon_resources.alert_rules import RuleBook, read_rule_book
from resmon_resources.alert_store import Written, read_conditions, write_steps
from resmon_resources.postgres_connection import load_query

ATTEMPTS = 3
"""How often a subject is judged when others change its condition at the same time."""

GONE = "it is not there any more, or nothing speaks of it now"
SWITCHED_OFF = "the rule is switched off"

Known = Mapping[str, Condition]
"""What a rule knows, by key of the subject."""


def observe(
    connection: psycopg.Connection,
    rule_name: str,
    observations: Iterable[Observation],
    *,
    now: datetime,
    is_complete: bool = False,
    gone: str = GONE,
) -> list[Written]:
    """Judge values by a rule and store what follows, in the caller's transaction.

    A value holds until the next one, however long that takes: assets tell theirs once an hour or a
    day. Repeatable: a value that is not newer than the last one changes nothing.

    Args:
        connection: in a transaction; what others changed before is seen in it.
        rule_name: of the rule.
        observations: at most one for each subject; an unknown value (None) leaves its subject as
            it is.
        now: aware UTC: when it is written, and when subjects without an observation are over.
        is_complete: whether these are all subjects of the rule: those of which something is known
            and that have no observation are over.
        gone: why a subject without an observation is over, in words.

    Returns:
        What became of the steps that were worth storing.
    """
    wanted = {one.subject.key: one for one in observations}
    known = _known(connection, rule_name)
    if not wanted and not known:
        return []
    book = read_rule_book(connection)
    tags = _tags(connection, [one.subject for one in wanted.values()])
    stored: list[Written] = []
    for _ in range(ATTEMPTS):
        steps = judged(
            wanted,
            known,
            rule_of=lambda subject: _rule_of(book, rule_name, subject, tags),
            now=now,
            is_complete=is_complete,
            gone=gone,
        )
        written = write_steps(connection, steps, now=now)
        stored += [one for one in written if not one.is_lost]
        lost = {one.step.subject.key for one in written if one.is_lost}
        if not lost:
            break
        wanted = {key: one for key, one in wanted.items() if key in lost}
        known = {k: c for k, c in _known(connection, rule_name).items() if k in lost}
    return stored


def judged(
    wanted: Mapping[str, Observation],
    known: Known,
    *,
    rule_of: Callable[[Subject], Rule],
    now: datetime,
    is_complete: bool,
    gone: str = GONE,
) -> list[Step]:
    """The steps that are worth storing, sorted by subject.

    Args:
        wanted: values by key of the subject.
        known: what the rule knows.
        rule_of: the rule as it holds for a subject.
        now: when subjects without a value are over, aware UTC.
        is_complete: whether they are.
        gone: why, in words.
    """
    steps = [_judge(rule_of(one.subject), known.get(key), one) for key, one in wanted.items()]
    if is_complete:
        for key in known.keys() - wanted.keys():
            if known[key].state == "clear":
                continue
            subject = subject_of(key)
            ended = Observation(subject, now, None, reason=gone)
            steps.append(over(rule_of(subject), known[key], ended))
    worth = [one for one in steps if is_worth_storing(one) or _has_new_peak(one)]
    return sorted(worth, key=lambda one: one.subject.key)


def subject_of(key: str) -> Subject:
    """A subject of which only the key is left; its name is that of its alert, if there is one."""
    kind, _, rest = key.partition(":")
    number = rest.partition(" ")[0]
    identity = int(number) if number.isdecimal() else None
    return Subject(
        key,
        key,
        server_id=identity if kind == "server" else None,
        organization_id=identity if kind == "organization" else None,
    )


def _judge(rule: Rule, before: Condition | None, observation: Observation) -> Step:
    """One value by one rule; a rule that is switched off ends what it knows."""
    if rule.is_enabled:
        # A value of an asset holds until the next one, however long that takes.
        return step(rule, before, observation, longest_gap=timedelta.max)
    if before is None or before.state == "clear":
        return Step(rule.name, observation.subject, before, before)
    return over(rule, before, Observation(observation.subject, observation.at, None, SWITCHED_OFF))


def _has_new_peak(result: Step) -> bool:
    """Whether a stretch that goes on has reached a worse value."""
    before, after = result.before, result.after
    return before is not None and after is not None and before.peak_value != after.peak_value


def _known(connection: psycopg.Connection, rule_name: str) -> dict[str, Condition]:
    """What a rule knows, by key of the subject."""
    return {key: found for (_, key), found in read_conditions(connection, [rule_name]).items()}


def _rule_of(
    book: RuleBook, name: str, subject: Subject, tags: Mapping[int, Sequence[str]]
) -> Rule:
    """The rule as it holds for a subject."""
    server_id = subject.server_id
    return book.rule_for(
        name,
        server_id=server_id,
        organization_path=book.path_of(subject.organization_id),
        tags=() if server_id is None else tags.get(server_id, ()),
    )


def _tags(
    connection: psycopg.Connection, subjects: Collection[Subject]
) -> dict[int, Sequence[str]]:
    """Tags of the servers of some subjects."""
    ids = sorted({one.server_id for one in subjects if one.server_id is not None})
    if not ids:
        return {}
    rows = connection.execute(load_query("alert", "select_tags"), {"server_ids": ids})
    return {server_id: tuple(tags) for server_id, tags in rows}
