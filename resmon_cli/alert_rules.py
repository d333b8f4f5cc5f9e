"""`resmon alert rule`: alert rules as they hold, and where an installation differs from them.

Belongs here: arguments and output. Which setting wins and what a rule may be is in
resmon_resources/alert_rules.py, how levels and times are written in rule_options.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
import psycopg
from rich.text import Text

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.lazy import NamedGroup
from resmon_cli.options import table_or_json
from resmon_cli.people import account
from resmon_cli.rule_options import (
    change_of,
    clears_text,
    level_options,
    levels_text,
    remind_text,
    scope_of,
    scope_options,
)
from resmon_cli.times import duration_notation
from resmon_resources import inventory
from resmon_resources.alert_records import Rule
from resmon_resources.alert_rules import (
    ALL,
    RuleBook,
    RuleChange,
    RuleSetting,
    Scope,
    check_change,
    read_rule_book,
    reset_rule,
    set_rule,
)
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.inventory import Organization, Server

_WORDS = {
    "levels": "levels",
    "for_seconds": "for",
    "keep_seconds": "keep",
    "remind_seconds": "remind",
    "is_enabled": "enabled",
    "tells_ends": "ends",
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Servers and organizations, to name scopes and to count for whom a setting holds."""

    servers: Sequence[Server]
    organizations: Sequence[Organization]

    def name_of(self, scope: Scope) -> str:
        """`all`, `organization acme`, `server web-1` or `tag prod`."""
        if scope.organization_id is not None:
            names = {one.organization_id: one.name for one in self.organizations}
            return f"organization {names.get(scope.organization_id, scope.organization_id)}"
        if scope.server_id is not None:
            known = {one.server_id: one.name for one in self.servers}
            return f"server {known.get(scope.server_id, scope.server_id)}"
        return f"tag {scope.tag}" if scope.tag is not None else "all"

    def within(self, scope: Scope, book: RuleBook) -> list[Server]:
        """Servers in a scope."""
        return [
            server
            for server in self.servers
            if scope == ALL
            or scope.server_id == server.server_id
            or scope.tag in server.tags
            or scope.organization_id in book.path_of(server.organization_id)
        ]


@click.group("rule", cls=NamedGroup)
def rule_command() -> None:
    """Rules: what is an alert, from which value on, and after how long.

    Rules are shipped; an installation sets them otherwise for all, for an organization with those
    below it, for servers with a tag, or for a server. The nearest setting wins, value by value: of
    the server, of a tag (the first by name), of the organization, of those above it, of all.

    DURATION is 90s, 5m, 2h, 1d or 1h30m.
    """


@rule_command.command("list")
@scope_options
@table_or_json
def list_rules(
    *, organization: str | None, server: str | None, tag: str | None, as_json: bool
) -> None:
    """List the rules as they hold.

    For all, or for an organization, a server or a tag.

    SET BY says which values are not the shipped ones, and whose setting they come from.
    """
    with data_connection() as connection:
        scope = scope_of(connection, organization=organization, server=server, tag=tag)
        book = read_rule_book(connection)
        fleet = _fleet(connection)
    keys = _keys_of(scope, book, fleet)
    if as_json:
        render.print_json([_json_of(book, name, keys, fleet) for name in book.names])
        return
    table = render.plain_table(
        *("RULE", "LEVELS", "LEFT AT", "FOR", "KEEP", "REMIND", "ENDS", "SET BY"),
        right=["FOR", "KEEP"],
    )
    table.columns[0].no_wrap = True
    for name in book.names:
        rule = book.rule_for(name, **keys)
        table.add_row(
            Text(name, style="" if rule.is_enabled else "dim"),
            f"{levels_text(rule)} ({rule.unit})" if rule.is_enabled else "off",
            clears_text(rule),
            duration_notation(rule.for_seconds),
            duration_notation(rule.keep_seconds),
            remind_text(rule.remind_seconds),
            _ends_text(rule.tells_ends),
            _set_by_text(book.origins_of(name, **keys), fleet),
        )
    render.console().print(table)
    others = sum(len(book.settings_of(name)) for name in book.names)
    if others:
        render.note(
            f"{others} {'setting differs' if others == 1 else 'settings differ'} from what is "
            "shipped. Those of a rule: resmon alert rule show RULE"
        )


