"""Alert rules: as they are shipped, as an installation sets them, and as they hold for a subject.

Belongs here: which setting wins, what a rule may be, and the statements on alert.rules and
alert.rule_settings. How a rule judges a value is in resmon_assets/alerting.py. Asks no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from math import isfinite
from typing import Any, Literal, cast

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from resmon_resources.alert_records import SEVERITIES, Level, Rule, Severity
from resmon_resources.errors import RuleInvalid, RuleUnknown
from resmon_resources.postgres_connection import load_query
from resmon_resources.words import suggestion

SubjectKind = Literal[
    "server", "file_system", "quota", "series", "collector", "table", "job", "route", "group"
]
Source = Literal["samples", "tables", "supervision", "group"]

COLUMNS = (
    *("levels", "for_seconds", "keep_seconds"),
    *("remind_seconds", "is_enabled", "tells_ends"),
)
"""What a setting can change, each for itself; an option is one more, `options.NAME`."""

MAXIMUM_LEVELS = 5
MINIMUM_REMIND_SECONDS = 60
MAXIMUM_SECONDS = 30 * 86_400
"""Of any waiting time: a condition that waits longer would be older than most of what is stored."""

_FULL_PCT = 100.0
_OF_SERVERS: frozenset[SubjectKind] = frozenset({"server", "file_system", "series"})
_OF_ORGANIZATIONS: frozenset[SubjectKind] = frozenset({"quota", "group"})


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a setting holds; without any of the three: for all. At most one is given.

    Attributes:
        organization_id: an organization with all below it.
        server_id: one server.
        tag: servers with this tag.
    """

    organization_id: int | None = None
    server_id: int | None = None
    tag: str | None = None


