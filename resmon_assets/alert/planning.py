"""Who is told of which alerts, and why nobody is of the others.

Belongs here: the difference between what is and what each route was told, as messages. Pure: no
database, no clock. What a group is, is in groups.py; reading and writing in planner.py.

Nothing follows events: a plan compares. Whatever happened while a silence, a group or an outage of
the platform held notices back, what is told in the end is the difference.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from resmon_assets.alert import groups
from resmon_assets.alert.situation import (
    GROUP_RULE,
    HOST_KEY_RULE,
    UNREACHABLE_RULE,
    URGENCY,
    AlertNow,
    Announcement,
    Route,
    Silence,
    Situation,
)
from resmon_resources.alert_content import AlertShown, Content, DeliveryKind
from resmon_resources.alert_records import Severity
from resmon_resources.time_windows import occurrence_at

Change = Literal["opened", "escalated", "reminder", "resolved"]
CHANGES: tuple[Change, ...] = ("opened", "escalated", "reminder", "resolved")

LONGEST_BUNDLE = 10
"""Alerts in one message; more are told in several."""
DIGEST_SHOWN = 10
DIGEST_SPACING = timedelta(minutes=15)
"""Digests of a route are at least this far apart; nothing waits longer for its rate."""
TOLD_AGAIN_AFTER = timedelta(hours=1)
"""An alert that eased and got as bad as before is told again when it was last told so long ago."""


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """A message to a route.

    Attributes:
        route: its name.
        kind: as in alert.deliveries: `digest` is what came when the messages of the hour were used.
        alert_ids: all alerts that it tells of.
        content: what it tells.
    """

    route: str
    kind: DeliveryKind
    alert_ids: tuple[int, ...]
    content: Content


@dataclass(frozen=True, slots=True)
class Told:
    """What a route knows from now on.

    Attributes:
        alert_id: alert.
        route: route.
        change: what it is told; `resolved` also where the end is not sent, so that nothing waits.
        severity: of the alert.
    """

    alert_id: int
    route: str
    change: Change
    severity: Severity


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """An entry in the history of an alert.

    Attributes:
        alert_id: alert.
        kind: `announced`, `reminded`, `quiet`, `grouped` or `ungrouped`.
        severity: of the alert.
        message: what happened, in words.
    """

    alert_id: int
    kind: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        deliveries: messages, those to one route most urgent first.
        told: what routes know from now on.
        events: entries in histories.
        settled: event of the outbox -> what was decided, in words.
        grouped: alert -> alert of the group that speaks for it from now on; None: none.
        next_at: when something is due although nothing changes; None: nothing is. Later than now.
    """

    deliveries: tuple[PlannedDelivery, ...] = ()
    told: tuple[Told, ...] = ()
    events: tuple[PlannedEvent, ...] = ()
    settled: Mapping[int, str] = field(default_factory=dict)
    grouped: Mapping[int, int | None] = field(default_factory=dict)
    next_at: datetime | None = None


def held_back(situation: Situation, now: datetime) -> dict[int, Silence]:
    """Alerts that a silence or maintenance window holds back at `now`, each with the first one.

    An alert of a group is held back too when all of its members are.
    """
    holding = [one for one in situation.silences if occurrence_at(one.window, now) is not None]
    if not holding:
        return {}
    found: dict[int, Silence] = {}
    for alert in situation.alerts.values():
        tags = situation.tags_of(alert)
        for silence in holding:
            if silence.matches(alert, tags):
                found[alert.alert_id] = silence
                break
    for group_id, ids in _by_group(groups.members(situation)).items():
        silent = [found[one] for one in ids if one in found]
        if group_id not in found and len(silent) == len(ids):
            found[group_id] = silent[0]
    return found


def plan(situation: Situation, now: datetime) -> Plan:
    """Decide who is told of what.

    Args:
        situation: what is; alerts of groups are open already (groups.group_steps).
        now: aware UTC.
    """
    return _Planner(situation, now).plan()


