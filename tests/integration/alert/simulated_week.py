"""A fleet on a simulated clock: samples are stored and judged, notices planned and sent.

Nothing sleeps: the clock is a value. Calm hours are committed in one batch, as a spool is; around
everything that happens each minute is committed for itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any

import psycopg

from resmon_assets.alert.messages import composer
from resmon_assets.alert.planner import next_due, plan_due
from resmon_assets.alert_watch import AlertWatch
from resmon_assets.observing import observe
from resmon_assets.raw.difference import status_of
from resmon_resources.alert_records import Observation, Subject
from resmon_resources.errors import Cause
from resmon_resources.inventory import (
    Server,
    add_organization,
    add_server,
    list_organizations,
    list_servers,
)
from resmon_resources.notifier import deliver_due
from resmon_resources.sample_store import (
    Failure,
    FileSystemUsage,
    Sample,
    commit_batch,
    ensure_raw_partitions,
)
from resmon_resources.sending import Sender

TICK = timedelta(minutes=1)
CALM_TICKS = 60
GIB = 2**30
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Effect:
    """Something that is so with a server for a while.

    Attributes:
        server: its name.
        begin: first instant, aware UTC.
        end: first instant at which it is over.
        values: what its samples show, by name: `cpu`, `memory`, `disk` in percent.
        cause: why it can not be read; None: it can.
        is_reboot: whether it was started anew at `end`.
        every: values hold in every second stretch of this length; None: all the time.
    """

    server: str
    begin: datetime
    end: datetime
    values: Mapping[str, float] = field(default_factory=dict)
    cause: Cause | None = None
    is_reboot: bool = False
    every: timedelta | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is so at an instant."""
        if not self.begin <= at < self.end:
            return False
        return self.every is None or (at - self.begin) // self.every % 2 == 0

    @property
    def busy(self) -> list[tuple[datetime, datetime]]:
        """When it has to be looked at minute by minute."""
        before, after = timedelta(minutes=2), timedelta(minutes=14)
        if self.every is not None:
            return [(self.begin - before, self.end + 2 * after)]
        return [(self.begin - before, self.begin + after), (self.end - before, self.end + after)]