ALL = Scope()


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What a setting says differently; None: nothing of its own.

    Attributes:
        levels: from the least urgent to the most.
        for_seconds: as in `Rule`.
        keep_seconds: as in `Rule`.
        remind_seconds: as in `Rule`; 0: never.
        is_enabled: as in `Rule`.
        tells_ends: as in `Rule`.
        options: by name, only those that differ.
    """

    levels: tuple[Level, ...] | None = None
    for_seconds: int | None = None
    keep_seconds: int | None = None
    remind_seconds: int | None = None
    is_enabled: bool | None = None
    tells_ends: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON

    def applied_to(self, rule: Rule) -> Rule:
        """The rule with what this says differently."""
        return replace(
            rule,
            levels=rule.levels if self.levels is None else self.levels,
            for_seconds=rule.for_seconds if self.for_seconds is None else self.for_seconds,
            keep_seconds=rule.keep_seconds if self.keep_seconds is None else self.keep_seconds,
            remind_seconds=(
                rule.remind_seconds if self.remind_seconds is None else self.remind_seconds or None
            ),
            is_enabled=rule.is_enabled if self.is_enabled is None else self.is_enabled,
            tells_ends=rule.tells_ends if self.tells_ends is None else self.tells_ends,
            options={**rule.options, **self.options},
        )

    def columns(self) -> list[str]:
        """What it says differently, as named in `COLUMNS`."""
        named = [name for name in COLUMNS if getattr(self, name) is not None]
        return named + [f"options.{name}" for name in self.options]


@dataclass(frozen=True, slots=True)
class RuleSetting:
    """One row of alert.rule_settings.

    Attributes:
        rule: name of the rule.
        scope: for whom it holds.
        change: what it says.
        changed_by: account that set it.
        changed_at: when it was last set, aware UTC.
    """

    rule: str
    scope: Scope
    change: RuleChange
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class ShippedRule:
    """A rule as it is shipped, with what no setting changes.

    Attributes:
        rule: the rule.
        subject_kind: what an alert of it is about.
        source: where its values come from, as in alert.rules.
        description: what it tells, in words.
    """

    rule: Rule
    subject_kind: SubjectKind
    source: Source
    description: str


@dataclass(slots=True)
class _Settings:
    """Settings of one rule, and their scopes by what a subject brings."""

    by_scope: dict[Scope, RuleSetting] = field(default_factory=dict)
    servers: dict[int, Scope] = field(default_factory=dict)
    tags: dict[str, Scope] = field(default_factory=dict)
    organizations: dict[int, Scope] = field(default_factory=dict)

    def add(self, setting: RuleSetting) -> None:
        """Take one in."""
        scope = setting.scope
        self.by_scope[scope] = setting
        if scope.server_id is not None:
            self.servers[scope.server_id] = scope
        if scope.tag is not None:
            self.tags[scope.tag] = scope
        if scope.organization_id is not None:
            self.organizations[scope.organization_id] = scope

    def scopes_of(
        self, server_id: int | None, organization_path: Sequence[int], tags: Sequence[str]
    ) -> tuple[Scope, ...]:
        """Scopes of the settings that hold for a subject, the nearest first."""
        found = []
        if self.servers and server_id in self.servers:
            found.append(self.servers[server_id])
        if self.tags:
            found += [self.tags[tag] for tag in sorted(tags) if tag in self.tags]
        if self.organizations:
            above = reversed(organization_path)
            found += [self.organizations[one] for one in above if one in self.organizations]
        if ALL in self.by_scope:
            found.append(ALL)
        return tuple(found)


class RuleBook:
    """All rules with their settings, and which of them holds for whom. Pure; never changes.

    The nearest setting wins, column by column: of the server, of a tag (the first by name), of an
    organization (its own first, then upwards), of all; else what is shipped.

    Asking for 10,000 servers is cheap: of a server, tags and path count only as far as a setting
    names them, and one answer is kept for each such combination.
    """

    def __init__(
        self,
        shipped: Sequence[ShippedRule],
        settings: Sequence[RuleSetting] = (),
        *,
        parents: Mapping[int, int | None] | None = None,
    ) -> None:
        """Keep rules and settings.

        Args:
            shipped: the rules.
            settings: at most one per rule and scope; those of a rule that is not shipped are left.
            parents: organization -> the one above it, None at the root; for `path_of`.
        """
        self._shipped = {one.rule.name: one for one in shipped}
        self._settings = {name: _Settings() for name in self._shipped}
        for setting in settings:
            if setting.rule in self._settings:
                self._settings[setting.rule].add(setting)
        self._parents = dict(parents or {})
        self._paths: dict[int, tuple[int, ...]] = {}
        self._rules: dict[tuple[str, tuple[Scope, ...]], Rule] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all rules, sorted."""
        return tuple(sorted(self._shipped))

    def shipped(self, name: str) -> ShippedRule:
        """The rule as it is shipped.

        Raises:
            RuleUnknown: there is none; suggests a close name.
        """
        found = self._shipped.get(name)
        if found is None:
            hint = suggestion(name, self._shipped)
            msg = f"There is no alert rule {name!r}.{hint} There are: {', '.join(self.names)}."
            raise RuleUnknown(msg)
        return found

    def settings_of(self, name: str) -> tuple[RuleSetting, ...]:
        """Settings of a rule, in no order.

        Raises:
            RuleUnknown: there is no such rule.
        """
        self.shipped(name)
        return tuple(self._settings[name].by_scope.values())

    def path_of(self, organization_id: int | None) -> tuple[int, ...]:
        """Organizations from the root down to this one; empty for None, alone when not known."""
        if organization_id is None:
            return ()
        found = self._paths.get(organization_id)
        if found is None:
            path = [organization_id]
            while (above := self._parents.get(path[-1])) is not None and above not in path:
                path.append(above)
            found = self._paths[organization_id] = tuple(reversed(path))
        return found

    def rule_for(
        self,
        name: str,
        *,
        server_id: int | None = None,
        organization_path: Sequence[int] = (),
        tags: Sequence[str] = (),
    ) -> Rule:
        """The rule as it holds for a subject.

        Args:
            name: of the rule.
            server_id: server of the subject; None: it has none.
            organization_path: organizations from the root down to that of the subject (`path_of`).
            tags: of the server, in any order.

        Raises:
            RuleUnknown: there is no such rule.
        """
        settings = self._settings.get(name)
        if settings is None or not settings.by_scope:
            return self.shipped(name).rule
        scopes = settings.scopes_of(server_id, organization_path, tags)
        found = self._rules.get((name, scopes))
        if found is None:
            found = self._shipped[name].rule
            for scope in reversed(scopes):
                found = settings.by_scope[scope].change.applied_to(found)
            self._rules[name, scopes] = found
        return found

    def origins_of(
        self,
        name: str,
        *,
        server_id: int | None = None,
        organization_path: Sequence[int] = (),
        tags: Sequence[str] = (),
    ) -> dict[str, RuleSetting]:
        """Where each value of `rule_for` comes from, by column; what is not named is as shipped.

        Raises:
            RuleUnknown: there is no such rule.
        """
        self.shipped(name)
        settings = self._settings[name]
        origins: dict[str, RuleSetting] = {}
        for scope in reversed(settings.scopes_of(server_id, organization_path, tags)):
            setting = settings.by_scope[scope]
            origins |= dict.fromkeys(setting.change.columns(), setting)
        return origins