def shown(alert: AlertNow, change: Change, situation: Situation) -> AlertShown:
    """An alert as a message tells it."""
    server = None if alert.server_id is None else situation.servers.get(alert.server_id)
    owner = situation.organizations.get(alert.organization_id or 0)
    return AlertShown(
        alert_id=alert.alert_id,
        change=change,
        rule=alert.rule,
        severity=alert.severity,
        subject=alert.subject,
        subject_name=alert.subject_name,
        reason=alert.reason,
        began_at=alert.began_at,
        opened_at=alert.opened_at,
        resolved_at=alert.resolved_at,
        resolved_by=alert.resolved_by,
        acknowledged_by=alert.acknowledged_by,
        value=alert.value,
        peak_value=alert.peak_value,
        trigger_value=alert.trigger_value,
        unit=alert.unit,
        server_id=alert.server_id,
        server_name=None if server is None else server.name,
        organization_id=alert.organization_id,
        organization_name=None if owner is None else owner.name,
        details=alert.details,
    )


@dataclass(frozen=True, slots=True)
class _Item:
    """Something that a route is to be told."""

    alert: AlertNow
    change: Change

    @property
    def order(self) -> tuple[bool, int, int, datetime, str, int]:
        """Most urgent first; ends last; then as they came, by name."""
        return (
            self.change == "resolved",
            -URGENCY[self.alert.severity],
            CHANGES.index(self.change),
            self.alert.opened_at,
            self.alert.subject_name,
            self.alert.alert_id,
        )


@dataclass(frozen=True, slots=True)
class _Explanation:
    """Another alert that speaks for one, and how that is said."""

    alert: AlertNow
    words: str


