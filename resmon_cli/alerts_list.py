"""`resmon alert list` and `show`: alerts as they stand, with who was told and what happened.

Belongs here: arguments and output. How alerts are read is in resmon_resources/alert_reader.py.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
import psycopg
from rich.markup import escape
from rich.text import Text

from resmon_assets.alert.links import links_of
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.environment import ui_address
from resmon_cli.options import table_or_json
from resmon_cli.times import parse_time
from resmon_resources import inventory
from resmon_resources.alert_reader import (
    AlertDelivery,
    AlertEvent,
    AlertFilter,
    ListedAlert,
    list_alerts,
    read_alert,
    read_deliveries,
    read_events,
)
from resmon_resources.alert_records import SEVERITIES
from resmon_resources.alert_rules import read_rule_book
from resmon_resources.settings import load_settings

STATES = ("open", "acknowledged", "resolved")
SEVERITY_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
DEFAULT_LIMIT = 100


@click.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="In this state.")
@click.option(
    "--severity",
    "severities",
    multiple=True,
    type=click.Choice(SEVERITIES),
    help="Of this severity.",
)
@click.option("--rule", "rules", multiple=True, help="Of this rule.")
@click.option("--organization", help="Of this organization and those below it.")
@click.option("--server", help="Of this server.")
@click.option("--since", "since_text", metavar="TIME", help="Opened since then, resolved ones too.")
@click.option("--all", "is_over_too", is_flag=True, help="Resolved ones too.")
@click.option(
    "--limit", type=click.IntRange(1), default=DEFAULT_LIMIT, show_default=True, help="At most."
)
@table_or_json
def list_command(
    *,
    states: tuple[str, ...],
    severities: tuple[str, ...],
    rules: tuple[str, ...],
    organization: str | None,
    server: str | None,
    since_text: str | None,
    is_over_too: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Show alerts that go on, the most urgent first.

    Options of one name that are given several times mean one of them; others all must hold. TIME is
    ISO 8601 (UTC when no offset is given), or back from now: -30m, -2h, -7d.

    \b
    resmon alert list --severity critical
    resmon alert list --organization shop --since -24h
    resmon alert list --state resolved --rule unreachable
    """  # noqa: D301 - click takes a backspace, not the letters
    now = datetime.now(UTC)
    with data_connection() as connection:
        book = read_rule_book(connection)
        for rule in rules:
            book.shipped(rule)
        wanted = AlertFilter(
            is_over_too=is_over_too or since_text is not None or "resolved" in states,
            states=states,
            severities=severities,
            rules=rules,
            organization_id=organization_id_of(connection, organization),
            server_id=server_id_of(connection, server),
            since=None if since_text is None else parse_time(since_text, now=now),
            # One more than is shown tells whether there are more.
            limit=limit + 1,
        )
        found = list_alerts(connection, wanted)
    if as_json:
        render.print_json([asdict(alert) for alert in found[:limit]])
        return
    if not found:
        render.note(
            "No alert is open."
            if wanted == AlertFilter(limit=limit + 1)
            else "There is no such alert. Resolved ones are shown with --all."
        )
        return
    _print_list(found[:limit], now=now)
    if len(found) > limit:
        render.note(f"Only the first {limit} are shown; see more with --limit, or filter.")


@click.command("show")
@click.argument("alert_id", type=click.IntRange(1), metavar="ID")
@table_or_json
def show_command(alert_id: int, *, as_json: bool) -> None:
    """Show alert ID: what it is about, what happened, and who was told when.

    Ends with the SQL that shows the data around it and the address in Dagster's UI.
    """
    now = datetime.now(UTC)
    with data_connection() as connection:
        alert = read_alert(connection, alert_id)
        events = read_events(connection, alert_id)
        deliveries = read_deliveries(connection, alert_id)
    links = links_of(alert.as_shown, at=now, ui_url=ui_address(load_settings()))
    if as_json:
        render.print_json(
            asdict(alert)
            | {
                "events": [asdict(event) for event in events],
                "deliveries": [asdict(delivery) for delivery in deliveries],
                "links": links,
            }
        )
        return
    _print_head(alert, now=now)
    _print_events(events)
    _print_deliveries(alert, deliveries)
    console = render.console()
    for name, value in links.items():
        # The commands are known to who reads this.
        if value and name in {"ui", "sql"}:
            console.print(f"[bold]{escape(name)}[/bold]  {escape(value)}", soft_wrap=True)


def organization_id_of(connection: psycopg.Connection[Any], name: str | None) -> int | None:
    """Identity of an organization that was given by name; None when none was.

    Raises:
        OrganizationUnknown: there is none of this name.
    """
    if name is None:
        return None
    return inventory.find_organization(connection, name).organization_id


def server_id_of(connection: psycopg.Connection[Any], name: str | None) -> int | None:
    """Identity of a server that was given by name; None when none was.

    Raises:
        ServerUnknown: there is none of this name.
    """
    return None if name is None else inventory.find_server(connection, name).server_id


def severity_text(severity: str) -> Text:
    """A severity in its colour."""
    return Text(severity, style=SEVERITY_STYLES.get(severity, ""))