@rule_command.command("show")
@click.argument("rule")
@table_or_json
def show_rule(rule: str, *, as_json: bool) -> None:
    """Show RULE with every setting.

    First as it is shipped, then where it is set otherwise, and for how many servers that holds.
    """
    with data_connection() as connection:
        book = read_rule_book(connection)
        fleet = _fleet(connection)
    shipped = book.shipped(rule)
    if as_json:
        render.print_json(_json_of(book, rule, _keys_of(ALL, book, fleet), fleet))
        return
    click.echo(f"{rule}: {shipped.description}")
    click.echo(f"Judged: {shipped.rule.unit}, per {shipped.subject_kind.replace('_', ' ')}.\n")
    table = render.plain_table("FOR WHOM", "SAYS", "HOLDS FOR", "SET BY", "AT")
    options = "".join(f", {name}={value}" for name, value in shipped.rule.options.items())
    table.add_row("shipped", f"{_whole_text(shipped.rule)}{options}", "", "", "")
    for setting in sorted(book.settings_of(rule), key=lambda s: _nearness(s.scope)):
        table.add_row(
            fleet.name_of(setting.scope),
            _change_text(shipped.rule, setting.change),
            f"{_held(book, rule, setting.scope, fleet)} servers",
            setting.changed_by,
            render.time_text(setting.changed_at)[:16],
        )
    render.console().print(table)