@dataclass
class _Planner:
    """One plan in the making."""

    situation: Situation
    now: datetime
    deliveries: list[PlannedDelivery] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    moments: list[datetime] = field(default_factory=list)
    quiet: dict[int, list[str]] = field(default_factory=dict)

    def plan(self) -> Plan:
        """All of it."""
        for route in self.situation.routes:
            if route.is_enabled:
                self._send(route, self._items(route))
        self._give_up_ends()
        self.moments += [
            window.end
            for silence in {id(one): one for one in self.held.values()}.values()
            if (window := occurrence_at(silence.window, self.now)) is not None
        ]
        ahead = groups.next_change(self.situation, self.now)
        return Plan(
            deliveries=tuple(self.deliveries),
            told=tuple(self.told),
            events=tuple(self._events()),
            settled=self._settled(),
            grouped=self._grouped(),
            next_at=min([*self.moments, *([] if ahead is None else [ahead])], default=None),
        )

    @cached_property
    def held(self) -> Mapping[int, Silence]:
        """Alerts that a silence holds back."""
        return held_back(self.situation, self.now)

    @cached_property
    def group_of(self) -> Mapping[int, int]:
        """Alert -> alert of its group."""
        return groups.members(self.situation)

    @cached_property
    def members_of(self) -> Mapping[int, Sequence[int]]:
        """Alert of a group -> alerts of its members."""
        return _by_group(self.group_of)

    # What a route is to be told

    def _items(self, route: Route) -> list[_Item]:
        """The difference between what is and what the route knows, most urgent first."""
        items = []
        for alert in self.situation.alerts.values():
            known = self.situation.announcements.get((alert.alert_id, route.name))
            change = self._change(route, alert, known) if alert.is_open else self._end(alert, known)
            if change is not None:
                items.append(_Item(alert, change))
        return sorted(items, key=lambda item: item.order)

    def _end(self, alert: AlertNow, known: Announcement | None) -> Change | None:
        """Whoever was told of an alert is told of its end, after a silence when there is one."""
        return None if known is None or alert.alert_id in self.held else "resolved"

    def _change(self, route: Route, alert: AlertNow, known: Announcement | None) -> Change | None:
        """What is to be told of an alert that goes on; None: nothing."""
        if alert.is_settling or not self._matches(route, alert):
            return None
        change = self._open_change(alert, known)
        if change is None:
            return None
        reason = self._why_quiet(route, alert, change)
        if reason is not None:
            reasons = self.quiet.setdefault(alert.alert_id, [])
            if reason not in reasons:
                reasons.append(reason)
            return None
        return change

    def _open_change(self, alert: AlertNow, known: Announcement | None) -> Change | None:
        """What has changed since the route was told, whether it may be told or not."""
        if known is None:
            return "opened"
        worse = URGENCY[alert.severity] - URGENCY[known.severity]
        is_again = (
            worse == 0
            and alert.alert_id in self._escalated
            and self.now - known.told_at >= TOLD_AGAIN_AFTER
        )
        if worse > 0 or is_again:
            return "escalated"
        if alert.remind_seconds is None:
            return None
        due_at = known.told_at + timedelta(seconds=alert.remind_seconds)
        if due_at > self.now:
            self.moments.append(due_at)
            return None
        return "reminder"

    @cached_property
    def _escalated(self) -> frozenset[int]:
        """Alerts that have just become worse."""
        return frozenset(one.alert_id for one in self.situation.waiting if one.kind == "escalated")

    def _matches(self, route: Route, alert: AlertNow) -> bool:
        """Whether a route is for an alert, or for one that this one speaks for.

        These are the members of a group, and the servers behind a jump host.
        """
        if URGENCY[alert.severity] < URGENCY[route.minimum_severity]:
            return False
        if self._is_for(route, alert, alert.rule):
            return True
        spoken_for = self.members_of.get(alert.alert_id, self._behind.get(alert.alert_id, ()))
        return any(
            self._is_for(route, other, rule)
            for number in spoken_for
            for other in [self.situation.alerts[number]]
            for rule in (alert.rule, other.rule)
        )

    def _is_for(self, route: Route, alert: AlertNow, rule: str) -> bool:
        """Whether organization, tags and rule are those of the route."""
        return (
            (route.organization_ids is None or alert.organization_id in route.organization_ids)
            and (not route.rules or rule in route.rules)
            and (not route.tags or not route.tags.isdisjoint(self.situation.tags_of(alert)))
        )

    # Why not

    def _why_quiet(self, route: Route, alert: AlertNow, change: Change) -> str | None:
        """Why the route is not told of a change; None: it is."""
        silence = self.held.get(alert.alert_id)
        if silence is not None:
            return str(silence)
        if alert.state == "acknowledged" and change != "escalated":
            return f"acknowledged by {alert.acknowledged_by}"
        for explanation in self._explanations(alert):
            if self._matches(route, explanation.alert):
                return explanation.words
        return None

    def _explanations(self, alert: AlertNow) -> Iterable[_Explanation]:
        """Other alerts that speak for one."""
        group = self.situation.alerts.get(self.group_of.get(alert.alert_id, 0))
        if group is not None:
            yield _Explanation(
                group, f"alert {group.alert_id} speaks for the group {group.subject_name}"
            )
        if alert.server_id is None:
            return
        others = self.situation.open_by_server.get(alert.server_id, {})
        for rule in _explaining_rules(alert):
            for other in others.get(rule, ()):
                if URGENCY[other.severity] >= URGENCY[alert.severity]:
                    words = f"alert {other.alert_id} ({rule}) of the same server explains it"
                    yield _Explanation(other, words)
        if alert.rule in {UNREACHABLE_RULE, HOST_KEY_RULE}:
            jump_host = self.situation.jump_host_alert(alert.server_id)
            if jump_host is not None:
                words = (
                    f"behind jump host {jump_host.subject_name}, which can not be read "
                    f"(alert {jump_host.alert_id})"
                )
                yield _Explanation(jump_host, words)

    # Messages

    def _send(self, route: Route, items: Sequence[_Item]) -> None:
        """Make messages of what a route is to be told, within its rate."""
        self._tell(route, [item for item in items if not _is_sent(route, item)])
        bundles = _bundles([item for item in items if _is_sent(route, item)], self.group_of)
        room = max(0, route.per_hour - route.sent_count)
        for bundle in bundles[:room]:
            self._tell(route, bundle)
            self._deliver(route, bundle)
        late = bundles[room:]
        rest = [item for bundle in late for item in bundle]
        if not rest:
            return
        free_at = (
            self.now if route.last_digest_at is None else route.last_digest_at + DIGEST_SPACING
        )
        if free_at <= self.now:
            self._tell(route, rest)
            self._deliver(route, rest, "digest", is_summed=len(late) > 1)
            return
        self.moments.append(free_at)
        for item in rest:
            words = f"route {route.name} had its {route.per_hour} messages in this hour; it waits"
            self.quiet.setdefault(item.alert.alert_id, []).append(words)

    def _tell(self, route: Route, items: Iterable[_Item]) -> None:
        """Note that a route knows, and when it is to be reminded."""
        for item in items:
            alert = item.alert
            self.told.append(Told(alert.alert_id, route.name, item.change, alert.severity))
            if alert.remind_seconds is not None and alert.is_open:
                self.moments.append(self.now + timedelta(seconds=alert.remind_seconds))

    def _deliver(
        self,
        route: Route,
        items: Sequence[_Item],
        kind: Literal["digest"] | None = None,
        *,
        is_summed: bool = False,
    ) -> None:
        """One message; a digest of a single bundle reads like any other."""
        first = sorted(items, key=lambda item: item.order)
        alerts = tuple(
            shown(item.alert, item.change, self.situation) for item in first[:DIGEST_SHOWN]
        )
        content = Content(
            kind="digest" if is_summed else first[0].change,
            decided_at=self.now,
            alerts=alerts,
            alert_count=len(items),
            counts=_counts(items) if is_summed else (),
            remarks=() if is_summed else tuple(self._remarks(items)),
        )
        ids = tuple(item.alert.alert_id for item in first)
        self.deliveries.append(PlannedDelivery(route.name, kind or content.kind, ids, content))

    def _remarks(self, items: Iterable[_Item]) -> Iterable[str]:
        """What else is to be said: who is not told of one by one."""
        for item in items:
            behind = len(self._behind.get(item.alert.alert_id, ()))
            if behind and item.change != "resolved":
                servers = "1 server" if behind == 1 else f"{behind} servers"
                yield (
                    f"{servers} behind {item.alert.subject_name} can not be read either; they are "
                    "told of when it is back and they are not."
                )

    @cached_property
    def _behind(self) -> Mapping[int, Sequence[int]]:
        """Alert of a jump host -> alerts of the servers behind it that can not be read."""
        return _by_group(
            {
                alert.alert_id: found.alert_id
                for server_id, alert in self.situation.silent_servers.items()
                if (found := self.situation.jump_host_alert(server_id)) is not None
            }
        )

    def _give_up_ends(self) -> None:
        """Ends that a route that is switched off waits for."""
        disabled = {route.name for route in self.situation.routes if not route.is_enabled}
        for alert_id, route_name in self.situation.announcements:
            alert = self.situation.alerts.get(alert_id)
            if route_name in disabled and alert is not None and not alert.is_open:
                self.told.append(Told(alert_id, route_name, "resolved", alert.severity))

    # What is written down

    @cached_property
    def _told_by_alert(self) -> Mapping[int, Mapping[Change, list[str]]]:
        """Alert -> change -> routes."""
        sent = {(one.route, number) for one in self.deliveries for number in one.alert_ids}
        found: dict[int, dict[Change, list[str]]] = {}
        for told in self.told:
            if (told.route, told.alert_id) in sent:
                found.setdefault(told.alert_id, {}).setdefault(told.change, []).append(told.route)
        return found

    def _settled(self) -> dict[int, str]:
        """What was decided of each change, in words."""
        return {one.event_id: self._outcome(one.alert_id) for one in self.situation.waiting}

    def _outcome(self, alert_id: int) -> str:
        """What was decided of an alert, in words."""
        alert = self.situation.alerts[alert_id]
        changes = self._told_by_alert.get(alert_id, {})
        words = [f"{_word(change)} told to {', '.join(to)}" for change, to in changes.items()]
        words += [f"quiet: {reason}" for reason in self.quiet.get(alert_id, ())]
        if words:
            return "; ".join(words)
        is_known = any(
            (alert_id, route.name) in self.situation.announcements
            for route in self.situation.routes
        )
        if is_known:
            if not alert.is_open and not alert.tells_ends:
                return f"quiet: ends of {alert.rule} are not told"
            silence = self.held.get(alert_id)
            return "nothing new to tell" if silence is None else f"quiet: {silence}"
        if not alert.is_open:
            return "quiet: over before anybody was told"
        return "quiet: no route is for it"

    def _events(self) -> Iterable[PlannedEvent]:
        """Entries in the histories of alerts."""
        for alert_id, group_id in self._grouped().items():
            alert = self.situation.alerts[alert_id]
            kind = "ungrouped" if group_id is None else "grouped"
            message = (
                "speaks for itself again"
                if group_id is None
                else f"alert {group_id} speaks for the group"
            )
            yield PlannedEvent(alert_id, kind, alert.severity, message)
        for alert_id, changes in self._told_by_alert.items():
            alert = self.situation.alerts[alert_id]
            for change, routes in changes.items():
                kind = "reminded" if change == "reminder" else "announced"
                message = f"{_word(change)} told to {', '.join(routes)}"
                yield PlannedEvent(alert_id, kind, alert.severity, message)
        decided = {one.alert_id for one in self.situation.waiting if one.kind != "resolved"}
        for alert_id in sorted(decided - self._told_by_alert.keys()):
            outcome = self._outcome(alert_id)
            if outcome.startswith("quiet: "):
                alert = self.situation.alerts[alert_id]
                message = outcome.removeprefix("quiet: ")
                yield PlannedEvent(alert_id, "quiet", alert.severity, message)

    def _grouped(self) -> dict[int, int | None]:
        """Open alerts whose group is another than is stored."""
        return {
            alert.alert_id: self.group_of.get(alert.alert_id)
            for alert in self.situation.open_alerts
            if alert.group_alert_id != self.group_of.get(alert.alert_id)
        }


