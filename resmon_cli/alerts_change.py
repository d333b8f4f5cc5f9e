"""`resmon alert ack`, `unack`, `resolve` and `note`: what people do with alerts.

Belongs here: arguments and output. What each does is in resmon_resources/alert_store.py.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import psycopg

from resmon_assets.alert.planner import wake
from resmon_cli import render
from resmon_cli.alerts_list import organization_id_of, server_id_of
from resmon_cli.connection import data_connection
from resmon_cli.people import who
from resmon_resources import alert_store
from resmon_resources.alert_reader import AlertFilter, list_alerts
from resmon_resources.alert_rules import read_rule_book
from resmon_resources.errors import AlertOver, AlertUnknown, ConfigurationInvalid

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Change = Callable[..., alert_store.AlertHead]


def _chosen_options(command: _Command) -> _Command:
    """Give a command IDs, or options that choose open alerts, and who does it."""
    for option in (
        click.option("--note", default="", help="Why, or what is being done; kept with the alert."),
        click.option("--by", help="Who; default: the account that runs the command."),
        click.option("--all-of-organization", "organization", help="All open ones below it."),
        click.option("--all-of-server", "server", help="All open ones of this server."),
        click.option("--all-of-rule", "rule", help="All open ones of this rule."),
        click.argument("alert_ids", nargs=-1, type=click.IntRange(1), metavar="[ID]..."),
    ):
        command = option(command)
    return command


@click.command("ack")
@_chosen_options
@click.pass_context
def ack_command(context: click.Context, /, **chosen: Any) -> None:
    """Take alerts on: nobody is reminded of them.

    Who was told of an alert is told when it gets worse, and of its end. Several options of --all-of
    must all hold.

    \b
    resmon alert ack 12 13 --note "disk ordered"
    resmon alert ack --all-of-rule unreachable --all-of-organization shop
    """  # noqa: D301 - click takes a backspace, not the letters
    _change_all(context, alert_store.acknowledge, "acknowledged", **chosen)


@click.command("unack")
@_chosen_options
@click.pass_context
def unack_command(context: click.Context, /, **chosen: Any) -> None:
    """Give alerts back: nobody has taken them on, and reminders come again."""
    _change_all(context, alert_store.unacknowledge, "given back", **chosen)


@click.command("resolve")
@_chosen_options
@click.pass_context
def resolve_command(context: click.Context, /, **chosen: Any) -> None:
    """End alerts by hand; who was told of them is told of the end.

    What an alert is about may go on: no other is opened for it unless it gets worse, or was over
    and comes again.
    """
    _change_all(context, alert_store.resolve, "resolved", **chosen)


@click.command("note")
@click.argument("alert_id", type=click.IntRange(1), metavar="ID")
@click.argument("text")
@click.option("--by", help="Who; default: the account that runs the command.")
def note_command(alert_id: int, text: str, *, by: str | None) -> None:
    """Add TEXT to the history of alert ID, open or resolved."""
    if not text.strip():
        msg = "The note is empty. Give a text: resmon alert note 12 'disk ordered'"
        raise ConfigurationInvalid(msg)
    with data_connection() as connection:
        alert_store.note(connection, alert_id, text.strip(), actor=who(by), now=datetime.now(UTC))
    click.echo(f"Alert {alert_id}: noted.")


def _change_all(
    context: click.Context,
    change: _Change,
    word: str,
    *,
    alert_ids: Sequence[int],
    by: str | None,
    note: str,
    **filters: str | None,
) -> None:
    """Change each alert for itself and say what became of it; exit status 1 when one failed."""
    now, actor = datetime.now(UTC), who(by)
    has_failed = False
    with data_connection() as connection:
        for alert_id in _chosen(connection, alert_ids, **filters):
            try:
                before = change(connection, alert_id, actor=actor, now=now, note=note.strip())
            except (AlertOver, AlertUnknown) as error:
                has_failed = True
                render.note(f"Error: {error}")
                continue
            had = before.acknowledged_by
            earlier = f" ({had} had it)" if had is not None and had != actor else ""
            click.echo(
                f"Alert {alert_id} ({before.rule}, {before.subject_name}): {word} by {actor}"
                f"{earlier}."
            )
        wake(connection)
    if has_failed:
        context.exit(1)


def _chosen(
    connection: psycopg.Connection[Any],
    alert_ids: Sequence[int],
    *,
    rule: str | None,
    server: str | None,
    organization: str | None,
) -> list[int]:
    """Alerts that were given by number, or open ones by the options, oldest first.

    Raises:
        ConfigurationInvalid: neither was given, or both, or no open alert is meant.
    """
    by_options = [name for name in (rule, server, organization) if name is not None]
    if bool(alert_ids) == bool(by_options):
        msg = (
            "Give the numbers of alerts (resmon alert list shows them), or one or more of "
            "--all-of-rule, --all-of-server and --all-of-organization; not both."
        )
        raise ConfigurationInvalid(msg)
    if alert_ids:
        return list(dict.fromkeys(alert_ids))
    if rule is not None:
        read_rule_book(connection).shipped(rule)
    found = list_alerts(
        connection,
        AlertFilter(
            rules=[] if rule is None else [rule],
            server_id=server_id_of(connection, server),
            organization_id=organization_id_of(connection, organization),
        ),
    )
    if not found:
        msg = f"No open alert is of {' and '.join(by_options)}. See them with: resmon alert list"
        raise ConfigurationInvalid(msg)
    return sorted(alert.alert_id for alert in found)
