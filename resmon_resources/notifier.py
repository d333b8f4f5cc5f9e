"""Sends what waits in alert.deliveries: attempts, back-off, dead letters.

Belongs here: which message is next, and what becomes of it. Who is told what was decided before
(resmon_assets/alert/planning.py); the words come from outside; how a message leaves is in
sending.py.

At least once: an attempt is counted and committed before the message leaves, and marked after the
service took it. A process that dies between the two leaves a message that is sent again, with the
same number, after the pause of its attempt.

Messages of a route keep their order. One that found no service of its route holds the later ones
back; a new message makes the route due, and the oldest is tried first.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from resmon_resources.alert_content import Compose, Content, Envelope, Message, content_of
from resmon_resources.delivery_policy import GIVE_UP_AFTER, delay_seconds, next_attempt_at
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.postgres_connection import load_query
from resmon_resources.sending import Outcome, Sender
from resmon_resources.service_urls import parse_target, read_urls, scheme_of

PARALLEL_ROUTES = 8
"""Routes that are sent to at the same time, one message each."""

_POLL_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a call of `deliver_due` did.

    Attributes:
        sent: messages (count) that every service of their route took.
        failed: attempts (count) that failed and are made again.
        dead: messages (count) that were given up.
        waiting: messages (count) that still wait.
        oldest_at: when the oldest of these was decided; None: none waits.
        problems: what a person has to mend, each once: routes, templates.
        is_busy: another process was sending, so nothing was done.
    """

    sent: int = 0
    failed: int = 0
    dead: int = 0
    waiting: int = 0
    oldest_at: datetime | None = None
    problems: tuple[str, ...] = ()
    is_busy: bool = False


@dataclass
class _UnderWay:
    """A message that is being sent."""

    number: int
    route: str
    attempt: int
    refusals: int
    give_up_at: datetime
    taken_by: set[str]
    awaited: dict[str, str] = field(default_factory=dict)  # key of the sender -> service
    errors: list[str] = field(default_factory=list)
    is_refused: bool = False


