"""What the planner of notices sees: alerts, who was told, silences, routes, servers.

Belongs here: frozen records, and what follows from one of them alone. Pure: no database, no clock.
How groups are found is in groups.py, who is told in planning.py, how they are read in planner.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from resmon_resources.alert_records import SEVERITIES, Condition, Severity
from resmon_resources.alert_rules import RuleBook
from resmon_resources.time_windows import TimeWindow

GROUP_RULE = "group_unreachable"
UNREACHABLE_RULE = "unreachable"
HOST_KEY_RULE = "host_key_changed"

URGENCY: Mapping[str, int] = {severity: place for place, severity in enumerate(SEVERITIES)}
"""Severity -> place, the most urgent last."""


@dataclass(frozen=True, slots=True)
class AlertNow:
    """An alert that is open, or is over and somebody is still to be told.

    Attributes:
        alert_id: identity.
        rule: name of the rule.
        subject: for the machine, as in alert.alerts.
        subject_name: for a person.
        severity: now; of one that is over, the one it had.
        state: `open`, `acknowledged` or `resolved`.
        reason: why, in one sentence.
        began_at: when what it tells of began, aware UTC.
        opened_at: when it was opened, aware UTC.
        server_id: server; None where it is about something else.
        organization_id: owner; None: the platform itself.
        group_alert_id: alert of the group that speaks for it; None: it speaks for itself.
        resolved_at: when it was over, aware UTC; None: it goes on.
        resolved_by: `condition` or an account; None: it goes on.
        acknowledged_by: who has taken it on; None: nobody.
        value: at the last change; None where there is none.
        peak_value: the worst so far; None where there is none.
        trigger_value: value at which its level is reached; None where there is none.
        unit: of these values.
        details: more of the matter by name.
        remind_seconds: as its rule holds for it; None: nobody is reminded.
        tells_ends: whether its rule has ends told, as it holds for it.
        is_of_samples: whether its rule judges samples.
        is_settling: whether its opening is not due yet.
    """

    alert_id: int
    rule: str
    subject: str
    subject_name: str
    severity: Severity
    state: Literal["open", "acknowledged", "resolved"]
    reason: str
    began_at: datetime
    opened_at: datetime
    server_id: int | None = None
    organization_id: int | None = None
    group_alert_id: int | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    acknowledged_by: str | None = None
    value: float | None = None
    peak_value: float | None = None
    trigger_value: float | None = None
    unit: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    remind_seconds: int | None = None
    tells_ends: bool = True
    is_of_samples: bool = False
    is_settling: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.state != "resolved"


@dataclass(frozen=True, slots=True)
class WaitingChange:
    """A change that is due to be decided: one row of alert.outbox.

    Attributes:
        event_id: its event.
        alert_id: its alert, which is among those of the situation.
        kind: `opened`, `escalated` or `resolved`.
    """

    event_id: int
    alert_id: int
    kind: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a route knows of an alert; the end was not told yet.

    Attributes:
        announced_at: when its opening, or the last change to a higher severity, was decided.
        reminded_at: when it was last told again; None: never.
        severity: that was told last.
    """

    announced_at: datetime
    severity: Severity
    reminded_at: datetime | None = None

    @property
    def told_at(self) -> datetime:
        """When it was last told of."""
        return max(self.announced_at, self.reminded_at or self.announced_at)


@dataclass(frozen=True, slots=True)
class Route:
    """Who is told of which alerts.

    Attributes:
        name: of the route.
        organization_ids: only alerts of these; None: of all, and of the platform itself.
        minimum_severity: only alerts of at least this severity.
        tags: only alerts of servers that have one of these; empty: of all.
        rules: only alerts of these rules; empty: of all.
        per_hour: messages in an hour; what is beyond goes into a digest.
        is_enabled: whether it is used.
        sends_resolved: whether ends are told.
        sent_count: messages of the last hour, digests not counted.
        last_digest_at: when the last digest was decided, aware UTC; None: none in the last hour.
    """

    name: str
    organization_ids: frozenset[int] | None = None
    minimum_severity: Severity = "warning"
    tags: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    per_hour: int = 30
    is_enabled: bool = True
    sends_resolved: bool = True
    sent_count: int = 0
    last_digest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """When which alerts are not announced: a silence, or a maintenance window of servers.

    Attributes:
        kind: which of the two; a maintenance window holds for alerts of servers only.
        number: its identity among those of its kind.
        window: when.
        reason: why, in words.
        organization_ids: only alerts of these; None: of any.
        server_id: only alerts of this server; None: of any.
        rule: only alerts of this rule; None: of any.
        tag: only alerts of servers with this tag; None: of any.
        maximum_severity: only alerts of at most this severity; None: of any.
    """

    kind: Literal["silence", "maintenance"]
    number: int
    window: TimeWindow
    reason: str
    organization_ids: frozenset[int] | None = None
    server_id: int | None = None
    rule: str | None = None
    tag: str | None = None
    maximum_severity: Severity | None = None

    def matches(self, alert: AlertNow, tags: frozenset[str]) -> bool:
        """Whether it is meant for an alert of a server with these tags, at any time."""
        return (
            (self.server_id is None or alert.server_id == self.server_id)
            and (self.organization_ids is None or alert.organization_id in self.organization_ids)
            and (self.rule is None or alert.rule == self.rule)
            and (self.tag is None or self.tag in tags)
            and (
                self.maximum_severity is None
                or URGENCY[alert.severity] <= URGENCY[self.maximum_severity]
            )
            and (self.kind == "silence" or alert.server_id is not None)
        )

    def __str__(self) -> str:
        kind = "silence" if self.kind == "silence" else "maintenance window"
        return f"{kind} {self.number} ({self.reason})"


