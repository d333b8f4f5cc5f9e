"""Options with which a person changes an alert rule, and how a rule reads in a line.

Belongs here: the notation of levels, times and options of a rule and of the scope of a setting, for
`resmon alert rule` and `resmon alert replay`. Knows no statement of its own.
"""

import json
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, TypeVar, cast

import click
import psycopg

from resmon_cli.times import duration_notation, parse_duration
from resmon_resources import inventory
from resmon_resources.alert_records import SEVERITIES, Level, Rule, Severity
from resmon_resources.alert_rules import ALL, RuleChange, Scope
from resmon_resources.errors import ConfigurationInvalid, RuleInvalid

NEVER = "never"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def scope_options(command: _Command) -> _Command:
    """Give a command --organization, --server and --tag."""
    for name, text in (
        ("--tag", "Servers with this tag."),
        ("--server", "This server."),
        ("--organization", "This organization with all below it."),
    ):
        command = click.option(name, help=text)(command)
    return command


def level_options(command: _Command) -> _Command:
    """Give a command --level, --clear, --for and --keep."""
    for names, settings in (
        (
            ("--keep", "keep_text"),
            {"help": "How long a level must be left until it is over.", "metavar": "DURATION"},
        ),
        (
            ("--for", "for_text"),
            {"help": "How long a level must be reached until it opens.", "metavar": "DURATION"},
        ),
        (
            ("--clear", "clears"),
            {
                "help": "Value beyond which the level is left again; as often as --level.",
                "multiple": True,
                "type": float,
                "metavar": "VALUE",
            },
        ),
        (
            ("--level", "levels"),
            {
                "help": "Value at which it is reached; several: the most urgent last.",
                "multiple": True,
                "metavar": "VALUE[:SEVERITY]",
            },
        ),
    ):
        command = click.option(*names, **settings)(command)
    return command


def scope_of(
    connection: psycopg.Connection[Any],
    *,
    organization: str | None,
    server: str | None,
    tag: str | None,
) -> Scope:
    """The scope that was given by name.

    Raises:
        ConfigurationInvalid: more than one was given.
        OrganizationUnknown: there is no such organization.
        ServerUnknown: there is no such server.
    """
    if sum(given is not None for given in (organization, server, tag)) > 1:
        msg = "A setting holds for one of --organization, --server and --tag. Give one of them."
        raise ConfigurationInvalid(msg)
    if organization is not None:
        found = inventory.find_organization(connection, organization)
        return Scope(organization_id=found.organization_id)
    if server is not None:
        return Scope(server_id=inventory.find_server(connection, server).server_id)
    if tag is not None:
        if not tag.strip():
            msg = "--tag is empty. Give a tag that servers have: resmon server list."
            raise ConfigurationInvalid(msg)
        return Scope(tag=tag)
    return ALL


def change_of(
    rule: Rule,
    *,
    levels: Sequence[str] = (),
    clears: Sequence[float] = (),
    for_text: str | None = None,
    keep_text: str | None = None,
    remind_text: str | None = None,
    is_enabled: bool | None = None,
    tells_ends: bool | None = None,
    options: Sequence[str] = (),
) -> RuleChange:
    """What a person asks to be different of a rule; what is not given stays.

    Args:
        rule: as it holds for the scope now: what is left out of a level is taken from it.
        levels: `90` or `90:warning`.
        clears: as many as levels; without any, each level is left as far from it as before.
        for_text: a duration.
        keep_text: a duration.
        remind_text: a duration, or `never`.
        is_enabled: whether it is judged.
        tells_ends: whether ends are told.
        options: `name=value`.

    Raises:
        RuleInvalid: a level or an option that cannot be read; says what is understood.
        ConfigurationInvalid: not a duration.
    """
    remind = None
    if remind_text is not None:
        # Zero would read as never, and somebody who writes it may mean at once.
        remind = 0 if remind_text.strip().lower() == NEVER else parse_duration(remind_text) or -1
    return RuleChange(
        levels=_levels_of(rule, levels, clears) if levels or clears else None,
        for_seconds=None if for_text is None else parse_duration(for_text),
        keep_seconds=None if keep_text is None else parse_duration(keep_text),
        remind_seconds=remind,
        is_enabled=is_enabled,
        tells_ends=tells_ends,
        options=dict(_option_of(text) for text in options),
    )


def levels_text(rule: Rule) -> str:
    """`>= 85 warning, >= 95 critical`."""
    sign = ">=" if rule.direction == "above" else "<="
    return ", ".join(f"{sign} {level.trigger:g} {level.severity}" for level in rule.levels)


def clears_text(rule: Rule) -> str:
    """`< 83, < 93`."""
    sign = "<" if rule.direction == "above" else ">"
    return ", ".join(f"{sign} {level.clear:g}" for level in rule.levels)


def remind_text(seconds: int | None) -> str:
    """`4h`, or `never` for None and 0."""
    return duration_notation(seconds) if seconds else NEVER


def _levels_of(rule: Rule, levels: Sequence[str], clears: Sequence[float]) -> tuple[Level, ...]:
    """Levels as given, with what was left out as it is now."""
    given = [_level_of(text) for text in levels] or [
        (level.trigger, level.severity) for level in rule.levels
    ]
    if clears and len(clears) != len(given):
        msg = (
            f"{rule.name} gets {len(given)} levels and {len(clears)} values of --clear. Give "
            "--clear once for each level, in the same order, or not at all."
        )
        raise RuleInvalid(msg)
    found = []
    for place, (trigger, severity) in enumerate(given):
        known = rule.levels[min(place, len(rule.levels) - 1)]
        clear = clears[place] if clears else trigger + (known.clear - known.trigger)
        found.append(Level(severity or known.severity, trigger, clear))
    return tuple(found)


def _level_of(text: str) -> tuple[float, Severity | None]:
    """Value and severity of `90:warning` or `90`."""
    value, _, severity = text.partition(":")
    try:
        trigger = float(value)
    except ValueError:
        trigger = float("nan")
    if not isfinite(trigger) or (":" in text and severity not in SEVERITIES):
        msg = (
            f"{text!r} is not a level. Give a number, or a number with a severity: 90, 90:warning. "
            f"Severities: {', '.join(SEVERITIES)}."
        )
        raise RuleInvalid(msg)
    return trigger, cast("Severity", severity) if severity else None


def _option_of(text: str) -> tuple[str, Any]:  # Any: JSON
    """Name and value of `name=value`; the value is JSON, or a text as it stands."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        msg = f"{text!r} is not an option. Give name=value, for example minimum_servers=3."
        raise RuleInvalid(msg)
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value
