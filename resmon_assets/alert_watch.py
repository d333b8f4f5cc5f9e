"""The collector's part of alerts: a batch becomes steps, in the transaction that stores it.

Belongs here: what is kept in memory between two batches (rules of each server, conditions, when a
server was last seen), and how that stays equal to what is stored when others write too. What a
sample means is in alert_values.py, how a value is judged in alerting.py, the statements are in
alert_store.py.

Memory moves on only after the commit. What others did meanwhile (another collector at a handover, a
person, a commit of which the end was not seen) shows at the latest when a step is stored: it is
lost then, the condition is read again in the same transaction and judged again.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import inf
from operator import attrgetter
from typing import Any

import psycopg

from resmon_assets import alert_values as values
from resmon_assets.alert_values import NEVER_SEEN, SAMPLE_RULES, Seen
from resmon_assets.alerting import LONGEST_GAP, is_worth_storing, over, step
from resmon_resources.alert_records import (
    Condition,
    Observation,
    Rule,
    Step,
    Subject,
    lasting_state,
)
from resmon_resources.alert_rules import RuleBook, read_rule_book, rules_fingerprint
from resmon_resources.alert_store import (
    Key,
    forget_old_conditions,
    read_conditions,
    write_steps,
)
from resmon_resources.inventory import Server
from resmon_resources.postgres_connection import load_query
from resmon_resources.sample_store import Failure, FileSystemUsage, NewRows, Sample

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a server is judged when others change its conditions at the same time."""
KEEP_UP_EVERY = timedelta(seconds=60)
"""How old the stored last value of a pending condition may be: below LONGEST_GAP, so that who reads
it after a restart goes on with it."""
KEEP_UP_FIRING_EVERY = timedelta(minutes=10)
"""The same of an open alert: for a person who looks at it."""
FORGET_EVERY = timedelta(hours=1)
FEW_SERVERS = 100
MANY_CONDITIONS = 1_000
READ_MANY_EVERY = timedelta(seconds=60)
"""When so much is wrong at once, what others did is read more seldom: ten thousand conditions take
a collector a fifth of a second. A step that is stored finds out by itself."""

NOT_STORED = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.LockNotAvailable)
"""Errors of alerts that leave their samples alone: a value that cannot be stored, or a row that
somebody holds for longer than a collector waits."""

NOT_COLLECTED = "{name} is not collected any more"
SWITCHED_OFF = "the rule {rule} is switched off for {name}"
NOT_MOUNTED = "{name} is not mounted any more"


@dataclass(frozen=True, slots=True)
class _Known:
    """A condition, and the instant of the value that is stored with it."""

    condition: Condition
    stored_at: datetime


@dataclass(slots=True)
class _Watched:
    """A server with the rules that hold for it.

    Attributes:
        server: as in the inventory.
        subject: what its alerts are about.
        rules: by name, those that are switched on.
        cpu: lowest level of cpu_high, percent; infinite when that is off.
        memory: of memory_high.
        disk: of disk_high.
        mount: of file_system_high.
    """

    server: Server
    subject: Subject
    rules: dict[str, Rule]
    cpu: float
    memory: float
    disk: float
    mount: float


@dataclass(slots=True)
class _Outcome:
    """What a batch, or the part of it that belongs to some servers, comes to.

    Attributes:
        calm: newest sample of each server that is well, or was until another one of the batch.
        newest: newest sample of each server that was judged.
        seen: what is remembered of each other server afterwards.
        known: conditions afterwards of the subjects that were judged; None: nothing.
        steps: all steps, of one subject oldest first.
    """

    calm: dict[int, Sample] = field(default_factory=dict)
    newest: dict[int, Sample] = field(default_factory=dict)
    seen: dict[int, Seen] = field(default_factory=dict)
    known: dict[Key, _Known | None] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def take(self, other: "_Outcome") -> None:
        """Take over what another one says of its servers and subjects."""
        self.newest |= other.newest
        self.seen |= other.seen
        self.known |= other.known


@dataclass(slots=True)
class _Batch:
    """Rows of one server that came together.

    Attributes:
        items: samples and failures.
        mounts: file systems.
        failures_before: failures in a row before this batch, as they are stored; None: memory
            tells them.
    """

    items: list[Sample | Failure] = field(default_factory=list)
    mounts: list[FileSystemUsage] = field(default_factory=list)
    failures_before: int | None = None


