"""`resmon alert outbox`: messages that wait or were given up.

Belongs here: arguments and output. The statements are in resmon_resources/alert_routes.py.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
import psycopg
from rich.markup import escape

from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.options import table_or_json
from resmon_cli.people import account
from resmon_resources import alert_routes as routes
from resmon_resources.alert_routes import Waiting
from resmon_resources.errors import ConfigurationInvalid

ALL = "all"


@click.command("outbox")
@click.option("--route", help="Only messages to this route.", metavar="NAME")
@click.option("--dead", is_flag=True, help="Messages given up in the last seven days.")
@click.option(
    "--retry",
    multiple=True,
    metavar="NUMBER",
    help="Try again now, for another day; `all`: of those that would be listed.",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="NUMBER",
    help="Do not send it; `all`: of those that would be listed.",
)
@table_or_json
def outbox_command(
    *,
    route: str | None,
    dead: bool,
    retry: tuple[str, ...],
    drop: tuple[str, ...],
    as_json: bool,
) -> None:
    """Messages that wait to be sent, or with --dead those that were given up.

    \b
    resmon alert outbox
    resmon alert outbox --dead --retry all
    resmon alert outbox --drop 12
    """  # noqa: D301 - click takes a backspace, not the letters
    if retry and drop:
        msg = "--retry and --drop contradict each other. Give one of them."
        raise ConfigurationInvalid(msg)
    now = datetime.now(UTC)
    with data_connection() as connection:
        if route is not None:
            routes.find_route(connection, route, now=now)
        found = routes.list_deliveries(connection, route=route, is_dead=dead, now=now)
        if retry or drop:
            _change(connection, found, retry=retry, drop=drop, now=now)
            return
    if as_json:
        render.print_json([asdict(one) for one in found])
        return
    if not found:
        what = "No message was given up in the last seven days" if dead else "No message waits"
        render.note(f"{what}{'' if route is None else f' for {route}'}.")
        return
    render.console().print(_table(found, now=now))
    for one in found:
        if one.last_error:
            render.note(f"{one.delivery_id}: {one.last_error}")
    if dead:
        render.note("Try them again, for another day: resmon alert outbox --dead --retry all")


def _change(
    connection: psycopg.Connection[Any],
    found: Sequence[Waiting],
    *,
    retry: tuple[str, ...],
    drop: tuple[str, ...],
    now: datetime,
) -> None:
    """Try messages again, or drop them, and say which."""
    numbers = numbers_of(retry or drop, found)
    if retry:
        done = routes.retry_deliveries(connection, numbers, now=now)
        told = "tried again now, for another day"
    else:
        done = routes.drop_deliveries(connection, numbers, by=account(), now=now)
        told = "will not be sent"
    for number in numbers:
        if number in done:
            click.echo(f"Message {number}: {told}.")
        else:
            reason = "was sent already, or there is none" if retry else "does not wait"
            click.echo(f"Message {number}: nothing changed, it {reason}.")
    if not numbers:
        render.note("There is no message to change.")


def numbers_of(given: Sequence[str], listed: Sequence[Waiting]) -> list[int]:
    """Numbers that a person gave, `all` being those that are listed.

    Raises:
        ConfigurationInvalid: one is neither a number nor `all`.
    """
    numbers: list[int] = []
    for text in given:
        if text == ALL:
            numbers += [one.delivery_id for one in listed]
        elif text.isdecimal() and len(text) <= 18:  # noqa: PLR2004 - digits of a bigint
            numbers.append(int(text))
        else:
            msg = f"{text!r} is not the number of a message. `resmon alert outbox` shows them."
            raise ConfigurationInvalid(msg)
    return list(dict.fromkeys(numbers))


def _table(found: Sequence[Waiting], *, now: datetime) -> Any:  # Any: a table of rich
    """One line per message."""
    table = render.plain_table(
        *("NUMBER", "ROUTE", "KIND", "ABOUT", "DECIDED", "ATTEMPTS", "NEXT"),
        right=["NUMBER", "ATTEMPTS"],
    )
    for one in found:
        table.add_row(
            str(one.delivery_id),
            escape(one.route),
            one.kind,
            escape(_about(one)),
            f"{render.duration_text((now - one.created_at).total_seconds())} ago",
            str(one.attempt_count),
            _next_text(one, now),
        )
    return table


def _about(one: Waiting) -> str:
    """`web-1 cpu_high and 3 more`."""
    alerts = one.content.get("alerts") or []
    if not alerts:
        return render.NOTHING
    first = f"{alerts[0].get('subject_name', '')} {alerts[0].get('rule', '')}".strip()
    count = max(int(one.content.get("alert_count") or 0), len(alerts))
    return first if count == 1 else f"{first} and {count - 1} more"


def _next_text(one: Waiting, now: datetime) -> str:
    """`now`, `in 5 min`, or when it was given up."""
    if one.dead_at is not None:
        return f"given up {render.duration_text((now - one.dead_at).total_seconds())} ago"
    if one.next_attempt_at is None or one.next_attempt_at <= now:
        return "now"
    return f"in {render.duration_text((one.next_attempt_at - now).total_seconds())}"
