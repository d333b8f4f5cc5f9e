"""`resmon alert test`: a message to a route now, and what came of it.

Belongs here: arguments and output. The words are in resmon_assets/alert/messages.py, sending in
resmon_resources/sending.py.
"""

import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import psycopg

from resmon_assets.alert.messages import composer
from resmon_cli import render
from resmon_cli.alert_routes import names_of, target_lines, template_lines
from resmon_cli.connection import data_connection
from resmon_cli.environment import ui_address
from resmon_cli.outages import Notice
from resmon_cli.watchdog import message_of
from resmon_resources import alert_routes as routes
from resmon_resources.alert_content import AlertShown, Content, Envelope, Message
from resmon_resources.errors import ConfigurationInvalid, SendingFailed
from resmon_resources.sending import Outcome, Sender
from resmon_resources.service_urls import parse_target, read_urls
from resmon_resources.settings import load_settings

QUEUE_SECONDS = 120
"""Longest wait for a message that `resmon up` is to send: its sensor looks every 15 s, and a run of
Dagster takes seconds to start."""

_POLL_SECONDS = 1.0


@click.command("test")
@click.argument("name", metavar="[ROUTE]", required=False)
@click.option("--example", is_flag=True, help="With an alert that does not exist, to see its look.")
@click.option(
    "--queue",
    is_flag=True,
    help="Through the running `resmon up`, with its environment, instead of from here.",
)
@click.option(
    "--watchdog",
    is_flag=True,
    help="To RESMON_WATCHDOG_URL, which is told when the daemon or the database is down.",
)
def test_command(name: str | None, *, example: bool, queue: bool, watchdog: bool) -> None:
    """Send a message to ROUTE now, and say what came of it.

    It is sent from here, past the queue, with the variables of this shell; with --queue by the
    running `resmon up`, as alerts are. Exits with 1 when a service of the route did not take it.
    """
    now = datetime.now(UTC)
    if watchdog:
        _test_watchdog(now)
        return
    if name is None:
        msg = "Give the ROUTE that is to be tested (resmon alert route list), or --watchdog."
        raise ConfigurationInvalid(msg)
    with data_connection() as connection:
        route = routes.find_route(connection, name, now=now)
        content = _content(now, with_example=example)
        for line in template_lines(route.settings.template):
            render.note(line)
        if queue:
            _through_queue(connection, name, content, now=now)
            return
    target = parse_target(route.settings.target)
    try:
        urls = read_urls(target, os.environ)
    except ConfigurationInvalid as error:
        msg = (
            f"Nothing was sent to {name}. {error} If `resmon up` has it, test through that: "
            f"resmon alert test {name} --queue"
        )
        raise ConfigurationInvalid(msg) from error
    for line in target_lines(route.settings.target)[1:]:
        render.note(line)
    settings = load_settings()
    compose = composer(
        ui_url=ui_address(settings),
        templates_path=None if settings.templates_path is None else str(settings.templates_path),
    )
    message = compose(Envelope(0, name, route.settings.template, content, now))
    for problem in message.problems:
        render.note(problem)
    _report(name, send_now(urls, message))


def _test_watchdog(now: datetime) -> None:
    """Send what `resmon up` would send when a part is down; needs no database.

    Raises:
        ConfigurationInvalid: nobody would be told.
        SendingFailed: a service did not take it.
    """
    target = load_settings().watchdog_target
    if target is None:
        msg = (
            "Nobody is told when the daemon or the database is down: neither RESMON_WATCHDOG_URL "
            "nor RESMON_WATCHDOG_URL_FILE is set here."
        )
        raise ConfigurationInvalid(msg)
    notice = Notice("daemon", "down", now, now, "This is a test; nothing is down")
    message = message_of(notice, host=socket.gethostname(), number=0)
    _report("watchdog", send_now(read_urls(parse_target(target), os.environ), message))


def send_now(urls: Sequence[str], message: Message) -> list[Outcome]:
    """Send a message to all URLs at the same time; outcomes in their order, keys `1 mailto`."""
    found: dict[str, Outcome] = {}
    names = names_of(urls)
    with Sender() as sender:
        for name, url in zip(names, urls, strict=True):
            sender.submit(name, url, message)
        while not sender.is_idle:
            found |= {outcome.key: outcome for outcome in sender.outcomes(wait_seconds=1)}
    return [found[name] for name in names]


def _report(name: str, outcomes: Sequence[Outcome]) -> None:
    """Say what each service did.

    Raises:
        SendingFailed: one did not take it.
    """
    for outcome in outcomes:
        how = "took it" if outcome.error is None else "did not take it"
        click.echo(f"{name}: {outcome.key} {how} ({outcome.seconds:.1f} s)")
        if outcome.error is not None:
            click.echo(f"    {outcome.error}")
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if not failed:
        return
    if all(outcome.is_permanent for outcome in failed):
        advice = (
            "The service understood and refused, so trying again will not help: look at the "
            "address, the user, and the token or password in the URL."
        )
    else:
        advice = (
            "Look whether this machine reaches host and port of the URL (name, firewall, proxy by "
            "the variable https_proxy), and try again. Alerts are tried again by themselves for a "
            "day."
        )
    msg = f"{len(failed)} of {len(outcomes)} services of {name} did not take the test. {advice}"
    raise SendingFailed(msg)


def _through_queue(
    connection: psycopg.Connection[Any], name: str, content: Content, *, now: datetime
) -> None:
    """Let `resmon up` send it, and wait for what comes of it.

    Raises:
        SendingFailed: it did not take place in time, or a service did not take it.
    """
    number = routes.queue_test(connection, name, content, now=now)
    render.note(f"Message {number} waits for `resmon up` to send it ...")
    deadline = time.monotonic() + QUEUE_SECONDS
    began = time.monotonic()
    state: dict[str, Any] = {}
    while time.monotonic() < deadline:
        state = routes.read_delivery(connection, number)
        if not state or state["sent_at"] or state["last_error"]:
            break
        time.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - began
    if state and state["sent_at"]:
        click.echo(f"{name}: {', '.join(state['taken_by'])} took it ({seconds:.0f} s)")
        return
    routes.drop_deliveries(connection, [number], by="resmon alert test", now=datetime.now(UTC))
    if state and state["last_error"]:
        msg = f"Message {number} to {name} was not sent: {state['last_error']}"
    else:
        msg = (
            f"Nobody sent message {number} within {QUEUE_SECONDS} s; it was dropped. Look whether "
            "`resmon up` runs, whether the route is switched on (resmon alert route show "
            f"{name}), and at the runs of alerts_job in Dagster's UI."
        )
    raise SendingFailed(msg)


def _content(now: datetime, *, with_example: bool) -> Content:
    """What the test tells."""
    if not with_example:
        return Content("test", now)
    began = now - timedelta(minutes=5)
    alert = AlertShown(
        alert_id=0,
        change="opened",
        rule="cpu_high",
        severity="warning",
        subject="server:0",
        subject_name="example-1",
        reason="CPU of example-1 has been at or above 90 % for 5 minutes (now 97.3 %).",
        began_at=began,
        opened_at=now,
        value=97.3,
        peak_value=98.1,
        trigger_value=90.0,
        unit="percent",
        server_id=0,
        server_name="example-1",
        organization_name="default",
    )
    remark = "The alert above is an example; there is no such server."
    return Content("test", now, (alert,), 1, remarks=(remark,))