def problems_of(rule: Rule) -> list[str]:
    """What is wrong with a rule, for the person who sets it; empty when nothing is."""
    found = _problems_of_levels(rule.levels, is_above=rule.direction == "above")
    for name, seconds, least in (
        ("for", rule.for_seconds, 0),
        ("keep", rule.keep_seconds, 0),
        ("remind", rule.remind_seconds, MINIMUM_REMIND_SECONDS),
    ):
        if seconds is not None and not least <= seconds <= MAXIMUM_SECONDS:
            found.append(f"{name} is {seconds} s; it can be {least} s to {MAXIMUM_SECONDS} s")
    return found


def _problems_of_levels(levels: Sequence[Level], *, is_above: bool) -> list[str]:
    """What is wrong with levels: their number, values, order, and where each is left."""
    if not 1 <= len(levels) <= MAXIMUM_LEVELS:
        return [f"it has {len(levels)} levels; it can have 1 to {MAXIMUM_LEVELS}"]
    found = [
        f"level {level.trigger:g} is left at {level.clear:g}; both are to be finite numbers"
        for level in levels
        if not (isfinite(level.trigger) and isfinite(level.clear))
    ]
    for level in levels:
        if level.clear > level.trigger if is_above else level.clear < level.trigger:
            side = "above" if is_above else "below"
            found.append(f"level {level.trigger:g} is left at {level.clear:g}, which is {side} it")
    for lower, upper in pairwise(levels):
        if lower.trigger >= upper.trigger if is_above else lower.trigger <= upper.trigger:
            found.append(f"level {upper.trigger:g} does not lie beyond level {lower.trigger:g}")
        elif lower.clear > upper.clear if is_above else lower.clear < upper.clear:
            found.append(
                f"level {lower.trigger:g} is left at {lower.clear:g}, before the more urgent level "
                f"{upper.trigger:g} is, at {upper.clear:g}"
            )
        if SEVERITIES.index(lower.severity) > SEVERITIES.index(upper.severity):
            found.append(
                f"level {upper.trigger:g} is {upper.severity}, less urgent than level "
                f"{lower.trigger:g}, which is {lower.severity}"
            )
    return found