class Week:
    """The fleet, its clock, and everything that happens to it."""

    def __init__(self, connection: Connection, start: datetime, sender: Sender) -> None:
        self.connection = connection
        self.sender = sender
        self.start = self.now = start
        self.effects: list[Effect] = []
        self.actions: list[tuple[datetime, Callable[[], None]]] = []
        self.watch = AlertWatch()
        self.servers: dict[str, Server] = {}
        self.organizations: dict[str, int] = {}
        self.environment: dict[str, str] = {}
        self.is_planning = True
        self.on_delivered: Callable[[datetime], None] = lambda _: None
        self.compose = composer(ui_url="http://ui.example.org")

    # What there is

    def add_organization(self, name: str, parent: str | None = None) -> None:
        """Add an organization."""
        add_organization(self.connection, name, parent=parent, now=self._before)
        self.organizations = {
            one.name: one.organization_id for one in list_organizations(self.connection)
        }

    def add_servers(self, names: Sequence[str], organization: str, **settings: Any) -> None:
        """Add servers of an organization."""
        for name in names:
            add_server(
                self.connection,
                name,
                organization=organization,
                host=name,
                interval_seconds=60,
                now=self._before,
                **settings,
            )
        self.servers = {one.name: one for one in list_servers(self.connection)}

    def add_route(self, name: str, url: str, **values: object) -> None:
        """Add a route that sends to a URL."""
        self.environment[f"URL_{name.upper()}"] = url
        columns = {
            "route": name,
            "target": f"env:URL_{name.upper()}",
            "created_by": "ada",
            "created_at": self._before,
        } | values
        self.connection.execute(
            f"insert into alert.routes ({', '.join(columns)}) "
            f"values ({', '.join(['%s'] * len(columns))})".encode(),
            list(columns.values()),
        )

    @property
    def _before(self) -> datetime:
        return self.start - timedelta(days=1)

    # What happens

    def at(self, day: str, clock: str) -> datetime:
        """`Wed`, `13:05` of the week, UTC."""
        hour, minute = clock.split(":")
        days = DAYS.index(day)
        return self.start + timedelta(days=days, hours=int(hour), minutes=int(minute))

    def effect(
        self,
        servers: str | Sequence[str],
        begin: datetime,
        end: datetime,
        *,
        cause: Cause | None = None,
        is_reboot: bool = False,
        every: timedelta | None = None,
        values: Mapping[str, float] | None = None,
    ) -> None:
        """Servers show these values, or can not be read, for a while."""
        for name in [servers] if isinstance(servers, str) else servers:
            found = Effect(name, begin, end, values or {}, cause, is_reboot, every)
            self.effects.append(found)

    def do(self, when: datetime, action: Callable[[], object]) -> None:
        """Do something at an instant."""
        self.actions.append((when, action))  # type: ignore[arg-type]  # what it gives is not used

    def observe(self, rule: str, *observed: tuple[Subject, float, str]) -> None:
        """An asset judges these values of now; subjects that are left out are over."""
        with self.connection.transaction():
            observe(
                self.connection,
                rule,
                [Observation(subject, self.now, value, why) for subject, value, why in observed],
                now=self.now,
                is_complete=True,
            )

    def of_server(self, name: str, what: str = "") -> Subject:
        """A server as a subject."""
        server = self.servers[name]
        key = f"server:{server.server_id}{' ' if what else ''}{what}"
        return Subject(key, f"{name} {what}".strip(), server.server_id, server.organization_id)

    # The clock

    def run(self, end: datetime) -> None:
        """Let time pass until `end`."""
        ensure_raw_partitions(self.connection, start=self.start, end=end + timedelta(days=1))
        self.actions.sort(key=lambda pair: pair[0])
        busy = sorted(stretch for effect in self.effects for stretch in effect.busy)
        moment = self.start
        while moment < end:
            self._act(moment)
            self.watch.follow(self.connection, list(self.servers.values()), now=moment)
            count = self._calm_ticks(moment, busy)
            ticks = [moment + number * TICK for number in range(count)]
            self._commit(ticks)
            self.now = ticks[-1]
            moment = ticks[-1] + TICK
            self._plan(moment)
        self._act(end)
        self._plan(end)

    def _act(self, moment: datetime) -> None:
        """Do what is to be done by now."""
        while self.actions and self.actions[0][0] <= moment:
            when, action = self.actions.pop(0)
            self.now = max(self.now, when)
            action()

    def _calm_ticks(self, moment: datetime, busy: Sequence[tuple[datetime, datetime]]) -> int:
        """Minutes in which nothing happens; one when something does."""
        if any(begin <= moment < end for begin, end in busy):
            return 1
        until = moment + CALM_TICKS * TICK
        until = min([until, *(begin for begin, _ in busy if begin > moment)])
        until = min([until, *(when for when, _ in self.actions[:1] if when > moment)])
        due = self._next_due()
        if due is not None and self.is_planning:
            until = min(until, max(due, moment + TICK))
        return max(1, (until - moment) // TICK)

    def _next_due(self) -> datetime | None:
        """When something is to be planned or sent."""
        row = self.connection.execute(
            "select min(next_attempt_at) from alert.deliveries"
        ).fetchone()
        known = [next_due(self.connection), None if row is None else row[0]]
        return min((one for one in known if one is not None), default=None)

    def _plan(self, before: datetime) -> None:
        """Plan and send what is due before the next samples come."""
        while self.is_planning:
            due = self._next_due()
            if due is None or due >= before:
                return
            self.now = max(self.now, due)
            planned = next_due(self.connection)
            if planned is not None and planned <= self.now:
                plan_due(self.connection, now=self.now)
            row = self.connection.execute(
                "select exists (select from alert.deliveries where next_attempt_at <= %s)",
                [self.now],
            ).fetchone()
            if row is not None and row[0]:
                deliver_due(
                    self.connection,
                    now=self.now,
                    limit_seconds=30,
                    compose=self.compose,
                    environment=self.environment,
                    sender=self.sender,
                )
                self.on_delivered(self.now)

    def _commit(self, ticks: Sequence[datetime]) -> None:
        """Store and judge what was measured at these instants."""
        items: list[Sample | Failure] = []
        mounts: list[FileSystemUsage] = []
        for at in ticks:
            for name, server in self.servers.items():
                one, mount = self._measured(name, server, at)
                items.append(one)
                mounts += [] if mount is None else [mount]
        commit_batch(
            self.connection,
            samples=[one for one in items if isinstance(one, Sample)],
            failures=[one for one in items if isinstance(one, Failure)],
            stretches=[],
            status_of=status_of,
            shard=0,
            file_systems=mounts,
            judge=partial(self.watch.judge, now=ticks[-1]),
        )

    def _measured(
        self, name: str, server: Server, at: datetime
    ) -> tuple[Sample | Failure, FileSystemUsage | None]:
        """What a server answers at an instant; its file system every ten minutes."""
        values = {"cpu": 12.0, "memory": 40.0, "disk": 50.0}
        booted_at = self.start - timedelta(days=9)
        for effect in self._by_server[name]:
            if effect.is_reboot and effect.end <= at:
                booted_at = max(booted_at, effect.end)
            if not effect.holds(at):
                continue
            if effect.cause is not None:
                ids = (server.server_id, server.organization_id)
                return Failure(*ids, at, effect.cause, "it did not answer", is_final=True), None
            values |= effect.values
        sample = Sample(
            server.server_id,
            server.organization_id,
            at,
            cpu_pct=values["cpu"],
            cpu_count=4,
            memory_used_bytes=int(values["memory"] * GIB / 10),
            memory_total_bytes=10 * GIB,
            disk_used_bytes=int(values["disk"] * GIB),
            disk_total_bytes=100 * GIB,
            uptime_seconds=int((at - booted_at).total_seconds()) + 5,
        )
        if at.minute % 10:
            return sample, None
        used = int(values["disk"] * GIB)
        mount = FileSystemUsage(
            *(server.server_id, server.organization_id, at, "/data", "/dev/sda1", "ext4"),
            *(100 * GIB, used, 100 * GIB - used),
        )
        return sample, mount

    @cached_property
    def _by_server(self) -> dict[str, list[Effect]]:
        """Effects of each server; none is added while time passes."""
        found: dict[str, list[Effect]] = {name: [] for name in self.servers}
        for effect in self.effects:
            found[effect.server].append(effect)
        return found


def day_clock(start: datetime, at: datetime) -> str:
    """`Wed 13:05`."""
    return f"{DAYS[(at - start).days]} {at.astimezone(UTC):%H:%M}"