class AlertWatch:
    """Judges what a collector stores; one per collector. Not for several threads."""

    def __init__(self) -> None:
        """Know nothing; `follow` comes first."""
        self._book: RuleBook | None = None
        self._fingerprint: tuple[int, int] | None = None
        self._listed: Sequence[Server] | None = None
        self._servers: dict[int, Server] = {}
        self._watched: dict[int, _Watched] = {}
        self._seen: dict[int, Seen] = {}
        # Newest sample of servers that were well with it; `_seen` may be older.
        self._calm: dict[int, Sample] = {}
        self._known: dict[int, dict[Key, _Known]] = {}
        # Servers of which a rule knows something that is not over.
        self._active: set[int] = set()
        self._next_read: datetime | None = None
        self._next_forget: datetime | None = None

    # What holds

    def follow(
        self, connection: psycopg.Connection[Any], servers: Sequence[Server], *, now: datetime
    ) -> None:
        """Take over rules, servers and conditions as they are stored now.

        What cannot be judged any more is over: of servers that are not collected, and of rules that
        are switched off.

        Args:
            connection: any open connection; transactions are made here.
            servers: those that are collected; the same list again when nothing changed.
            now: present moment, aware UTC.
        """
        with connection.transaction():
            self._follow_rules(connection, servers)
            if self._next_read is None or now >= self._next_read:
                # Of a large fleet all: its ids would cost more than the rows.
                few = self._servers if len(self._servers) < FEW_SERVERS else None
                conditions = read_conditions(connection, SAMPLE_RULES, server_ids=few)
                self._follow_conditions(conditions)
                is_much = len(conditions) > MANY_CONDITIONS
                self._next_read = now + READ_MANY_EVERY if is_much else now
        try:
            with connection.transaction():
                self._end_what_is_left(connection, now=now)
                if self._next_forget is None or now >= self._next_forget:
                    forget_old_conditions(connection, now=now)
                    self._next_forget = now + FORGET_EVERY
        except NOT_STORED as error:
            logger.warning("alerts that are over were not ended, it is tried again: %s", error)
            self._next_read = None

    def _follow_rules(self, connection: psycopg.Connection[Any], servers: Sequence[Server]) -> None:
        """Rules and servers; what is remembered of servers that are new here is read."""
        fingerprint = rules_fingerprint(connection)
        if fingerprint != self._fingerprint:
            self._book = read_rule_book(connection)
            self._watched = {}
        if servers is not self._listed:
            self._next_read = None
            self._servers = {server.server_id: server for server in servers}
            self._watched = {}
            for number in self._seen.keys() - self._servers.keys():
                del self._seen[number]
                self._calm.pop(number, None)
            new = sorted(self._servers.keys() - self._seen.keys())
            rows = connection.execute(load_query("alert", "select_last_seen"), {"server_ids": new})
            self._seen |= dict.fromkeys(new, NEVER_SEEN) | {
                row[0]: Seen(row[1], None if row[3] is None else row[2], row[3], failures=row[4])
                for row in rows
            }
        # Last, so that a connection that breaks above leaves all of it to be read again.
        self._fingerprint, self._listed = fingerprint, servers

    def _follow_conditions(self, conditions: Mapping[Key, Condition]) -> None:
        """Conditions as stored; where they say the same as memory, memory has newer values."""
        known: dict[int, dict[Key, _Known]] = {}
        for key, stored in conditions.items():
            server_id = values.server_id_of(key[1])
            if server_id not in self._servers:
                continue
            mine = self._known.get(server_id, {}).get(key)
            newest = stored if mine is None else _newest(mine.condition, stored)
            known.setdefault(server_id, {})[key] = _Known(newest, stored.last_at)
        self._known = known
        self._active = {number for number, found in known.items() if _is_active(found)}

    def _end_what_is_left(self, connection: psycopg.Connection[Any], *, now: datetime) -> None:
        """End alerts of servers that are not collected, and of rules that are off for theirs."""
        steps = self._steps_of_left(connection, now=now)
        for server_id in self._active:
            watched = self._watch(server_id)
            if watched is None:
                continue
            for key, found in self._known[server_id].items():
                if key[0] not in watched.rules and found.condition.state != "clear":
                    rule = self._rule(key[0], watched.server)
                    subject = _subject(watched.subject, key[1])
                    steps.append(
                        _ended(rule, found.condition, subject, reason=SWITCHED_OFF, at=now)
                    )
        if not steps:
            return
        lost = {_key(one.step) for one in write_steps(connection, steps, now=now) if one.is_lost}
        for one in steps:
            number = one.subject.server_id
            if number is not None and number in self._servers and _key(one) not in lost:
                self._put(number, _key(one), _known_after(one))

    def _steps_of_left(self, connection: psycopg.Connection[Any], *, now: datetime) -> list[Step]:
        """Ends of what is known of servers that are not collected any more."""
        rows = connection.execute(
            load_query("alert", "select_left_conditions"), {"rules": list(SAMPLE_RULES)}
        ).fetchall()
        if not rows or self._book is None:
            return []
        conditions = read_conditions(
            connection, SAMPLE_RULES, server_ids={server_id for _, _, server_id, _, _ in rows}
        )
        steps = []
        for rule, key, server_id, organization_id, name in rows:
            before = conditions.get((rule, key))
            if before is not None:
                subject = _subject(Subject(key, name, server_id, organization_id), key)
                shipped = self._book.shipped(rule).rule
                steps.append(_ended(shipped, before, subject, reason=NOT_COLLECTED, at=now))
        return steps

    def _watch(self, server_id: int) -> _Watched | None:
        """A server with its rules; None: it is not collected."""
        found = self._watched.get(server_id)
        if found is not None:
            return found
        server = self._servers.get(server_id)
        if server is None:
            return None
        all_rules = {name: self._rule(name, server) for name in SAMPLE_RULES}
        rules = {name: rule for name, rule in all_rules.items() if rule.is_enabled}
        lowest = {name: rule.levels[0].trigger for name, rule in rules.items()}
        found = _Watched(
            server,
            values.subject_of(server),
            rules,
            cpu=lowest.get(values.CPU, inf),
            memory=lowest.get(values.MEMORY, inf),
            disk=lowest.get(values.DISK, inf),
            mount=lowest.get(values.FILE_SYSTEM, inf),
        )
        self._watched[server_id] = found
        return found

    def _rule(self, name: str, server: Server) -> Rule:
        """A rule as it holds for a server."""
        if self._book is None:
            msg = "AlertWatch.judge was called before AlertWatch.follow"
            raise RuntimeError(msg)
        return self._book.rule_for(
            name,
            server_id=server.server_id,
            organization_path=self._book.path_of(server.organization_id),
            tags=server.tags,
        )

    # Judging

    def judge(
        self,
        connection: psycopg.Connection[Any],
        new: NewRows,
        *,
        now: datetime,
        is_part: bool = False,
    ) -> Callable[[], None]:
        """Judge what a transaction stores, and store what follows in it.

        Args:
            connection: in that transaction.
            new: rows that it stored and that were not there before.
            now: present moment, aware UTC.
            is_part: these are not all rows of their instants: a mount that is not among them may
                be there all the same.

        Returns:
            What is to be called when the transaction was committed, and only then.
        """
        outcome = _Outcome()
        suspects = self._suspects(new, outcome.calm)
        known: Mapping[int, Mapping[Key, _Known]] = self._known
        if failing := self._stored_of_failing(connection, suspects):
            known = self._known | failing
        self._judge_servers(suspects, known, outcome, is_part=is_part)
        stored = self._worth_storing(outcome)
        if stored:
            try:
                # A savepoint: what is wrong with an alert must not keep a sample from its table.
                with connection.transaction():
                    self._store(connection, suspects, outcome, stored, now=now, is_part=is_part)
            except NOT_STORED as error:
                logger.error(  # noqa: TRY400 - the statement says it all
                    "alerts of %d servers were not stored, their samples are: %s",
                    len({one.subject.server_id for one in stored}),
                    error,
                )
                # As if nothing had been judged: the next values of these servers begin here again.
                outcome.known, outcome.seen, outcome.newest = {}, {}, {}
        return lambda: self._accept(outcome)

    def _suspects(self, new: NewRows, calm: dict[int, Sample]) -> dict[int, _Batch]:
        """Rows that have to be judged, by server: a few comparisons a sample tell which.

        Args:
            new: rows of a batch, samples by server and time.
            calm: is given the newest sample of each server before it became suspicious.
        """
        suspects: dict[int, _Batch] = {}
        for failure in new.failures:
            suspects.setdefault(failure.server_id, _Batch()).items.append(failure)
        for sample in new.samples:
            server_id = sample.server_id
            if server_id not in suspects and server_id not in self._active:
                last = calm.get(server_id) or self._calm.get(server_id)
                watched = self._watched.get(server_id)
                if last is not None and watched is not None and _is_calm(watched, last, sample):
                    calm[server_id] = sample
                    continue
            suspects.setdefault(server_id, _Batch()).items.append(sample)
        full = {usage.server_id for usage in new.file_systems if self._is_full(usage)}
        for usage in new.file_systems:
            if usage.server_id in full:
                suspects.setdefault(usage.server_id, _Batch()).mounts.append(usage)
        return suspects

    def _stored_of_failing(
        self, connection: psycopg.Connection[Any], suspects: Mapping[int, _Batch]
    ) -> dict[int, dict[Key, _Known]]:
        """What is stored of servers with failures that count only because of those before.

        The failures before may be those of another collector: at a handover memory began minutes
        ago, and knows of a condition that began since with the next `follow` only.

        Returns:
            Conditions by server, with those that memory has; batches learn of failures in a row.
        """
        counts = {
            server_id: len(failures)
            for server_id, batch in suspects.items()
            if (failures := [item for item in batch.items if isinstance(item, Failure)])
            and not all(failure.is_final for failure in failures)
        }
        if not counts:
            return {}
        rows = connection.execute(
            load_query("alert", "select_last_seen"), {"server_ids": sorted(counts)}
        )
        for server_id, _, _, _, in_a_row in rows:
            suspects[server_id].failures_before = max(0, in_a_row - counts[server_id])
        stored = _known_by_server(
            read_conditions(connection, (values.UNREACHABLE, values.HOST_KEY), server_ids=counts)
        )
        return {
            server_id: found | self._known.get(server_id, {}) for server_id, found in stored.items()
        }

    def _is_full(self, usage: FileSystemUsage) -> bool:
        """Whether a file system reaches a level, or something is known of its server."""
        if usage.server_id in self._active:
            return True
        watched, share = self._watch(usage.server_id), values.file_system_pct(usage)
        return watched is not None and share is not None and share >= watched.mount

    def _judge_servers(
        self,
        suspects: Mapping[int, _Batch],
        known: Mapping[int, Mapping[Key, _Known]],
        outcome: _Outcome,
        *,
        is_part: bool,
    ) -> None:
        """Judge rows by server."""
        for server_id, batch in suspects.items():
            watched = self._watch(server_id)
            if watched is None:
                continue
            seen = self._seen_of(server_id, outcome.calm.get(server_id))
            if batch.failures_before is not None:
                seen = replace(seen, failures=batch.failures_before)
            judging = _Judging(watched, seen, dict(known.get(server_id, {})), outcome)
            judging.take_items(sorted(batch.items, key=values.instant_of))
            judging.take_mounts(sorted(batch.mounts, key=attrgetter("collected_at")))
            if not is_part:
                judging.end_missing_mounts(batch.mounts)

    def _seen_of(self, server_id: int, last: Sample | None) -> Seen:
        """What is remembered of a server; `last`: its newest sample, when it is not stored yet."""
        seen = self._seen.get(server_id, NEVER_SEEN)
        last = last or self._calm.get(server_id)
        if last is None or (seen.at is not None and last.collected_at <= seen.at):
            return seen
        return values.after_item(seen, last)

    def _worth_storing(self, outcome: _Outcome) -> list[Step]:
        """Steps that change something, and the last one of a subject whose row falls behind."""
        last = {_key(one): number for number, one in enumerate(outcome.steps)}
        stored = []
        for number, one in enumerate(outcome.steps):
            is_behind = number == last[_key(one)] and self._is_behind(one)
            if is_worth_storing(one) or is_behind:
                stored.append(one)
        return stored

    def _is_behind(self, one: Step) -> bool:
        """Whether the stored last value of a condition is too old."""
        after, server_id = one.after, one.subject.server_id
        if after is None or after.state == "clear" or server_id is None:
            return False
        mine = self._known.get(server_id, {}).get(_key(one))
        limit = KEEP_UP_EVERY if after.state == "pending" else KEEP_UP_FIRING_EVERY
        return mine is not None and after.last_at - mine.stored_at >= limit

    def _store(
        self,
        connection: psycopg.Connection[Any],
        suspects: Mapping[int, _Batch],
        outcome: _Outcome,
        steps: list[Step],
        *,
        now: datetime,
        is_part: bool,
    ) -> None:
        """Store steps; servers of which one is lost are read and judged again."""
        lost = self._write(connection, outcome, steps, now=now)
        for _ in range(ATTEMPTS - 1):
            if not lost:
                return
            batches = {number: suspects[number] for _, number in lost}
            known = _known_by_server(read_conditions(connection, SAMPLE_RULES, server_ids=batches))
            again = _Outcome(calm=outcome.calm)
            self._judge_servers(batches, known, again, is_part=is_part)
            for key, number in lost:
                again.known.setdefault(key, known.get(number, {}).get(key))
            outcome.take(again)
            worth = [one for one in again.steps if is_worth_storing(one)]
            lost = self._write(connection, outcome, worth, now=now)
        if lost:
            logger.warning("%d conditions changed too often; judged with the next value", len(lost))
            for key, _ in lost:
                outcome.known.pop(key, None)

    @staticmethod
    def _write(
        connection: psycopg.Connection[Any], outcome: _Outcome, steps: list[Step], *, now: datetime
    ) -> set[tuple[Key, int]]:
        """Store steps; subjects whose conditions are others than thought, with their servers."""
        lost: set[tuple[Key, int]] = set()
        for one in write_steps(connection, steps, now=now):
            key, server_id = _key(one.step), one.step.subject.server_id
            found = outcome.known.get(key)
            if one.is_lost and server_id is not None:
                lost.add((key, server_id))
            elif found is not None and one.step.after is not None:
                outcome.known[key] = replace(found, stored_at=one.step.after.last_at)
        return lost

    def _accept(self, outcome: _Outcome) -> None:
        """Take over what a batch came to."""
        self._calm |= outcome.calm
        self._calm |= outcome.newest
        self._seen |= outcome.seen
        for key, found in outcome.known.items():
            server_id = values.server_id_of(key[1])
            if server_id is not None:
                self._put(server_id, key, found)

    def _put(self, server_id: int, key: Key, found: _Known | None) -> None:
        """Remember a condition, or forget it."""
        mine = self._known.setdefault(server_id, {})
        if found is None:
            mine.pop(key, None)
        else:
            mine[key] = found
        if _is_active(mine):
            self._active.add(server_id)
        else:
            self._active.discard(server_id)