def read_rule_book(connection: psycopg.Connection[Any]) -> RuleBook:
    """All rules with their settings and the tree of organizations, as stored now."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        rules = cursor.execute(load_query("alert", "read_rules")).fetchall()
        settings = cursor.execute(load_query("alert", "read_rule_settings")).fetchall()
        tree = cursor.execute(load_query("alert", "read_organization_parents")).fetchall()
    return RuleBook(
        [_shipped_of(row) for row in rules],
        [_setting_of(row) for row in settings],
        parents={row["organization_id"]: row["parent_id"] for row in tree},
    )


def rules_fingerprint(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """Equal as long as `read_rule_book` gives the same; cheaper than reading it."""
    with connection.transaction():
        row = connection.execute(load_query("alert", "rules_fingerprint")).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def set_rule(
    connection: psycopg.Connection[Any],
    name: str,
    change: RuleChange,
    *,
    scope: Scope,
    changed_by: str,
    now: datetime,
) -> None:
    """Set what `change` gives of a rule for a scope, in a transaction; the rest stays as it is.

    Raises:
        RuleUnknown: there is no such rule.
        RuleInvalid: what is given cannot be, lists everything that is wrong; or it would never
            hold in this scope.
    """
    with connection.transaction():
        shipped = read_rule_book(connection).shipped(name)
        check_change(shipped, change)
        check_scope(shipped, scope)
        levels = change.levels
        connection.execute(
            load_query("alert", "upsert_rule_setting"),
            {
                "rule": name,
                "organization_id": scope.organization_id,
                "server_id": scope.server_id,
                "tag": scope.tag,
                "levels": None if levels is None else [one.trigger for one in levels],
                "clear_levels": None if levels is None else [one.clear for one in levels],
                "severities": None if levels is None else [one.severity for one in levels],
                "for_seconds": change.for_seconds,
                "keep_seconds": change.keep_seconds,
                "remind_seconds": change.remind_seconds,
                "is_enabled": change.is_enabled,
                "tells_ends": change.tells_ends,
                "options": Jsonb(dict(change.options)) if change.options else None,
                "changed_by": changed_by,
                "now": now,
            },
        )


def reset_rule(
    connection: psycopg.Connection[Any], name: str | None, *, scope: Scope | None
) -> list[tuple[str, Scope]]:
    """Take settings away, in a transaction; returns what was taken.

    Args:
        connection: an open connection.
        name: of the rule; None: of all rules.
        scope: for whom the setting holds; None: of every scope.

    Raises:
        RuleUnknown: there is no such rule.
    """
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        if name is not None:
            read_rule_book(connection).shipped(name)
        given = scope or ALL
        rows = cursor.execute(
            load_query("alert", "delete_rule_settings"),
            {
                "rule": name,
                "all_scopes": scope is None,
                "organization_id": given.organization_id,
                "server_id": given.server_id,
                "tag": given.tag,
            },
        ).fetchall()
    return [(row["rule"], _scope_of(row)) for row in rows]


def check_change(shipped: ShippedRule, change: RuleChange) -> None:
    """Refuse what the rule cannot be.

    Raises:
        RuleInvalid: lists everything that is wrong.
    """
    rule = shipped.rule
    asked = replace(change, remind_seconds=None) if change.remind_seconds == 0 else change
    found = problems_of(asked.applied_to(rule))
    if rule.unit == "percent" and shipped.subject_kind != "quota":
        found += [
            f"level {level.trigger:g} is outside 0 to 100 percent and would never be judged rightly"
            for level in change.levels or ()
            if not 0 <= level.trigger <= _FULL_PCT
        ]
    found += [
        _problem_of_option(rule, name, value)
        for name, value in change.options.items()
        if name not in rule.options or type(value) is not type(rule.options[name])
    ]
    if found:
        msg = f"{rule.name} cannot be set like this: {'; '.join(found)}. Nothing was changed."
        raise RuleInvalid(msg)


def check_scope(shipped: ShippedRule, scope: Scope) -> None:
    """Refuse a scope in which a setting of the rule would never hold.

    Raises:
        RuleInvalid: says which scopes there are.
    """
    kind = shipped.subject_kind
    if kind in _OF_SERVERS or scope == ALL:
        return
    if kind in _OF_ORGANIZATIONS and scope.organization_id is not None:
        return
    whose = "organizations" if kind in _OF_ORGANIZATIONS else "the platform itself"
    instead = " or --organization" if kind in _OF_ORGANIZATIONS else ""
    msg = (
        f"{shipped.rule.name} is about {whose}: a setting for this scope would never hold. "
        f"Set it for all (no scope){instead}."
    )
    raise RuleInvalid(msg)


def _problem_of_option(rule: Rule, name: str, value: object) -> str:
    """What is wrong with an option that the rule does not have, or that is of another type."""
    if name not in rule.options:
        known = ", ".join(sorted(rule.options)) or "none"
        return f"it has no option {name} (options: {known})"
    return f"option {name} is {value!r}; it is to be like {rule.options[name]!r}"


def _levels_of(row: Mapping[str, Any]) -> tuple[Level, ...] | None:
    """Levels of a row; None where it has none."""
    if row["levels"] is None:
        return None
    triples = zip(row["severities"], row["levels"], row["clear_levels"], strict=True)
    return tuple(Level(cast("Severity", one), trigger, clear) for one, trigger, clear in triples)


def _shipped_of(row: Mapping[str, Any]) -> ShippedRule:
    """A row of alert.rules."""
    rule = Rule(
        name=row["rule"],
        direction=row["direction"],
        levels=_levels_of(row) or (),
        for_seconds=row["for_seconds"],
        keep_seconds=row["keep_seconds"],
        remind_seconds=row["remind_seconds"],
        is_enabled=row["is_enabled"],
        tells_ends=row["tells_ends"],
        unit=row["unit"],
        options=row["options"],
    )
    return ShippedRule(rule, row["subject_kind"], row["source"], row["description"])


def _setting_of(row: Mapping[str, Any]) -> RuleSetting:
    """A row of alert.rule_settings."""
    change = RuleChange(
        levels=_levels_of(row),
        for_seconds=row["for_seconds"],
        keep_seconds=row["keep_seconds"],
        remind_seconds=row["remind_seconds"],
        is_enabled=row["is_enabled"],
        tells_ends=row["tells_ends"],
        options=row["options"] or {},
    )
    return RuleSetting(row["rule"], _scope_of(row), change, row["changed_by"], row["changed_at"])


def _scope_of(row: Mapping[str, Any]) -> Scope:
    """The scope of a row of alert.rule_settings."""
    return Scope(row["organization_id"], row["server_id"], row["tag"])
