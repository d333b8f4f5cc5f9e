"""`resmon alert route`: who is told of which alerts.

Belongs here: arguments and output. What is stored is in resmon_resources/alert_routes.py, how the
URLs of a route are found in service_urls.py.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import psycopg
from rich.markup import escape

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.lazy import NamedGroup
from resmon_cli.options import table_or_json
from resmon_cli.people import account
from resmon_resources import alert_routes as routes
from resmon_resources import inventory
from resmon_resources.alert_records import SEVERITIES
from resmon_resources.alert_routes import Route, RouteSettings
from resmon_resources.errors import ConfigurationInvalid, RouteInvalid
from resmon_resources.service_urls import parse_target, read_urls, readers_problem, scheme_of
from resmon_resources.settings import load_settings
from resmon_resources.words import counted

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--organization",
        {"help": "Only alerts of this organization and those below it.", "metavar": "NAME"},
    ),
    (
        "--severity",
        {"help": "Only alerts of at least this severity.", "type": click.Choice(SEVERITIES)},
    ),
    (
        "--tag",
        {
            "help": "Only alerts of servers with this tag (one of them, when several).",
            "multiple": True,
        },
    ),
    ("--rule", {"help": "Only alerts of this rule (one of them, when several).", "multiple": True}),
    (
        "--per-hour",
        {
            "help": "Messages in an hour; what is beyond goes into one digest.",
            "type": click.IntRange(1, 3600),
        },
    ),
    (
        "--template",
        {"help": "Name of its own templates in RESMON_TEMPLATES.", "metavar": "NAME"},
    ),
    (
        "--resolved/--no-resolved",
        {"help": "Whether it is told of ends, too.", "default": None},
    ),
)


def _route_options(command: _Command) -> _Command:
    """Give a command the options that `add` and `set` share."""
    for name, settings in reversed(_OPTIONS):
        command = click.option(name, **settings)(command)
    return command


@click.group("route", cls=NamedGroup)
def route_command() -> None:
    """Routes: who is told of which alerts, and how many messages in an hour.

    The address of a route holds secrets, and those do not go into the database: a route names an
    environment variable of `resmon up` (env:NAME) or a file (file:PATH) in which the URLs for
    Apprise are, one a line: mailtos://user:password@smtp.example.org?to=ops@example.org
    """


@route_command.command("add")
@click.argument("name")
@click.option(
    "--to", "target", required=True, metavar="env:NAME|file:PATH", help="Where its URLs are."
)
@_route_options
def add_command(name: str, *, target: str, **options: Any) -> None:
    """Make the route NAME.

    \b
    resmon alert route add ops --to env:OPS_URLS
    resmon alert route add acme --to file:/etc/resmon/acme.urls --organization acme
    resmon alert route add pager --to env:PAGER_URL --severity critical --tag production
    """  # noqa: D301 - click takes a backspace, not the letters
    now = datetime.now(UTC)
    with data_connection() as connection:
        settings = _settings_of(connection, RouteSettings(target=target), options)
        routes.add_route(connection, name, settings, created_by=account(), now=now)
    click.echo(f"Route {name} is told of {told_text(settings, options.get('organization'))}.")
    for line in target_lines(settings.target):
        render.note(line)
    render.note(f"See whether it works: resmon alert test {name}")


@route_command.command("set")
@click.argument("name")
@click.option("--to", "target", metavar="env:NAME|file:PATH", help="Where its URLs are.")
@_route_options
@click.option("--everything", is_flag=True, help="Of all organizations, tags and rules.")
@click.option("--no-template", is_flag=True, help="The template that fits the channel.")
@click.option("--enable/--disable", "is_enabled", default=None, help="Use it, or not for now.")
def set_command(
    name: str,
    *,
    target: str | None,
    everything: bool,
    no_template: bool,
    is_enabled: bool | None,
    **options: Any,
) -> None:
    """Change the route NAME; what is not given stays.

    Tags and rules that are given replace those it had. What waits for the route is tried at once.
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        route = routes.find_route(connection, name, now=now)
        before = route.settings
        start = replace(before, target=target or before.target)
        if everything:
            start = replace(start, organization_id=None, tags=(), rules=())
        if no_template:
            start = replace(start, template=None)
        if is_enabled is not None:
            start = replace(start, is_enabled=is_enabled)
        settings = _settings_of(connection, start, options)
        if settings == before:
            msg = f"Nothing is given that {name} is to do otherwise. See its options with --help."
            raise ConfigurationInvalid(msg)
        routes.change_route(connection, name, settings, now=now)
        after = routes.find_route(connection, name, now=now)
    state = "" if after.settings.is_enabled else " It is switched off."
    click.echo(f"Route {name} is told of {told_text(settings, after.organization_name)}.{state}")
    if after.waiting_count and after.settings.is_enabled:
        render.note(f"{_count(after.waiting_count, 'message')} for it: tried at once.")
    elif after.waiting_count:
        render.note(
            f"{_count(after.waiting_count, 'message')} for it: sent when it is switched on within "
            "a day, given up after that."
        )
    for line in target_lines(settings.target) if target else ():
        render.note(line)