@dataclass(slots=True)
class _Judging:
    """Rows of one server on their way through its rules."""

    watched: _Watched
    seen: Seen
    known: dict[Key, _Known]
    outcome: _Outcome

    def take_items(self, items: Iterable[Sample | Failure]) -> None:
        """Samples and failures, oldest first; those that are late were judged, or never will be."""
        for item in items:
            if self.seen.at is not None and values.instant_of(item) <= self.seen.at:
                continue
            if isinstance(item, Sample):
                self._take_sample(item)
            else:
                self._take_failure(item)
            self.seen = values.after_item(self.seen, item)
            if isinstance(item, Sample) and item.uptime_seconds is not None:
                self.outcome.newest[self.watched.server.server_id] = item
        self.outcome.seen[self.watched.server.server_id] = self.seen

    def take_mounts(self, usages: Iterable[FileSystemUsage]) -> None:
        """File systems, oldest first."""
        rule = self.watched.rules.get(values.FILE_SYSTEM)
        if rule is None:
            return
        gap = values.SUSPICIOUS_GAPS * values.FILE_SYSTEMS_EVERY
        for usage in usages:
            self._take(rule, values.mount_observation(rule, self.watched.server, usage), gap)

    def end_missing_mounts(self, usages: Collection[FileSystemUsage]) -> None:
        """End the alerts of mounts that the newest instant does not tell any more."""
        rule = self.watched.rules.get(values.FILE_SYSTEM)
        if rule is None or not usages:
            return
        newest = max(usage.collected_at for usage in usages)
        told = {
            values.mount_subject(self.watched.server, usage.mount).key
            for usage in usages
            if usage.collected_at == newest
        }
        for key, found in list(self.known.items()):
            is_mount = key[0] == rule.name and found.condition.state != "clear"
            if is_mount and key[1] not in told and found.condition.last_at < newest:
                subject = _subject(self.watched.subject, key[1])
                self._note(_ended(rule, found.condition, subject, reason=NOT_MOUNTED, at=newest))

    def _take_sample(self, sample: Sample) -> None:
        """Values of a sample; the server can be read, and goes on running."""
        rules, subject = self.watched.rules, self.watched.subject
        gap = values.gap_of(self.watched.server)
        for rule, observation in values.load_observations(rules, subject, sample):
            self._take(rule, observation, gap)
        for name in (values.UNREACHABLE, values.HOST_KEY):
            if name in rules and self._is_known(name):
                self._take(rules[name], Observation(subject, sample.collected_at, 0.0), gap)
        if values.REBOOT not in rules:
            return
        if values.has_rebooted(self.seen, sample):
            told = values.reboot_observation(subject, self.seen, sample)
            self._take(rules[values.REBOOT], told, gap)
        elif self._is_known(values.REBOOT):
            self._take(rules[values.REBOOT], Observation(subject, sample.collected_at, 0.0), gap)

    def _take_failure(self, failure: Failure) -> None:
        """The server could not be read: counts when it is final, or something is known already."""
        subject = self.watched.subject
        told = values.failure_observation(self.watched.rules, subject, failure)
        if told is None:
            return
        rule, observation = told
        if values.is_final(failure, self.seen) or self._is_known(rule.name):
            self._take(rule, observation, values.gap_of(self.watched.server))

    def _is_known(self, rule: str) -> bool:
        """Whether the rule knows something of the server that is not over."""
        found = self.known.get((rule, self.watched.subject.key))
        return found is not None and found.condition.state != "clear"

    def _take(self, rule: Rule, observation: Observation, gap: timedelta) -> None:
        """One value by one rule."""
        found = self.known.get((rule.name, observation.subject.key))
        before = None if found is None else found.condition
        if before is None and _is_below(rule, observation):
            return
        self._note(step(rule, before, observation, longest_gap=max(LONGEST_GAP, gap)))

    def _note(self, one: Step) -> None:
        """Remember what a value did."""
        if one.before is one.after:
            return
        key = _key(one)
        found = _known_after(one)
        before = self.known.pop(key, None)
        if found is not None:
            stored_at = found.stored_at if before is None else before.stored_at
            self.known[key] = found = replace(found, stored_at=stored_at)
        self.outcome.known[key] = found
        self.outcome.steps.append(one)