@rule_command.command("set")
@click.argument("rule")
@level_options
@click.option("--remind", help="Until it is announced again; `never`.", metavar="DURATION")
@click.option("--enable/--disable", "is_enabled", default=None, help="Whether it is judged.")
@click.option("--tell-ends/--no-tell-ends", default=None, help="Whether its ends are told.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="What only it has.")
@scope_options
def set_command(
    rule: str,
    *,
    levels: tuple[str, ...],
    clears: tuple[float, ...],
    for_text: str | None,
    keep_text: str | None,
    remind: str | None,
    is_enabled: bool | None,
    tell_ends: bool | None,
    options: tuple[str, ...],
    organization: str | None,
    server: str | None,
    tag: str | None,
) -> None:
    """Set RULE otherwise.

    For all, or for an organization with those below it, a server, or servers with a tag.
    What is not given stays as it is. A level without --clear is left as far from it as before. What
    it would have done: resmon alert replay RULE, with the same options.

    \b
    resmon alert rule set cpu_high --level 95 --clear 85 --for 10m --tag batch
    resmon alert rule set disk_high --level 80:info --level 90:warning --level 97:critical
    resmon alert rule set unreachable --remind never --organization lab
    resmon alert rule set anomaly --no-tell-ends
    resmon alert rule set reboot --disable
    """  # noqa: D301 - click takes a backspace, not the letters
    now = datetime.now(UTC)
    with data_connection() as connection:
        scope = scope_of(connection, organization=organization, server=server, tag=tag)
        before = read_rule_book(connection)
        fleet = _fleet(connection)
        held = before.rule_for(rule, **_keys_of(scope, before, fleet))
        change = change_of(
            held,
            levels=levels,
            clears=clears,
            for_text=for_text,
            keep_text=keep_text,
            remind_text=remind,
            is_enabled=is_enabled,
            tells_ends=tell_ends,
            options=options,
        )
        if not change.columns():
            msg = (
                f"Nothing is given that {rule} is to do otherwise. Give --level, --clear, --for, "
                "--keep, --remind, --enable, --disable, --tell-ends, --no-tell-ends or --option."
            )
            raise ConfigurationInvalid(msg)
        check_change(before.shipped(rule), change)
        set_rule(connection, rule, change, scope=scope, changed_by=account(), now=now)
        after = read_rule_book(connection)
    click.echo(f"{rule} for {fleet.name_of(scope)}: {_change_text(held, change)}.")
    for line in _effect_lines(before, after, rule, scope, fleet):
        render.note(line)


@rule_command.command("reset")
@click.argument("rule", required=False)
@click.option("--all", "is_all", is_flag=True, help="Settings of every scope.")
@scope_options
def reset_command(
    rule: str | None,
    *,
    is_all: bool,
    organization: str | None,
    server: str | None,
    tag: str | None,
) -> None:
    """Take back a setting of RULE.

    That for all, or the one for an organization, a server or a tag.
    With --all the rule is again as it is shipped, for everybody; with --all and without RULE all
    rules are.
    """
    if rule is None and not is_all:
        msg = "Give the RULE that is to be reset, or --all for all of them with every setting."
        raise ConfigurationInvalid(msg)
    with data_connection() as connection:
        scope = scope_of(connection, organization=organization, server=server, tag=tag)
        if is_all and scope != ALL:
            msg = "--all takes back settings of every scope; leave it out, or leave out the scope."
            raise ConfigurationInvalid(msg)
        before = read_rule_book(connection)
        fleet = _fleet(connection)
        gone = reset_rule(connection, rule, scope=None if is_all else scope)
    if not gone:
        whom = "any scope" if is_all else fleet.name_of(scope)
        click.echo(f"Nothing changed: {rule or 'no rule'} has no setting for {whom}.")
        kept = [fleet.name_of(s.scope) for s in before.settings_of(rule)] if rule else []
        if kept:
            render.note(f"It has settings for: {', '.join(kept)}.")
        return
    for name, taken in gone:
        click.echo(f"{name} for {fleet.name_of(taken)}: as it was without this setting.")


def _fleet(connection: psycopg.Connection[Any]) -> Fleet:
    """Servers that are not removed, and organizations."""
    return Fleet(inventory.list_servers(connection), inventory.list_organizations(connection))


def _keys_of(scope: Scope, book: RuleBook, fleet: Fleet) -> dict[str, Any]:  # Any: of rule_for
    """What `rule_for` is asked with for a scope."""
    if scope.server_id is not None:
        return next(
            _keys_of_server(s, book) for s in fleet.servers if s.server_id == scope.server_id
        )
    if scope.tag is not None:
        return {"tags": (scope.tag,)}
    return {"organization_path": book.path_of(scope.organization_id)}


def _keys_of_server(server: Server, book: RuleBook) -> dict[str, Any]:  # Any: of rule_for
    """What `rule_for` is asked with for a server."""
    return {
        "server_id": server.server_id,
        "organization_path": book.path_of(server.organization_id),
        "tags": server.tags,
    }


def _held(book: RuleBook, rule: str, scope: Scope, fleet: Fleet) -> int:
    """Number of servers for which a value of the setting of a scope holds."""
    return sum(
        any(
            origin.scope == scope
            for origin in book.origins_of(rule, **_keys_of_server(server, book)).values()
        )
        for server in fleet.within(scope, book)
    )


def _effect_lines(
    before: RuleBook, after: RuleBook, rule: str, scope: Scope, fleet: Fleet
) -> list[str]:
    """For how many servers a setting holds, for how many a nearer one, and what it changed."""
    if after.shipped(rule).subject_kind not in ("server", "file_system", "series"):
        return []
    within = fleet.within(scope, after)
    if not within:
        return ["It holds for no server yet."]
    held = _held(after, rule, scope, fleet)
    changed = sum(
        before.rule_for(rule, **_keys_of_server(s, before))
        != after.rule_for(rule, **_keys_of_server(s, after))
        for s in within
    )
    lines = [f"It holds for {_servers(held)}; for {changed} of them something is different now."]
    if held < len(within):
        lines.append(
            f"{_servers(len(within) - held)} more in this scope have a nearer setting: "
            f"resmon alert rule show {rule}"
        )
    return lines


def _servers(count: int) -> str:
    return f"{count} server" if count == 1 else f"{count} servers"


def _nearness(scope: Scope) -> tuple[int, int | str]:
    """From the farthest to the nearest."""
    if scope.server_id is not None:
        return (3, scope.server_id)
    if scope.tag is not None:
        return (2, scope.tag)
    return (1, scope.organization_id) if scope.organization_id is not None else (0, 0)


def _whole_text(rule: Rule) -> str:
    """A rule in a line."""
    return (
        f"{levels_text(rule)}, left at {clears_text(rule)}, for "
        f"{duration_notation(rule.for_seconds)}, keep {duration_notation(rule.keep_seconds)}, "
        f"remind {remind_text(rule.remind_seconds)}, ends {_ends_text(rule.tells_ends)}"
        f"{'' if rule.is_enabled else ', off'}"
    )


def _ends_text(is_told: bool) -> str:
    """Whether ends are told, in words."""
    return "told" if is_told else "not told"


def _change_text(rule: Rule, change: RuleChange) -> str:
    """What a setting says, in a line."""
    changed = change.applied_to(rule)
    said = []
    if change.levels is not None:
        said.append(f"{levels_text(changed)}, left at {clears_text(changed)}")
    if change.for_seconds is not None:
        said.append(f"for {duration_notation(change.for_seconds)}")
    if change.keep_seconds is not None:
        said.append(f"keep {duration_notation(change.keep_seconds)}")
    if change.remind_seconds is not None:
        said.append(f"remind {remind_text(change.remind_seconds)}")
    if change.is_enabled is not None:
        said.append("on" if change.is_enabled else "off")
    if change.tells_ends is not None:
        said.append(f"ends {_ends_text(change.tells_ends)}")
    said += [f"{name}={value}" for name, value in change.options.items()]
    return ", ".join(said)


def _set_by_text(origins: Mapping[str, RuleSetting], fleet: Fleet) -> str:
    """`levels, for: tag prod`."""
    by_scope: dict[str, list[str]] = {}
    for column, origin in origins.items():
        word = _WORDS.get(column, column.removeprefix("options."))
        by_scope.setdefault(fleet.name_of(origin.scope), []).append(word)
    return "; ".join(f"{', '.join(words)}: {name}" for name, words in by_scope.items())


def _json_of(
    book: RuleBook,
    name: str,
    keys: Mapping[str, Any],  # Any: of rule_for
    fleet: Fleet,
) -> dict[str, object]:
    """One rule for programs."""
    shipped = book.shipped(name)
    rule = book.rule_for(name, **keys)
    return {
        "rule": name,
        "description": shipped.description,
        "subject_kind": shipped.subject_kind,
        **_values_of(rule),
        "set_by": {
            column: fleet.name_of(origin.scope)
            for column, origin in book.origins_of(name, **keys).items()
        },
        "shipped": _values_of(shipped.rule),
        "settings": [
            {
                "scope": fleet.name_of(setting.scope),
                "sets": setting.change.columns(),
                "changed_by": setting.changed_by,
                "changed_at": setting.changed_at,
            }
            for setting in book.settings_of(name)
        ],
    }


def _values_of(rule: Rule) -> dict[str, object]:
    """What a rule says, for programs."""
    return {
        "unit": rule.unit,
        "direction": rule.direction,
        "levels": [
            {"severity": one.severity, "level": one.trigger, "clear": one.clear}
            for one in rule.levels
        ],
        "for_seconds": rule.for_seconds,
        "keep_seconds": rule.keep_seconds,
        "remind_seconds": rule.remind_seconds,
        "is_enabled": rule.is_enabled,
        "tells_ends": rule.tells_ends,
        "options": dict(rule.options),
    }