def deliver_due(
    connection: psycopg.Connection[Any],
    *,
    now: datetime,
    limit_seconds: float,
    compose: Compose,
    environment: Mapping[str, str] | None = None,
    sender: Sender | None = None,
) -> Delivered:
    """Send what is due, the oldest of each route first, several routes at the same time.

    Makes its own transactions, short ones; nothing is locked while a service is waited for.

    Args:
        connection: not in a transaction.
        now: aware UTC; instants are counted on from it by the time that passes.
        limit_seconds: after it no other message is begun; those under way take 15 s at most.
        compose: makes the words.
        environment: where `env:` targets are read; None: of this process.
        sender: one that is kept for several calls, without jobs under way; None: one of this call.

    Raises:
        ValueError: the connection is in a transaction.
        SendingFailed: the process that sends does not start; nothing was lost.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        msg = "deliver_due makes its own transactions; give it a connection that is in none"
        raise ValueError(msg)
    if not _one(connection, "lock_deliveries", {})[0]:
        return Delivered(is_busy=True)
    try:
        with nullcontext(sender) if sender is not None else Sender() as used:
            run = _Run(connection, used, now, compose, environment)
            return run.all_due(limit_seconds=limit_seconds)
    finally:
        if not connection.broken:
            _one(connection, "unlock_deliveries", {})


class _Run:
    """One call of `deliver_due`."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        sender: Sender,
        now: datetime,
        compose: Compose,
        environment: Mapping[str, str] | None,
    ) -> None:
        self._connection = connection
        self._sender = sender
        self._start = now
        self._began = time.monotonic()
        self._compose = compose
        self._environment = os.environ if environment is None else environment
        self._under_way: dict[str, _UnderWay] = {}
        self._done = Delivered()

    def _now(self) -> datetime:
        """The given instant, and what has passed since."""
        return self._start + timedelta(seconds=time.monotonic() - self._began)

    def all_due(self, *, limit_seconds: float) -> Delivered:
        """Begin and await messages until none is due or the time is over."""
        self._bury()
        while True:
            if time.monotonic() - self._began < limit_seconds:
                self._begin_more()
            if not self._under_way:
                break
            for outcome in self._sender.outcomes(wait_seconds=_POLL_SECONDS):
                self._take(outcome)
        count, oldest = _one(self._connection, "count_waiting_deliveries", {})
        return replace(self._done, waiting=count, oldest_at=oldest)

    def _bury(self) -> None:
        """Give up what waited a day for a route that is switched off."""
        now = self._now()
        with self._connection.transaction():
            values = {"now": now, "created_before": now - GIVE_UP_AFTER}
            found = self._connection.execute(load_query("alert", "bury_deliveries"), values)
            for number, route in found.fetchall():
                self._tell(number, route, "the route is switched off", now)
                self._count(dead=1)

    def _begin_more(self) -> None:
        """Begin the next message of each route that has one due and none under way."""
        while len(self._under_way) < PARALLEL_ROUTES:
            with self._connection.transaction():
                values = {"now": self._now(), "busy": list(self._under_way)}
                cursor = self._connection.cursor(row_factory=dict_row)
                rows = cursor.execute(load_query("alert", "select_next_deliveries"), values)
                found = sorted(rows.fetchall(), key=lambda row: row["delivery_id"])
            if not found:
                return
            for row in found[: PARALLEL_ROUTES - len(self._under_way)]:
                self._begin(row)

    def _begin(self, row: Mapping[str, Any]) -> None:
        """Count the attempt, make the words, and hand them to the sender."""
        number, now = row["delivery_id"], self._now()
        attempt = row["attempt_count"] + 1
        pause = timedelta(seconds=delay_seconds(attempt, number=number))
        begun = _one(
            self._connection,
            "begin_delivery",
            {
                "delivery_id": number,
                "next_attempt_at": now + pause,
                "give_up_at": now + GIVE_UP_AFTER,
            },
        )
        if not begun:  # a person dropped it, or the route with it, at this moment
            return
        message = _UnderWay(
            number, row["route"], attempt, row["refusal_count"], begun[0], set(row["taken_by"])
        )
        try:
            urls = read_urls(parse_target(row["target"]), self._environment)
        except ConfigurationInvalid as error:
            message.errors.append(str(error))
            self._problem(f"Route {row['route']}: {error}")
            self._settle(message)
            return
        self._submit(message, urls, self._words(row, now))

    def _words(self, row: Mapping[str, Any], now: datetime) -> Message:
        """The message; of a content that cannot be read at least that there was one."""
        try:
            content = content_of(row["content"])
        except (TypeError, ValueError, AttributeError) as error:
            self._problem(f"Message {row['delivery_id']} cannot be read: {error}")
            content = Content(
                kind="digest",
                decided_at=now,
                remarks=("What this message told cannot be read. See: resmon alert list",),
            )
        made = self._compose(
            Envelope(row["delivery_id"], row["route"], row["template"], content, now)
        )
        for problem in made.problems:
            self._problem(problem)
        return made

    def _submit(self, message: _UnderWay, urls: Sequence[str], words: Message) -> None:
        """Hand it to those services that have not taken it yet."""
        for place, url in enumerate(urls, 1):
            service = f"{place} {scheme_of(url)}"
            if service not in message.taken_by:
                key = f"{message.number}/{service}"
                message.awaited[key] = service
                self._sender.submit(key, url, words)
        if message.awaited:
            self._under_way[message.route] = message
        else:
            self._settle(message)

    def _take(self, outcome: Outcome) -> None:
        """Note what one service did; settle the message when it was the last."""
        for message in list(self._under_way.values()):
            service = message.awaited.pop(outcome.key, None)
            if service is None:
                continue
            if outcome.error is None:
                message.taken_by.add(service)
            else:
                message.errors.append(f"URL {service}: {outcome.error}")
                message.is_refused = message.is_refused or outcome.is_permanent
            if not message.awaited:
                del self._under_way[message.route]
                self._settle(message)

    def _settle(self, message: _UnderWay) -> None:
        """Write what came of an attempt."""
        now = self._now()
        values = {"delivery_id": message.number, "now": now, "taken_by": sorted(message.taken_by)}
        with self._connection.transaction():
            if not message.errors:
                self._connection.execute(load_query("alert", "mark_delivery_sent"), values)
                self._connection.execute(
                    load_query("alert", "release_route"), {"route": message.route, "now": now}
                )
                self._count(sent=1)
                return
            self._put_off(message, values, now)

    def _put_off(self, message: _UnderWay, values: Mapping[str, Any], now: datetime) -> None:
        """Write a failure, in the caller's transaction."""
        refusals = message.refusals + 1 if message.is_refused else 0
        until = next_attempt_at(
            now,
            attempt=message.attempt,
            refusals=refusals,
            give_up_at=message.give_up_at,
            number=message.number,
        )
        is_held = not message.is_refused and not message.taken_by
        error = " ".join(sorted(message.errors))
        failure = {
            "next_attempt_at": until,
            "error": error,
            "is_permanent": message.is_refused,
            "holds_route": is_held,
        }
        found = self._connection.execute(
            load_query("alert", "mark_delivery_failed"), {**values, **failure}
        )
        if not found.fetchone():  # dropped meanwhile
            return
        logger.warning("Message %s to route %s: %s", message.number, message.route, error)
        if until is None:
            told = f"given up after {message.attempt} attempts: {error}"
            self._tell(message.number, message.route, told, now)
            self._problem(f"Message {message.number} to route {message.route} was {told}")
            self._count(dead=1)
            return
        self._count(failed=1)
        if is_held:
            hold = {"route": message.route, "until": until}
            self._connection.execute(load_query("alert", "hold_route"), hold)

    def _tell(self, number: int, route: str, told: str, now: datetime) -> None:
        """The history of its alerts: the message was given up."""
        values = {
            "delivery_id": number,
            "now": now,
            "message": f"Message {number} to route {route}: {told}",
        }
        self._connection.execute(load_query("alert", "insert_failed_events"), values)

    def _count(self, *, sent: int = 0, failed: int = 0, dead: int = 0) -> None:
        """Add to what was done."""
        done = self._done
        self._done = replace(
            done, sent=done.sent + sent, failed=done.failed + failed, dead=done.dead + dead
        )

    def _problem(self, text: str) -> None:
        """Remember what a person has to mend."""
        if text not in self._done.problems:
            self._done = replace(self._done, problems=(*self._done.problems, text))


def _one(
    connection: psycopg.Connection[Any], query: str, values: Mapping[str, Any]
) -> tuple[Any, ...]:
    """First row of a query of stage alert, in a transaction of its own; empty: there is none."""
    with connection.transaction():
        row = connection.execute(load_query("alert", query), values).fetchone()
    return () if row is None else tuple(row)