@dataclass(frozen=True, slots=True)
class ServerNow:
    """A server as far as notices depend on it.

    Attributes:
        name: of the server.
        organization_id: owner.
        host: name or address that it is reached at.
        is_active: whether it is collected.
        tags: of the server.
        jump_hosts: hosts that are passed to reach it, in order; the last is its own.
    """

    name: str
    organization_id: int
    host: str = ""
    is_active: bool = True
    tags: frozenset[str] = frozenset()
    jump_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrganizationNow:
    """An organization: its name and the one above it."""

    name: str
    parent_id: int | None = None


@dataclass(frozen=True)
class Situation:
    """Everything that a plan is made from.

    Attributes:
        alerts: all that are open, and those that are over and of which a change is due or a route
            waits for the end; by identity.
        waiting: changes that are due, oldest first.
        announcements: what routes know, by alert and route, as far as the end was not told.
        routes: by name.
        silences: those that hold now or later.
        servers: by identity, removed ones left out.
        organizations: by identity.
        conditions: of the rule of groups, by subject.
        rules: all rules.
    """

    alerts: Mapping[int, AlertNow]
    rules: RuleBook
    waiting: tuple[WaitingChange, ...] = ()
    announcements: Mapping[tuple[int, str], Announcement] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    silences: tuple[Silence, ...] = ()
    servers: Mapping[int, ServerNow] = field(default_factory=dict)
    organizations: Mapping[int, OrganizationNow] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    @cached_property
    def open_alerts(self) -> tuple[AlertNow, ...]:
        """Those that go on, oldest first."""
        return tuple(
            sorted(
                (alert for alert in self.alerts.values() if alert.is_open),
                key=lambda alert: alert.alert_id,
            )
        )

    @cached_property
    def open_by_server(self) -> Mapping[int, Mapping[str, tuple[AlertNow, ...]]]:
        """Open alerts of each server, by rule."""
        found: dict[int, dict[str, tuple[AlertNow, ...]]] = {}
        for alert in self.open_alerts:
            if alert.server_id is not None:
                rules = found.setdefault(alert.server_id, {})
                rules[alert.rule] = (*rules.get(alert.rule, ()), alert)
        return found

    @cached_property
    def silent_servers(self) -> Mapping[int, AlertNow]:
        """Servers that can not be read, each with the alert that says so."""
        return {
            alert.server_id: alert
            for alert in self.open_alerts
            if alert.rule == UNREACHABLE_RULE and alert.server_id is not None
        }

    @cached_property
    def silent_jump_hosts(self) -> Mapping[str, AlertNow]:
        """Names and addresses of servers that can not be read, as a jump host is written."""
        found: dict[str, AlertNow] = {}
        for server_id, alert in self.silent_servers.items():
            server = self.servers.get(server_id)
            if server is not None:
                found[server.host.lower()] = found[server.name.lower()] = alert
        return found

    def tags_of(self, alert: AlertNow) -> frozenset[str]:
        """Tags of the server of an alert; empty without one."""
        server = None if alert.server_id is None else self.servers.get(alert.server_id)
        return frozenset() if server is None else server.tags

    def jump_host_alert(self, server_id: int | None) -> AlertNow | None:
        """The alert of a jump host on the way to a server that can not be read; None: none."""
        server = None if server_id is None else self.servers.get(server_id)
        if server is None or not self.silent_jump_hosts:
            return None
        for host in server.jump_hosts:
            alert = self.silent_jump_hosts.get(host.lower())
            if alert is not None and alert.server_id != server_id:
                return alert
        return None