def _is_sent(route: Route, item: _Item) -> bool:
    """Whether a route gets a message of it; an end can be known without one."""
    return item.change != "resolved" or (route.sends_resolved and item.alert.tells_ends)


def _explaining_rules(alert: AlertNow) -> tuple[str, ...]:
    """Rules whose alert of the same server speaks for this one."""
    if alert.rule == HOST_KEY_RULE or not alert.is_of_samples:
        return ()
    if alert.rule == UNREACHABLE_RULE:
        return (HOST_KEY_RULE,)
    found = (HOST_KEY_RULE, UNREACHABLE_RULE)
    return (*found, "file_system_high") if alert.rule == "disk_high" else found


def _bundles(items: Sequence[_Item], group_of: Mapping[int, int]) -> list[list[_Item]]:
    """What goes into one message: one change of a group, of a rule, or of a server; all ends."""
    by_rule = Counter((item.change, item.alert.rule) for item in items)
    found: dict[tuple[object, ...], list[list[_Item]]] = {}
    for item in items:
        alert = item.alert
        group = group_of.get(alert.alert_id, alert.group_alert_id)
        if alert.rule == GROUP_RULE:
            group = alert.alert_id
        key: tuple[object, ...] = ("alert", item.change, alert.alert_id)
        if item.change == "resolved":
            key = ("ends",)
        elif group is not None:
            key = ("group", item.change, group)
        elif by_rule[item.change, alert.rule] > 1:
            key = ("rule", item.change, alert.rule)
        elif alert.server_id is not None:
            key = ("server", item.change, alert.server_id)
        bundles = found.setdefault(key, [[]])
        if len(bundles[-1]) == LONGEST_BUNDLE:
            bundles.append([])
        bundles[-1].append(item)
    all_bundles = [bundle for bundles in found.values() for bundle in bundles]
    return sorted(all_bundles, key=lambda bundle: bundle[0].order)


def _counts(items: Sequence[_Item]) -> tuple[tuple[str, int], ...]:
    """Alerts by severity, most urgent first, then ends; then by rule, most first."""
    severities = Counter(
        "resolved" if item.change == "resolved" else item.alert.severity for item in items
    )
    names = [*sorted(URGENCY, key=lambda name: -URGENCY[name]), "resolved"]
    rules = Counter(item.alert.rule for item in items)
    return (
        *((name, severities[name]) for name in names if severities[name]),
        *sorted(rules.items(), key=lambda pair: (-pair[1], pair[0])),
    )


def _by_group(group_of: Mapping[int, int]) -> dict[int, list[int]]:
    """Alert of a group -> its members, in order."""
    found: dict[int, list[int]] = {}
    for alert_id in sorted(group_of):
        found.setdefault(group_of[alert_id], []).append(alert_id)
    return found


def _word(change: Change) -> str:
    """How a change is called in a history."""
    return {"opened": "opening", "escalated": "escalation", "reminder": "reminder"}.get(
        change, "end"
    )