@route_command.command("list")
@table_or_json
def list_command(as_json: bool) -> None:
    """Show all routes, with what waits for them."""
    now = datetime.now(UTC)
    with data_connection() as connection:
        found = routes.read_routes(connection, now=now)
    if as_json:
        render.print_json([_json_of(route) for route in found])
        return
    if not found:
        render.note(
            "There is no route: nobody is told of alerts. Make one with: resmon alert route add "
            "NAME --to env:VARIABLE"
        )
        return
    columns = ("ROUTE", "TO", "TOLD OF", "PER HOUR", "LAST SENT", "WAITING", "GIVEN UP")
    table = render.plain_table(*columns, right=["PER HOUR", "WAITING", "GIVEN UP"])
    for route in found:
        table.add_row(
            escape(route.route) + ("" if route.settings.is_enabled else " (off)"),
            escape(route.settings.target),
            escape(told_text(route.settings, route.organization_name)),
            str(route.settings.per_hour),
            _ago(route.sent_at, now),
            str(route.waiting_count or render.NOTHING),
            str(route.dead_count or render.NOTHING),
        )
    render.console().print(table)
    for route in found:
        if route.last_error:
            render.note(f"{route.route}: {route.last_error}")


@route_command.command("show")
@click.argument("name")
@table_or_json
def show_command(name: str, as_json: bool) -> None:
    """Show the route NAME: of what it is told, where its URLs are, what waits for it."""
    now = datetime.now(UTC)
    with data_connection() as connection:
        route = routes.find_route(connection, name, now=now)
    if as_json:
        render.print_json(_json_of(route))
        return
    settings = route.settings
    lines = [
        ("told of", told_text(settings, route.organization_name)),
        ("to", settings.target),
        ("messages an hour", str(settings.per_hour)),
        ("told of ends", "yes" if settings.sends_resolved else "no"),
        ("template", settings.template or "of the channel"),
        ("state", "in use" if settings.is_enabled else "switched off"),
        ("made by", f"{route.created_by}, {render.time_text(route.created_at)} UTC"),
        ("last sent", _ago(route.sent_at, now)),
        ("waiting", _waiting_text(route, now)),
        ("given up", f"{route.dead_count} in seven days"),
    ]
    if route.last_error:
        lines.append(("last error", route.last_error))
    for label, text in lines:
        click.echo(f"{label:<17} {text}")
    for line in target_lines(settings.target):
        render.note(line)