def told_text(alert: ListedAlert) -> str:
    """Who has it, who was told, or why nobody was."""
    if alert.resolved_by is not None:
        by = "by itself" if alert.resolved_by == "condition" else f"by {alert.resolved_by}"
        return ", ".join(part for part in (f"over {by}", _reached_text(alert)) if part)
    if alert.acknowledged_by is not None:
        return f"{alert.acknowledged_by} has it"
    if alert.told_to:
        return _reached_text(alert)
    if alert.quiet_reason is not None:
        return f"quiet: {alert.quiet_reason}"
    return "to be told"


def _reached_text(alert: ListedAlert) -> str:
    """Which routes have been told, and to which no message has come so far."""
    reached = [route for route in alert.told_to if route not in alert.not_reached]
    parts = [f"told to {', '.join(reached)}"] if reached else []
    if alert.not_reached:
        parts.append(f"not delivered to {', '.join(alert.not_reached)}")
    return "; ".join(parts)


def _print_list(alerts: Sequence[ListedAlert], *, now: datetime) -> None:
    """One line an alert, and how many there are below."""
    table = render.plain_table(
        *("ID", "SEVERITY", "STATE", "RULE", "ABOUT", "ORGANIZATION", "AGE", "WHO"),
        right=["ID", "AGE"],
    )
    for alert in alerts:
        table.add_row(
            str(alert.alert_id),
            severity_text(alert.severity),
            alert.state,
            alert.rule,
            escape(alert.subject_name),
            alert.organization_name or render.NOTHING,
            render.duration_text((now - alert.began_at).total_seconds()),
            escape(told_text(alert)),
        )
    render.console().print(table)
    counts = Counter(alert.severity for alert in alerts if alert.resolved_at is None)
    told = ", ".join(f"{counts[name]} {name}" for name in reversed(SEVERITIES) if counts[name])
    render.note(f"{counts.total()} open{': ' if told else ''}{told}.")


def _print_head(alert: ListedAlert, *, now: datetime) -> None:
    """What it is about, one line a fact."""
    console = render.console()
    head = Text.assemble(
        f"Alert {alert.alert_id}  ", severity_text(alert.severity), f"  {alert.state}"
    )
    console.print(head, f"\n{escape(alert.reason)}", sep="")
    age = render.duration_text((now - alert.began_at).total_seconds())
    facts = [
        ("rule", alert.rule),
        ("about", f"{alert.subject_name} ({alert.subject})"),
        ("organization", alert.organization_name),
        ("began", f"{render.time_text(alert.began_at)} UTC, {age} ago"),
        ("opened", f"{render.time_text(alert.opened_at)} UTC"),
        ("value", _values_text(alert)),
        ("acknowledged", _by_text(alert.acknowledged_by, alert.acknowledged_at)),
        ("resolved", _by_text(alert.resolved_by, alert.resolved_at)),
        ("group", None if alert.group_alert_id is None else f"alert {alert.group_alert_id}"),
        *((name, str(value)) for name, value in alert.details.items()),
    ]
    for name, value in facts:
        if value is not None:
            console.print(f"  [dim]{escape(name):<14}[/dim]{escape(value)}")


def _values_text(alert: ListedAlert) -> str | None:
    """`97.3, at worst 99.1, from 90 on (percent)`."""
    if alert.value is None:
        return None
    parts = [f"{alert.value:g}"]
    if alert.peak_value is not None:
        parts.append(f"at worst {alert.peak_value:g}")
    if alert.trigger_value is not None:
        parts.append(f"its level is {alert.trigger_value:g}")
    return f"{', '.join(parts)} ({alert.unit})"


def _by_text(who: str | None, when: datetime | None) -> str | None:
    """`ada, 2026-03-01 12:00:30 UTC`; None when nobody has."""
    return None if who is None else f"{who}, {render.time_text(when)} UTC"


def _print_events(events: Sequence[AlertEvent]) -> None:
    """The history."""
    table = render.plain_table("AT (UTC)", "WHAT", "WHO", "VALUE", "MESSAGE", right=["VALUE"])
    for event in events:
        table.add_row(
            render.time_text(event.at),
            event.kind,
            escape(event.actor),
            render.NOTHING if event.value is None else f"{event.value:g}",
            escape(event.message),
        )
    render.console().print("", table, "", sep="\n")


def _print_deliveries(alert: ListedAlert, deliveries: Sequence[AlertDelivery]) -> None:
    """Messages, or why there are none."""
    console = render.console()
    if not deliveries:
        console.print(f"No message tells of it: {escape(told_text(alert))}.\n")
        return
    table = render.plain_table(
        "MESSAGE",
        "ROUTE",
        "KIND",
        "STATE",
        "DECIDED (UTC)",
        "ATTEMPTS",
        "LAST ERROR",
        right=["MESSAGE", "ATTEMPTS"],
    )
    for one in deliveries:
        table.add_row(
            str(one.delivery_id),
            one.route,
            one.kind,
            one.state,
            render.time_text(one.created_at),
            str(one.attempt_count),
            escape(one.last_error or ""),
        )
    console.print(table, "", sep="\n")