def _known_by_server(conditions: Mapping[Key, Condition]) -> dict[int, dict[Key, _Known]]:
    """Stored conditions by server."""
    known: dict[int, dict[Key, _Known]] = {}
    for key, condition in conditions.items():
        server_id = values.server_id_of(key[1])
        if server_id is not None:
            known.setdefault(server_id, {})[key] = _Known(condition, condition.last_at)
    return known


def _is_calm(watched: _Watched, last: Sample, sample: Sample) -> bool:
    """Whether a sample of a server of which nothing is known changes nothing."""
    cpu, uptime = sample.cpu_pct, sample.uptime_seconds
    if uptime is None or (cpu is not None and not cpu < watched.cpu):
        return False
    memory, disk = values.memory_pct(sample), values.disk_pct(sample)
    if (memory is not None and memory >= watched.memory) or (
        disk is not None and disk >= watched.disk
    ):
        return False
    passed = (sample.collected_at - last.collected_at).total_seconds()
    is_newer = passed > 0
    return is_newer and not values.is_reboot(last.uptime_seconds, uptime, passed_seconds=passed)


def _newest(mine: Condition, stored: Condition) -> Condition:
    """What memory knows, where it differs from what is stored in newer values only."""
    is_newer = mine.last_at > stored.last_at
    return mine if is_newer and lasting_state(mine) == lasting_state(stored) else stored


def _is_below(rule: Rule, observation: Observation) -> bool:
    """Whether a value of a subject of which nothing is known changes nothing."""
    value = observation.value
    return value is None or (rule.direction == "above" and value < rule.levels[0].trigger)


def _is_active(known: Mapping[Key, _Known]) -> bool:
    """Whether any of these conditions is not over."""
    return any(found.condition.state != "clear" for found in known.values())


def _key(one: Step) -> Key:
    """What a step is about."""
    return one.rule, one.subject.key


def _known_after(one: Step) -> _Known | None:
    """The condition after a step."""
    return None if one.after is None else _Known(one.after, one.after.last_at)


def _subject(whole: Subject, key: str) -> Subject:
    """A server, or the mount of it that a key names."""
    _, _, mount = key.partition(" ")
    return replace(whole, key=key, name=f"{whole.name} {mount}") if mount else whole


def _ended(rule: Rule, before: Condition, subject: Subject, *, reason: str, at: datetime) -> Step:
    """The end of a subject that is not judged any more."""
    words = reason.format(name=subject.name, rule=rule.name)
    return over(rule, before, Observation(subject, at, None, reason=words))