@route_command.command("remove")
@click.argument("name")
@click.option("--force", is_flag=True, help="With the messages that still wait for it.")
def remove_command(name: str, *, force: bool) -> None:
    """Remove the route NAME, with the record of its messages.

    To keep the record switch it off: resmon alert route set NAME --disable
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        route = routes.find_route(connection, name, now=now)
        if not routes.remove_route(connection, name, with_waiting=force):
            msg = (
                f"{_count(route.waiting_count, 'message')} for {name}, so it was not removed. See "
                f"them with `resmon alert outbox --route {name}`, or remove them with it: --force"
            )
            raise RouteInvalid(msg)
    click.echo(f"Route {name} is gone; nobody is told of alerts by it any more.")


def told_text(settings: RouteSettings, organization: str | None) -> str:
    """`critical alerts of acme, servers with the tag production`."""
    severity = {
        "info": "all alerts",
        "warning": "alerts from warning on",
        "critical": "critical alerts",
    }[settings.minimum_severity]
    parts = [severity + (f" of {organization} and below" if organization else "")]
    if settings.tags:
        parts.append(f"of servers tagged {' or '.join(settings.tags)}")
    if settings.rules:
        parts.append(f"by {', '.join(settings.rules)}")
    return ", ".join(parts) + ("" if settings.sends_resolved else ", not of their ends")


def target_lines(text: str) -> list[str]:
    """What can be said of a target from here; no secrets."""
    target = parse_target(text)
    if target.kind == "env" and not os.environ.get(target.name, "").strip():
        return [
            f"{target.name} is not set in this shell. What counts is the environment in which "
            "`resmon up` was started."
        ]
    lines = []
    try:
        kinds = [scheme_of(url) for url in read_urls(target, os.environ)]
        lines.append(f"{target.name} holds {_kinds_text(kinds)}.")
    except ConfigurationInvalid as error:
        lines.append(str(error))
    if problem := readers_problem(target):
        lines.append(problem)
    return lines


def _kinds_text(kinds: Sequence[str]) -> str:
    """`one URL (mailto)`, `2 URLs (mailto, slack)`."""
    count = "one URL" if len(kinds) == 1 else f"{len(kinds)} URLs"
    return f"{count} ({', '.join(kinds)})"


def template_lines(template: str | None) -> list[str]:
    """What is wrong with the folder of templates, as seen from here."""
    folder = load_settings().templates_path
    if folder is not None and not folder.is_dir():
        return [f"The folder of templates {folder} (RESMON_TEMPLATES) does not exist."]
    if template is not None and folder is None:
        return [f"The template {template} needs a folder of templates: set RESMON_TEMPLATES."]
    return []


def _settings_of(
    connection: psycopg.Connection[Any], start: RouteSettings, options: dict[str, Any]
) -> RouteSettings:
    """Settings with what was given on the command line."""
    given: dict[str, Any] = {}
    if options["organization"] is not None:
        found = inventory.find_organization(connection, options["organization"])
        given["organization_id"] = found.organization_id
    names = {
        "severity": "minimum_severity",
        "per_hour": "per_hour",
        "template": "template",
        "resolved": "sends_resolved",
    }
    given |= {n: options[o] for o, n in names.items() if options[o] is not None}
    given |= {f"{o}s": tuple(dict.fromkeys(options[o])) for o in ("tag", "rule") if options[o]}
    target = parse_target(start.target)
    return replace(start, target=f"{target.kind}:{target.name}", **given)


def _waiting_text(route: Route, now: datetime) -> str:
    """`3 messages, the oldest of 12 min ago`."""
    if not route.waiting_count:
        return "nothing"
    return f"{_count(route.waiting_count, 'message')}, the oldest of {_ago(route.oldest_at, now)}"


def _ago(moment: datetime | None, now: datetime) -> str:
    """`12 min ago`."""
    return render.NOTHING if moment is None else render.ago_text(moment, now=now)


def _count(number: int, noun: str) -> str:
    """`1 message waits`, `2 messages wait`."""
    return f"{counted(number, noun)} {'waits' if number == 1 else 'wait'}"


def _json_of(route: Route) -> dict[str, object]:
    """A route for machines."""
    found = asdict(route)
    settings = found.pop("settings")
    return {"route": found.pop("route"), **settings, **found}


def names_of(urls: Sequence[str]) -> list[str]:
    """`1 mailto`, `2 slack`: the services of a route, as messages name them."""
    return [f"{place} {scheme_of(url)}" for place, url in enumerate(urls, 1)]
