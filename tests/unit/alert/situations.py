"""A small world of alerts in memory that plans are applied to, as the database would."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from resmon_assets.alert.groups import group_steps
from resmon_assets.alert.planning import Plan, PlannedDelivery, Told, held_back, plan
from resmon_assets.alert.situation import (
    GROUP_RULE,
    AlertNow,
    Announcement,
    OrganizationNow,
    Route,
    ServerNow,
    Silence,
    Situation,
    WaitingChange,
)
from resmon_resources.alert_records import Condition, Level, Rule, Severity, Step
from resmon_resources.alert_rules import RuleBook, ShippedRule
from resmon_resources.time_windows import TimeWindow

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

_GROUP = Rule(
    GROUP_RULE,
    "above",
    (Level("critical", 50.0, 25.0),),
    for_seconds=0,
    keep_seconds=60,
    remind_seconds=14_400,
    options={"minimum_servers": 3},
)
BOOK_OF = {GROUP_RULE: ShippedRule(_GROUP, "group", "group", "")}


@dataclass
class World:
    """Alerts, what routes know, and every message so far.

    Organization 1 has 2 and 3 below it; server N belongs to the organization that is given.
    """

    routes: tuple[Route, ...] = (Route("ops"),)
    servers: dict[int, ServerNow] = field(default_factory=dict)
    silences: tuple[Silence, ...] = ()
    now: datetime = START
    alerts: dict[int, AlertNow] = field(default_factory=dict)
    waiting: list[tuple[datetime, WaitingChange]] = field(default_factory=list)
    announcements: dict[tuple[int, str], Announcement] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    sent: list[tuple[datetime, PlannedDelivery]] = field(default_factory=list)
    history: list[Told] = field(default_factory=list)
    last: Plan = field(default_factory=Plan)
    organizations: dict[int, OrganizationNow] = field(
        default_factory=lambda: {
            1: OrganizationNow("acme"),
            2: OrganizationNow("paris", 1),
            3: OrganizationNow("london", 1),
        }
    )

    def open(
        self,
        rule: str = "cpu_high",
        server_id: int | None = 1,
        *,
        severity: Severity = "warning",
        settle: timedelta = timedelta(0),
        **values: object,
    ) -> int:
        """Open an alert; its identity."""
        alert_id = len(self.alerts) + 1
        server = None if server_id is None else self.servers.get(server_id)
        given = {
            "subject": f"server:{server_id}",
            "subject_name": f"web-{server_id}",
            "organization_id": None if server is None else server.organization_id,
            "remind_seconds": 14_400,
            "is_of_samples": True,
            "began_at": self.now,
        } | values
        self.alerts[alert_id] = AlertNow(
            alert_id=alert_id,
            rule=rule,
            severity=severity,
            state="open",
            reason=f"{rule} of web-{server_id}",
            opened_at=self.now,
            server_id=server_id,
            **given,  # type: ignore[arg-type]  # by name, as the tests give them
        )
        self._waits(alert_id, "opened", settle)
        return alert_id

    def change(self, alert_id: int, **values: object) -> None:
        """Change fields of an alert."""
        self.alerts[alert_id] = replace(self.alerts[alert_id], **values)  # type: ignore[arg-type]

    def escalate(self, alert_id: int, severity: Severity = "critical") -> None:
        """It has become worse."""
        self.change(alert_id, severity=severity)
        self._waits(alert_id, "escalated", timedelta(0))

    def resolve(self, alert_id: int, by: str = "condition") -> None:
        """It is over."""
        self.change(alert_id, state="resolved", resolved_at=self.now, resolved_by=by)
        self._waits(alert_id, "resolved", timedelta(0))

    def later(self, passed: timedelta) -> None:
        """Let time pass."""
        self.now += passed

    def situation(self) -> Situation:
        """As the planner reads it."""
        settling = {
            one.alert_id
            for due_at, one in self.waiting
            if one.kind == "opened" and due_at > self.now
        }
        recent = [(at, one) for at, one in self.sent if at > self.now - HOUR]
        return Situation(
            alerts={
                number: replace(alert, is_settling=number in settling)
                for number, alert in self.alerts.items()
                if alert.is_open
                or any(one.alert_id == number for _, one in self.waiting)
                or any(known == number for known, _ in self.announcements)
                or any(one.is_open and one.group_alert_id == number for one in self.alerts.values())
            },
            rules=RuleBook(
                list(BOOK_OF.values()),
                parents={number: one.parent_id for number, one in self.organizations.items()},
            ),
            waiting=tuple(one for due_at, one in self.waiting if due_at <= self.now),
            announcements=dict(self.announcements),
            routes=tuple(
                replace(
                    route,
                    sent_count=sum(
                        one.route == route.name and one.kind != "digest" for _, one in recent
                    ),
                    last_digest_at=max(
                        (
                            at
                            for at, one in recent
                            if one.route == route.name and one.kind == "digest"
                        ),
                        default=None,
                    ),
                )
                for route in self.routes
            ),
            silences=self.silences,
            servers=dict(self.servers),
            organizations=dict(self.organizations),
            conditions=dict(self.conditions),
        )

    def plan(self) -> list[PlannedDelivery]:
        """Plan now, apply the plan, and give the messages."""
        situation = self.situation()
        for step in group_steps(situation, held_back(situation, self.now), self.now):
            self._apply_step(step)
        decided = self.last = plan(self.situation(), self.now)
        self.history += decided.told
        for told in decided.told:
            key = (told.alert_id, told.route)
            if told.change == "resolved":
                del self.announcements[key]
            elif told.change == "reminder":
                self.announcements[key] = replace(
                    self.announcements[key], reminded_at=self.now, severity=told.severity
                )
            else:
                self.announcements[key] = Announcement(self.now, told.severity)
        for alert_id, group_id in decided.grouped.items():
            self.change(alert_id, group_alert_id=group_id)
        self.waiting = [pair for pair in self.waiting if pair[1].event_id not in decided.settled]
        self.sent += [(self.now, one) for one in decided.deliveries]
        return list(decided.deliveries)

    def told(self) -> list[str]:
        """Plan now; `route kind: alerts`, one line a message."""
        return [
            f"{one.route} {one.kind}: {', '.join(str(number) for number in one.alert_ids)}"
            for one in self.plan()
        ]

    def why(self, alert_id: int) -> list[str]:
        """Why nobody was told of it in the last plan."""
        return [
            one.message
            for one in self.last.events
            if one.alert_id == alert_id and one.kind == "quiet"
        ]

    def _waits(self, alert_id: int, kind: str, settle: timedelta) -> None:
        number = 1 + max((one.event_id for _, one in self.waiting), default=0)
        self.waiting.append((self.now + settle, WaitingChange(number, alert_id, kind)))

    def _apply_step(self, step: Step) -> None:
        key = step.subject.key
        if step.after is None:
            self.conditions.pop(key, None)
        else:
            self.conditions[key] = step.after
        if step.transition is None:
            return
        if step.transition.kind == "opened":
            self.open(
                GROUP_RULE,
                None,
                severity="critical",
                subject=key,
                subject_name=step.subject.name,
                organization_id=step.subject.organization_id,
                is_of_samples=False,
            )
        if step.transition.kind == "resolved":
            for alert in list(self.alerts.values()):
                if alert.rule == GROUP_RULE and alert.subject == key and alert.is_open:
                    self.resolve(alert.alert_id)


def fleet(
    count: int, organization_id: int = 2, *, first: int = 1, **values: object
) -> dict[int, ServerNow]:
    """`count` servers of an organization, numbered from `first`."""
    return {
        number: ServerNow(f"web-{number}", organization_id, f"10.0.0.{number}", **values)  # type: ignore[arg-type]
        for number in range(first, first + count)
    }


def silence(begin: datetime, end: datetime, **matcher: object) -> Silence:
    """A silence from `begin` to `end`."""
    given: dict[str, object] = {"kind": "silence", "number": 7, "reason": "patches"} | matcher
    return Silence(window=TimeWindow(begin, end, None), **given)  # type: ignore[arg-type]
