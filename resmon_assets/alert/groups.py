"""Which groups of servers went away at once, and which alerts belong to a group.

Belongs here: the rule group_unreachable. A group is an organization with all below it, or the
servers behind one jump host. Pure: no database, no clock; the alert of a group is opened and
resolved by the same machine as all others (alerting.py).

A group is formed by servers of which nobody is silenced and that went away at about the same time;
servers that were lost one by one over weeks are no group. What is formed stays until few enough of
all its servers are away.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from resmon_assets.alert.situation import GROUP_RULE, AlertNow, Situation
from resmon_assets.alerting import is_worth_storing, keep_time, step
from resmon_resources.alert_records import Condition, Observation, Rule, Step, Subject

ORGANIZATION, JUMP_HOST = "organization", "jump_host"
NAMES_SHOWN = 10
WITHIN_SECONDS = 300
"""Option within_seconds: servers that went away within so many seconds went away together. Twice
for_seconds of the rule unreachable and some, because each server is asked at another second."""
MINIMUM_SERVERS = 3
"""Option minimum_servers, where a rule does not say."""
_FULL_PCT = 100.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Servers that may go away together.

    Attributes:
        key: subject of the alert: `organization:3`, `jump_host:bastion`.
        name: for a person.
        organization_id: the organization, or the smallest one that has all servers; None: none.
        server_ids: its active servers.
    """

    key: str
    name: str
    organization_id: int | None
    server_ids: frozenset[int]

    @property
    def is_organization(self) -> bool:
        """Whether it is an organization, not a jump host."""
        return self.key.startswith(ORGANIZATION)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A scope and the servers that went away together."""

    scope: Scope
    away: frozenset[int]


def group_steps(situation: Situation, silenced: Collection[int], now: datetime) -> list[Step]:
    """Judge all groups.

    Args:
        situation: what is.
        silenced: identities of alerts that a silence or maintenance window holds back now; they
            form no group, and do not end one.
        now: aware UTC.

    Returns:
        Steps that are worth storing.
    """
    scopes = _scopes(situation)
    formed = {
        one.scope.key: one
        for one in _forming(situation, scopes, frozenset(silenced), _in_force(situation))
    }
    steps = []
    for key in sorted(formed.keys() | situation.conditions.keys()):
        before = situation.conditions.get(key)
        scope = scopes.get(key) or Scope(key, _name_of(situation, key), None, frozenset())
        away = scope.server_ids & situation.silent_servers.keys()
        if not is_in_force(before):
            away = formed[key].away if key in formed else frozenset()
        value = _share_pct(away, scope.server_ids)
        observation = Observation(
            subject=Subject(key, scope.name, None, scope.organization_id),
            at=now,
            value=value,
            reason=_reason(situation, scope, away),
            details={"away_count": len(away), "server_count": len(scope.server_ids)},
        )
        found = step(_rule_of(situation, scope), before, observation)
        if found.transition is not None or is_worth_storing(found):
            steps.append(found)
    return steps


def members(situation: Situation) -> dict[int, int]:
    """Alerts of servers that can not be read, each with the alert of its group.

    A group counts as long as its condition holds, also when a person has resolved its alert.
    """
    groups: dict[str, AlertNow] = {}
    for alert in sorted(situation.alerts.values(), key=lambda one: (one.is_open, one.alert_id)):
        if alert.rule == GROUP_RULE and is_in_force(situation.conditions.get(alert.subject)):
            groups[alert.subject] = alert
    scopes = _scopes(situation) if groups else {}
    found: dict[int, int] = {}
    for group in sorted(groups.values(), key=lambda alert: alert.alert_id):
        scope = scopes.get(group.subject)
        for server_id in () if scope is None else scope.server_ids:
            member = situation.silent_servers.get(server_id)
            if member is None:
                continue
            if member.alert_id not in found or member.group_alert_id == group.alert_id:
                found[member.alert_id] = group.alert_id
    return found


def next_change(situation: Situation, now: datetime) -> datetime | None:
    """When a group begins or ends by the passing of time alone; None: none does."""
    moments = []
    for key, condition in situation.conditions.items():
        rule = _rule_of(situation, Scope(key, key, _organization_of(key), frozenset()))
        if condition.state == "pending":
            moments.append(condition.since + timedelta(seconds=rule.for_seconds))
        elif condition.lower_since is not None:
            moments.append(condition.lower_since + keep_time(rule, condition.openings))
    return min((max(moment, now + timedelta(seconds=1)) for moment in moments), default=None)


def is_in_force(condition: Condition | None) -> bool:
    """Whether a group is away, whoever was told of it."""
    return condition is not None and condition.state in {"firing", "dismissed"}


def _in_force(situation: Situation) -> frozenset[str]:
    """Keys of the groups that are away."""
    return frozenset(key for key, one in situation.conditions.items() if is_in_force(one))


def _scopes(situation: Situation) -> dict[str, Scope]:
    """All organizations and jump hosts with their active servers."""
    active = {number: one for number, one in situation.servers.items() if one.is_active}
    by_organization: dict[int, set[int]] = {}
    by_jump_host: dict[str, set[int]] = {}
    for server_id, server in active.items():
        for organization_id in situation.rules.path_of(server.organization_id):
            by_organization.setdefault(organization_id, set()).add(server_id)
        if server.jump_hosts:
            by_jump_host.setdefault(server.jump_hosts[-1].lower(), set()).add(server_id)
    scopes = [
        Scope(
            f"{ORGANIZATION}:{organization_id}",
            situation.organizations[organization_id].name,
            organization_id,
            frozenset(servers),
        )
        for organization_id, servers in by_organization.items()
        if organization_id in situation.organizations
    ]
    scopes += [
        Scope(
            f"{JUMP_HOST}:{host}",
            f"jump host {host}",
            _common_organization(situation, servers),
            frozenset(servers),
        )
        for host, servers in by_jump_host.items()
    ]
    return {scope.key: scope for scope in scopes}


def _common_organization(situation: Situation, server_ids: Iterable[int]) -> int | None:
    """The smallest organization that has all of these servers; None: there is none."""
    paths = [
        situation.rules.path_of(situation.servers[server_id].organization_id)
        for server_id in server_ids
    ]
    common = None
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            break
        common = level[0]
    return common


def _forming(
    situation: Situation,
    scopes: Mapping[str, Scope],
    silenced: frozenset[int],
    in_force: frozenset[str],
) -> list[_Candidate]:
    """Groups that went away now; each server belongs to one at most."""
    covered = frozenset[int]().union(
        *(scopes[key].server_ids for key in in_force if key in scopes),
    )
    away = {
        server_id: alert
        for server_id, alert in situation.silent_servers.items()
        if server_id not in covered
        and alert.alert_id not in silenced
        and situation.jump_host_alert(server_id) is None
    }
    if not away:
        return []
    former = _Former(situation, scopes, away, covered)
    candidates = former.of_jump_hosts() + former.of_organizations()
    chosen: list[_Candidate] = []
    # The one that explains most; of two that explain the same, the jump host.
    for one in sorted(candidates, key=lambda one: (-len(one.away), one.scope.is_organization)):
        taken = frozenset[int]().union(*(other.scope.server_ids for other in chosen))
        found = former.together(one.scope, taken)
        # Judged against all of its servers from now on: it must not end at once.
        enough = _rule_of(situation, one.scope).levels[0].trigger
        if found and _share_pct(found, one.scope.server_ids) >= enough:
            chosen.append(_Candidate(one.scope, found))
    return chosen


@dataclass(frozen=True, slots=True)
class _Former:
    """Finds what went away together.

    Attributes:
        away: servers that can not be read and that no group speaks for, with their alerts.
        covered: servers of groups that are away already.
    """

    situation: Situation
    scopes: Mapping[str, Scope]
    away: Mapping[int, AlertNow]
    covered: frozenset[int]

    def of_jump_hosts(self) -> list[_Candidate]:
        """Jump hosts behind which enough went away."""
        return [
            _Candidate(scope, found)
            for scope in self.scopes.values()
            if not scope.is_organization and (found := self.together(scope))
        ]

    def of_organizations(self) -> list[_Candidate]:
        """The smallest organizations that explain what went away."""
        children: dict[int | None, list[int]] = {}
        for organization_id, one in self.situation.organizations.items():
            children.setdefault(one.parent_id, []).append(organization_id)
        return [
            found for root in children.get(None, []) for found in self._smallest(root, children)
        ]

    def together(self, scope: Scope, taken: frozenset[int] = frozenset()) -> frozenset[int]:
        """Servers of a scope that went away together, without `taken`; empty: too few."""
        rule = _rule_of(self.situation, scope)
        if not rule.is_enabled:
            return frozenset()
        servers = scope.server_ids - taken - self.covered
        alerts = sorted(
            (self.away[server_id] for server_id in servers & self.away.keys()),
            key=lambda alert: alert.began_at,
        )
        within = timedelta(seconds=float(rule.options.get("within_seconds", WITHIN_SECONDS)))
        best: list[AlertNow] = []
        first = 0
        for last, alert in enumerate(alerts):
            while alert.began_at - alerts[first].began_at > within:
                first += 1
            if last - first + 1 > len(best):
                best = alerts[first : last + 1]
        found = frozenset(alert.server_id for alert in best if alert.server_id is not None)
        minimum = int(rule.options.get("minimum_servers", MINIMUM_SERVERS))
        is_enough = _share_pct(found, servers) >= rule.levels[0].trigger
        return found if len(found) >= minimum and is_enough else frozenset()

    def _smallest(
        self, organization_id: int, children: Mapping[int | None, list[int]]
    ) -> list[_Candidate]:
        """Candidates of an organization and those below it, as few and as small as can be."""
        below = [
            found
            for child in children.get(organization_id, [])
            for found in self._smallest(child, children)
        ]
        scope = self.scopes.get(f"{ORGANIZATION}:{organization_id}")
        own = frozenset[int]() if scope is None else self.together(scope)
        if scope is None or not own:
            return below
        explained = frozenset[int]().union(*(one.away for one in below))
        is_wider = len(below) > 1 and own >= explained
        elsewhere = frozenset[int]().union(*(one.scope.server_ids for one in below))
        if not below or is_wider or self.together(scope, elsewhere):
            return [_Candidate(scope, own)]
        return below


def _rule_of(situation: Situation, scope: Scope) -> Rule:
    """The rule as it holds for a scope."""
    path = situation.rules.path_of(scope.organization_id)
    return situation.rules.rule_for(GROUP_RULE, organization_path=path)


def _organization_of(key: str) -> int | None:
    """Organization of a key; None for a jump host, whose rule is that of all."""
    kind, _, number = key.partition(":")
    return int(number) if kind == ORGANIZATION and number.isdigit() else None


def _name_of(situation: Situation, key: str) -> str:
    """Name of a scope without servers."""
    organization = situation.organizations.get(_organization_of(key) or 0)
    return key if organization is None else organization.name


def _share_pct(part: frozenset[int], whole: frozenset[int]) -> float:
    """Percent; 0 of nothing."""
    return _FULL_PCT * len(part) / len(whole) if whole else 0.0


def _reason(situation: Situation, scope: Scope, away: frozenset[int]) -> str:
    """How many of how many, and which."""
    where = f"of {scope.name}" if scope.is_organization else f"behind {scope.name}"
    told = f"{len(away)} of {len(scope.server_ids)} servers {where} can not be read"
    if not away:
        return f"{told}."
    names = sorted(situation.servers[one].name for one in away)
    more = len(names) - NAMES_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{told}: {', '.join(names[:NAMES_SHOWN])}{rest}."
