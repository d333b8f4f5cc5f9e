"""Conditions, alerts and the outbox as stored, on a real database."""

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from resmon_resources.alert_records import Step, Subject
from resmon_resources.alert_store import (
    SETTLE,
    Written,
    acknowledge,
    forget_old_conditions,
    note,
    read_conditions,
    resolve,
    settle_time,
    unacknowledge,
    write_steps,
)
from resmon_resources.errors import AlertOver, AlertUnknown
from resmon_resources.postgres import PostgresResource
from tests.integration.alert.fleet import CPU_HIGH, START, add_servers, judge

NOW = START + timedelta(hours=1)


def write(connection: psycopg.Connection[Any], *steps: Step) -> list[Written]:
    with connection.transaction():
        return write_steps(connection, steps, now=NOW)


def rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def open_one(connection: psycopg.Connection[Any], subject: Subject) -> tuple[Step, int]:
    """An alert that is open; the step that opened it, and its number."""
    pending = judge(subject, None, seconds=0, value=91.0)
    opened = judge(subject, pending.after, seconds=60, value=92.0)
    written = write(connection, pending, opened)[1]
    assert written.alert_id is not None
    return opened, written.alert_id


def test_a_life_of_an_alert_is_kept_with_every_change(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: a change without its event, an end that is not announced."""
    [subject] = add_servers(postgres_connection, 1)
    state, steps = None, []
    for seconds, value in [(0, 91), (60, 99), (120, 99), (180, 92), (240, 92), (300, 5), (360, 5)]:
        steps.append(judge(subject, state, seconds=seconds, value=float(value)))
        state = steps[-1].after
    for one in steps:
        [written] = write(postgres_connection, one)
        assert not written.is_lost
        assert (written.event_id is None) == (one.transition is None)
    assert rows(
        postgres_connection,
        "select kind, value, severity, actor, extract(epoch from at - opened_at)::int "
        "from alert.alert_events join alert.alerts using (alert_id) order by event_id".replace(
            "severity", "alert_events.severity"
        ).replace(" value", " alert_events.value"),
    ) == [
        ("opened", 99.0, "warning", "condition", 0),
        ("escalated", 99.0, "critical", "condition", 60),
        ("eased", 92.0, "warning", "condition", 180),
        ("resolved", 5.0, "warning", "condition", 300),
    ]
    assert rows(
        postgres_connection,
        "select kind, outbox.written_at, due_at from alert.outbox "
        "join alert.alert_events using (event_id) order by event_id",
    ) == [(kind, NOW, NOW + SETTLE) for kind in ("opened", "escalated", "resolved")]
    assert rows(
        postgres_connection,
        "select state, severity, resolved_by, peak_value, began_at, reason from alert.alerts",
    ) == [
        (
            "resolved",
            "warning",
            "condition",
            99.0,
            START,
            "CPU of web-1 is at or above 98 % by now (now 99 %), 2 minutes after it began",
        )
    ]
    [(_, condition)] = read_conditions(postgres_connection, ["cpu_high"]).items()
    assert condition == state


def test_steps_of_one_subject_in_one_call_follow_each_other(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: a spool that is drained and leaves only the last of what happened."""
    [subject] = add_servers(postgres_connection, 1)
    state, steps = None, []
    for seconds, value in [(0, 91), (60, 91), (120, 5), (180, 5), (240, 91), (300, 91)]:
        steps.append(judge(subject, state, seconds=seconds, value=float(value)))
        state = steps[-1].after
    written = write(postgres_connection, *steps)
    assert [one.step for one in written] == steps
    kinds = rows(postgres_connection, "select kind from alert.alert_events order by event_id")
    assert kinds == [("opened",), ("resolved",), ("opened",)]
    states = rows(postgres_connection, "select state from alert.alerts order by alert_id")
    assert states == [("resolved",), ("open",)]


def test_a_step_that_began_with_another_condition_changes_nothing(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: two judges that open the same alert one after the other."""
    [subject] = add_servers(postgres_connection, 1)
    opened, _ = open_one(postgres_connection, subject)
    again = write(postgres_connection, opened)
    assert [one.is_lost for one in again] == [True]
    fresh = judge(subject, None, seconds=90, value=95.0)
    follower = judge(subject, fresh.after, seconds=150, value=95.0)
    assert [one.is_lost for one in write(postgres_connection, fresh, follower)] == [True, True]
    assert rows(postgres_connection, "select count(*) from alert.alert_events") == [(1,)]


def test_a_step_older_than_what_is_stored_is_lost(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: a late value that sets a condition back in time."""
    [subject] = add_servers(postgres_connection, 1)
    opened, _ = open_one(postgres_connection, subject)
    newer = judge(subject, opened.after, seconds=600, value=93.0)
    older = judge(subject, opened.after, seconds=120, value=94.0)
    assert [one.is_lost for one in write(postgres_connection, newer)] == [False]
    assert [one.is_lost for one in write(postgres_connection, older)] == [True]
    [condition] = read_conditions(postgres_connection, ["cpu_high"]).values()
    assert (condition.last_value, condition.peak_value) == (93.0, 93.0)
    assert rows(postgres_connection, "select peak_value from alert.alerts") == [(93.0,)]


def test_an_alert_whose_condition_was_deleted_is_taken_over(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: a condition that can never be stored, because its alert is open already."""
    [subject] = add_servers(postgres_connection, 1)
    opened, alert_id = open_one(postgres_connection, subject)
    postgres_connection.execute("delete from alert.conditions")
    assert opened.before is not None
    [pending] = write(postgres_connection, replace(opened, before=None, after=opened.before))[:1]
    [written] = write(postgres_connection, opened)
    assert (pending.is_lost, written.is_lost) == (False, False)
    assert (written.alert_id, written.event_id) == (alert_id, None)
    assert rows(postgres_connection, "select alert_id from alert.conditions") == [(alert_id,)]


def test_two_judges_at_once_open_one_alert(postgres: PostgresResource) -> None:
    """Would let back: two collectors at a handover that both tell of the same thing."""
    with postgres.connect(autocommit=True) as connection:
        subjects = add_servers(connection, 20)
    firsts = [judge(subject, None, seconds=0, value=99.0, rule=AT_ONCE) for subject in subjects]
    barrier = threading.Barrier(4)
    results: list[list[Written]] = []

    def race(order: int) -> None:
        with postgres.connect(autocommit=True) as connection:
            barrier.wait(60)
            with connection.transaction():
                results.append(write_steps(connection, firsts[::order], now=NOW))

    racers = [threading.Thread(target=race, args=(order,)) for order in (1, -1, 1, -1)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert len(results) == 4
    won = [one.step.subject.key for result in results for one in result if not one.is_lost]
    assert sorted(won) == sorted(subject.key for subject in subjects)
    with postgres.connect() as connection:
        assert rows(connection, "select count(*), count(distinct subject) from alert.alerts") == [
            (20, 20)
        ]
        assert rows(connection, "select count(*) from alert.conditions where alert_id is null") == [
            (0,)
        ]


AT_ONCE = replace(CPU_HIGH, for_seconds=0)


def test_a_whole_fleet_is_written_in_seconds(postgres_connection: psycopg.Connection[Any]) -> None:
    """Would let back: a statement for each alert, which stops the collector when a fleet goes."""
    [subject] = add_servers(postgres_connection, 1)
    subjects = [replace(subject, key=f"server:{subject.server_id} /{n}") for n in range(10_000)]
    opened = [judge(one, None, seconds=0, value=99.0, rule=AT_ONCE) for one in subjects]
    left = [judge(one.subject, one.after, seconds=30, value=5.0) for one in opened]
    resolved = [judge(one.subject, one.after, seconds=90, value=5.0) for one in left]
    begun = time.perf_counter()
    for steps in (opened, left, resolved):
        assert not any(one.is_lost for one in write(postgres_connection, *steps))
    # 2.4 s alone on two cores in November 2026; a statement each takes minutes.
    assert time.perf_counter() - begun < 30
    assert rows(postgres_connection, "select count(*) from alert.outbox") == [(20_000,)]


def test_who_resolves_by_hand_is_not_told_of_the_same_again(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: an alert that opens anew with the next sample after a person closed it."""
    [subject] = add_servers(postgres_connection, 1)
    opened, alert_id = open_one(postgres_connection, subject)
    before = resolve(postgres_connection, alert_id, actor="alice", now=NOW, note="known load")
    assert before.state == "open"
    # The judge did not know of it: what it wants to store is lost, and it reads again.
    worse = judge(subject, opened.after, seconds=120, value=99.0)
    assert write(postgres_connection, worse)[0].is_lost
    [condition] = read_conditions(postgres_connection, ["cpu_high"]).values()
    assert condition.state == "dismissed"
    same = judge(subject, condition, seconds=120, value=92.0)
    assert same.transition is None
    assert rows(
        postgres_connection,
        "select state, resolved_by, resolved_at, message from alert.alerts "
        "join alert.alert_events using (alert_id) where kind = 'resolved'",
    ) == [("resolved", "alice", NOW, "resolved by alice: known load")]
    kinds = "select kind from alert.outbox join alert.alert_events using (event_id)"
    assert rows(postgres_connection, kinds) == [("opened",), ("resolved",)]
    higher = judge(subject, condition, seconds=150, value=99.0)
    reopened = judge(subject, higher.after, seconds=210, value=99.0)
    written = write(postgres_connection, higher, reopened)[1]
    assert written.alert_id not in (None, alert_id)


def test_taking_on_and_giving_back_leave_the_condition_alone(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: an acknowledged alert whose end is not noticed."""
    [subject] = add_servers(postgres_connection, 1)
    opened, alert_id = open_one(postgres_connection, subject)
    unacknowledge(postgres_connection, alert_id, actor="bob", now=NOW)
    head = acknowledge(postgres_connection, alert_id, actor="alice", now=NOW)
    assert (head.state, head.acknowledged_by) == ("open", None)
    acknowledge(postgres_connection, alert_id, actor="alice", now=NOW)
    head = unacknowledge(postgres_connection, alert_id, actor="alice", now=NOW)
    assert (head.state, head.acknowledged_by) == ("acknowledged", "alice")
    acknowledge(postgres_connection, alert_id, actor="bob", now=NOW, note="on it")
    note(postgres_connection, alert_id, "replaced a disk", actor="bob", now=NOW)
    left = judge(subject, opened.after, seconds=90, value=5.0)
    resolved = judge(subject, left.after, seconds=150, value=5.0)
    assert not any(one.is_lost for one in write(postgres_connection, left, resolved))
    assert rows(
        postgres_connection,
        "select kind, actor, message from alert.alert_events where actor <> 'condition' "
        "order by event_id",
    ) == [
        ("acknowledged", "alice", "acknowledged by alice"),
        ("unacknowledged", "alice", "given back by alice"),
        ("acknowledged", "bob", "acknowledged by bob: on it"),
        ("noted", "bob", "replaced a disk"),
    ]
    assert rows(
        postgres_connection, "select state, acknowledged_by, resolved_by from alert.alerts"
    ) == [("resolved", "bob", "condition")]


def test_an_alert_that_is_over_or_unknown_is_refused_with_a_way_out(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: a resolved alert that somebody acknowledges into life again."""
    [subject] = add_servers(postgres_connection, 1)
    _, alert_id = open_one(postgres_connection, subject)
    resolve(postgres_connection, alert_id, actor="alice", now=NOW)
    for act in (acknowledge, unacknowledge, resolve):
        with pytest.raises(AlertOver, match="resolved at 2026-11-02 10:00:00 UTC by alice"):
            act(postgres_connection, alert_id, actor="bob", now=NOW)
        with pytest.raises(AlertUnknown, match="resmon alert list"):
            act(postgres_connection, alert_id + 1, actor="bob", now=NOW)
    with pytest.raises(AlertUnknown, match="no alert 0"):
        note(postgres_connection, 0, "?", actor="bob", now=NOW)
    assert note(postgres_connection, alert_id, "later", actor="bob", now=NOW) > 0


def test_conditions_that_are_over_are_forgotten_after_hours(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: a table that grows with every wobble that there ever was."""
    [subject] = add_servers(postgres_connection, 1)
    opened, _ = open_one(postgres_connection, subject)
    left = judge(subject, opened.after, seconds=90, value=5.0)
    write(postgres_connection, left, judge(subject, left.after, seconds=150, value=5.0))
    assert forget_old_conditions(postgres_connection, now=START + timedelta(hours=6)) == 0
    assert forget_old_conditions(postgres_connection, now=START + timedelta(hours=7)) == 1


def test_a_server_that_cannot_be_read_waits_for_its_neighbours() -> None:
    """Would let back: forty messages of one group, sent before its last server was asked."""
    assert settle_time("unreachable") > SETTLE == settle_time("cpu_high")


def test_conditions_are_read_by_rule_and_server(
    postgres_connection: psycopg.Connection[Any],
) -> None:
    """Would let back: a judge that takes over conditions of rules that are not its own."""
    first, second = add_servers(postgres_connection, 2)
    open_one(postgres_connection, first)
    open_one(postgres_connection, second)
    assert first.server_id is not None
    assert set(
        read_conditions(postgres_connection, ["cpu_high"], server_ids=[first.server_id])
    ) == {("cpu_high", first.key)}
    assert read_conditions(postgres_connection, ["memory_high"]) == {}
    assert len(read_conditions(postgres_connection, ["cpu_high"])) == 2
