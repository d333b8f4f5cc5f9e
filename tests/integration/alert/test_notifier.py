"""Sending what waits in alert.deliveries, to a real SMTP server and a real HTTP endpoint."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from resmon_assets.alert.links import links_of
from resmon_assets.alert.messages import composer
from resmon_resources.alert_content import AlertShown, Content, json_of
from resmon_resources.notifier import Delivered, deliver_due
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from tests.fixtures_services import Hook, MailServer, free_port

pytestmark = [pytest.mark.integration]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "cAnArYtoken7f3e"
COMPOSE = composer(ui_url="http://ui.example.org")


def route(
    connection: psycopg.Connection, name: str = "ops", target: str = "env:OPS", **values: Any
):
    """Store a route."""
    row = {"route": name, "target": target, "created_by": "t", "created_at": NOW, **values}
    connection.execute(
        "insert into alert.routes (route, target, is_enabled, template, created_by, created_at)"
        " values (%(route)s, %(target)s, %(is_enabled)s, %(template)s, %(created_by)s,"
        " %(created_at)s)",
        {"is_enabled": True, "template": None} | row,
    )


def message(connection: psycopg.Connection, name: str = "ops", *, text: str = "it is full") -> int:
    """Store a waiting message of one alert; its number."""
    ((alert_id,),) = connection.execute(
        "insert into alert.alerts (began_at, opened_at, changed_at, level, rule, subject,"
        " subject_name, severity, state, reason) values (%(at)s, %(at)s, %(at)s, 1, 'cpu_high',"
        " 's' || gen_random_uuid(), 'web-1', 'warning', 'open', 'r') returning alert_id",
        {"at": NOW},
    ).fetchall()
    shown = AlertShown(
        alert_id=alert_id,
        change="opened",
        rule="cpu_high",
        severity="warning",
        subject="server:1",
        subject_name="web-1",
        reason=text,
        began_at=NOW,
        opened_at=NOW,
    )
    ((number,),) = connection.execute(
        "insert into alert.deliveries (created_at, next_attempt_at, alert_ids, route, kind,"
        " content) values (%(at)s, %(at)s, array[%(alert)s::bigint], %(route)s, 'opened',"
        " %(content)s)"
        " returning delivery_id",
        {
            "at": NOW,
            "alert": alert_id,
            "route": name,
            "content": Jsonb(json_of(Content("opened", NOW, (shown,), 1))),
        },
    ).fetchall()
    return number


def deliver(
    connection: psycopg.Connection, environment: Mapping[str, str], *, now: datetime = NOW, **v: Any
) -> Delivered:
    """Send what is due."""
    values = {"limit_seconds": 30, "compose": COMPOSE, "environment": environment, **v}
    return deliver_due(connection, now=now, **values)


def row_of(connection: psycopg.Connection, number: int) -> dict[str, Any]:
    """What is stored of a message."""
    cursor = connection.execute(
        "select to_jsonb(d) from alert.deliveries d where delivery_id=%s", [number]
    )
    ((found,),) = cursor.fetchall()
    return found


def numbers(hook: Hook, path: str = "/hook") -> list[int]:
    """Numbers of the messages that came to a path."""
    return [body["resmon"]["delivery"] for body in hook.bodies(path)]


def test_a_message_reaches_mail_and_hook(
    postgres_connection: psycopg.Connection, mail_server: MailServer, hook: Hook
) -> None:
    """Would let back: a message that is marked and was not sent, or without its number."""
    route(postgres_connection)
    number = message(postgres_connection)
    done = deliver(postgres_connection, {"OPS": f"{mail_server.url()}\n{hook.url()}"})
    assert (done.sent, done.failed, done.waiting) == (1, 0, 0)
    (mail,) = mail_server.mails
    assert mail["Subject"] == "[Resmon] warning: web-1 cpu high"
    assert mail["X-Resmon-Delivery"] == str(number)
    kinds = {part.get_content_type() for part in mail.walk()}
    assert {"text/plain", "text/html"} <= kinds
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        assert "it is full" in part.get_content()
    assert numbers(hook) == [number]
    assert hook.bodies()[0]["resmon"]["alerts"][0]["reason"] == "it is full"
    row = row_of(postgres_connection, number)
    assert row["sent_at"] is not None
    assert (row["attempt_count"], row["last_error"]) == (1, None)
    assert deliver(postgres_connection, {"OPS": hook.url()}).sent == 0


def test_messages_of_a_route_come_in_order_and_routes_do_not_wait_for_each_other(
    postgres_connection: psycopg.Connection, hook: Hook
) -> None:
    """Would let back: an end before its opening, or a hanging service that holds all routes."""
    hook.hanging.add("/slow")
    for name in ("fast", "slow"):
        route(postgres_connection, name, f"env:{name}")
    slow = message(postgres_connection, "slow")
    fast = [message(postgres_connection, "fast") for _ in range(5)]
    began = time.monotonic()
    done = deliver(postgres_connection, {"fast": hook.url("/fast"), "slow": hook.url("/slow")})
    assert numbers(hook, "/fast") == fast
    assert (done.sent, done.failed, done.waiting) == (5, 1, 1)
    assert time.monotonic() - began < 50, "the service hangs for 60 s"
    assert row_of(postgres_connection, slow)["next_attempt_at"] is not None


def test_a_service_that_is_away_is_asked_less_and_less(
    postgres_connection: psycopg.Connection, hook: Hook
) -> None:
    """Would let back: an outage of a service in which messages are lost, doubled, reordered or
    asked for at every run."""
    route(postgres_connection)
    hook.statuses["/hook"] = 503
    first, second = (message(postgres_connection) for _ in range(2))
    now, attempts = NOW, []
    for _ in range(240):  # two hours
        done = deliver(postgres_connection, {"OPS": hook.url()}, now=now)
        attempts += [now] * done.failed
        now += timedelta(seconds=30)
    assert 7 <= len(attempts) <= 9
    assert set(numbers(hook)) == {first}
    assert "error=503" in row_of(postgres_connection, first)["last_error"]
    assert row_of(postgres_connection, second)["attempt_count"] == 0
    hook.statuses.clear()
    third = message(postgres_connection)  # a new message makes the route due
    hook.requests.clear()
    done = deliver(postgres_connection, {"OPS": hook.url()}, now=now)
    assert numbers(hook) == [first, second, third]
    assert (done.sent, done.waiting) == (3, 0)
    assert all("late" in body["message"] for body in hook.bodies())


def test_a_message_nobody_takes_is_given_up_after_a_day(
    postgres_connection: psycopg.Connection,
) -> None:
    """Would let back: dead letters that nobody sees, or a history of the alert without them."""
    route(postgres_connection)
    number = message(postgres_connection)
    environment = {"OPS": f"json://127.0.0.1:{free_port()}"}
    assert deliver(postgres_connection, environment).failed == 1
    row = row_of(postgres_connection, number)
    assert datetime.fromisoformat(row["give_up_at"]) - NOW >= timedelta(days=1)
    assert "Connection refused" in row["last_error"]
    end = NOW + timedelta(minutes=1)
    postgres_connection.execute("update alert.deliveries set give_up_at = %s", [end])
    assert deliver(postgres_connection, environment, now=end - timedelta(seconds=10)).failed == 1
    row = row_of(postgres_connection, number)
    assert datetime.fromisoformat(row["next_attempt_at"]) == end
    assert deliver(postgres_connection, environment, now=end).dead == 1
    events = postgres_connection.execute("select kind, actor, message from alert.alert_events")
    ((kind, actor, told),) = events.fetchall()
    assert (kind, actor) == ("failed", "delivery")
    assert f"Message {number} to route ops: given up after 3 attempts" in told


def test_a_refusal_is_given_up_soon_and_holds_nobody(
    postgres_connection: psycopg.Connection, hook: Hook
) -> None:
    """Would let back: a wrong address that is tried for a day, or that holds its route back."""
    route(postgres_connection)
    hook.statuses["/hook"] = 404
    first, second = (message(postgres_connection) for _ in range(2))
    assert deliver(postgres_connection, {"OPS": hook.url()}).failed == 2
    done = Delivered()
    for minute in range(1, 12):
        now = NOW + timedelta(minutes=minute)
        done = deliver(postgres_connection, {"OPS": hook.url()}, now=now)
        if not done.waiting:
            break
    assert minute < 11
    for number in (first, second):
        assert row_of(postgres_connection, number)["attempt_count"] == 5
        assert "error=404" in row_of(postgres_connection, number)["last_error"]


def test_only_the_service_that_failed_gets_it_again(
    postgres_connection: psycopg.Connection, mail_server: MailServer, hook: Hook
) -> None:
    """Would let back: one broken service of three that makes the others ring every minute."""
    route(postgres_connection)
    hook.statuses["/broken"] = 500
    urls = {"OPS": " ".join([mail_server.url(), hook.url("/broken"), hook.url("/fine")])}
    first = message(postgres_connection)
    assert deliver(postgres_connection, urls).failed == 1
    assert row_of(postgres_connection, first)["taken_by"] == ["1 mailto", "3 json"]
    second = message(postgres_connection)  # what two of three services take holds nothing back
    assert deliver(postgres_connection, urls, now=NOW + timedelta(seconds=1)).failed == 1
    hook.statuses.clear()
    assert deliver(postgres_connection, urls, now=NOW + timedelta(minutes=2)).sent == 2
    assert [mail["X-Resmon-Delivery"] for mail in mail_server.mails] == [str(first), str(second)]
    assert numbers(hook, "/fine") == [first, second]
    assert numbers(hook, "/broken") == [first, second, first, second]


def test_a_missing_variable_is_an_error_of_its_route_alone(
    postgres_connection: psycopg.Connection, hook: Hook
) -> None:
    """Would let back: one route without its secret that stops the others, or fails silently."""
    route(postgres_connection, "lost", "env:OPS_TYPO")
    route(postgres_connection, "fine", "env:OPS")
    lost, fine = message(postgres_connection, "lost"), message(postgres_connection, "fine")
    done = deliver(postgres_connection, {"OPS": hook.url()})
    assert numbers(hook) == [fine]
    assert "OPS_TYPO is not set" in row_of(postgres_connection, lost)["last_error"]
    assert any("OPS_TYPO" in problem for problem in done.problems)


def test_a_route_that_is_off_keeps_its_messages_for_a_day(
    postgres_connection: psycopg.Connection, hook: Hook
) -> None:
    """Would let back: a route that is switched off and still rings, messages that wait for ever,
    or a run each minute for messages that nobody is to send."""
    route(postgres_connection, is_enabled=False)
    number = message(postgres_connection)
    query = load_query("alert", "has_due_delivery")
    for hours, is_due in ((1, False), (25, True)):
        at = {"now": NOW + timedelta(hours=hours)}
        assert postgres_connection.execute(query, at).fetchall() == [(is_due,)]
    assert deliver(postgres_connection, {"OPS": hook.url()}).waiting == 1
    done = deliver(postgres_connection, {"OPS": hook.url()}, now=NOW + timedelta(hours=25))
    assert (done.dead, done.waiting) == (1, 0)
    assert "switched off" in row_of(postgres_connection, number)["last_error"]
    assert hook.requests == []


def test_a_content_of_nobody_knows_what_still_makes_a_message(
    postgres_connection: psycopg.Connection, hook: Hook
) -> None:
    """Would let back: a row of another version that stops all sending."""
    route(postgres_connection)
    number = message(postgres_connection)
    postgres_connection.execute("update alert.deliveries set content = '{\"alerts\": [1]}'")
    done = deliver(postgres_connection, {"OPS": hook.url()})
    assert numbers(hook) == [number]
    assert "cannot be read" in done.problems[0]


@pytest.mark.parametrize("path", [f"/{CANARY}", f"/a/{CANARY}/b%20c"])
def test_no_secret_reaches_the_database_or_the_log(
    postgres_connection: psycopg.Connection,
    hook: Hook,
    path: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Would let back: a token in last_error, in the alert's history or in Dagster's log."""
    route(postgres_connection)
    hook.statuses[path.replace("%20", " ")] = hook.statuses[path] = 404
    away = free_port()
    urls = [
        hook.url(path, user=f"me:{CANARY}"),
        f"json://me:{CANARY}@127.0.0.1:{away}{path}?key={CANARY}",
        f"mailto://me:{CANARY}@127.0.0.1:{away}?from=a@example.org&to={CANARY}@example.org",
        f"slack://{CANARY}",
        f"{CANARY}-1://x",
    ]
    for _ in range(2):
        message(postgres_connection)
    deliver(postgres_connection, {"OPS": "\n".join(urls)}, now=NOW)
    for minutes in (2, 5, 10, 20, 40):
        done = deliver(
            postgres_connection, {"OPS": "\n".join(urls)}, now=NOW + timedelta(minutes=minutes)
        )
    stored = postgres_connection.execute(
        "select string_agg(to_jsonb(d)::text, ''), (select string_agg(to_jsonb(e)::text, '')"
        " from alert.alert_events e) from alert.deliveries d"
    ).fetchall()
    assert "404" in str(stored)
    for text in (str(stored), caplog.text, str(done)):
        assert CANARY.lower() not in text.lower()


KILLED = """
import json, sys
from datetime import datetime
import psycopg
from resmon_assets.alert.messages import composer
from resmon_resources import notifier
def stop(*_):
    print("sent", flush=True)
    sys.stdin.read()
notifier._Run._settle = stop
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    notifier.deliver_due(
        connection, now=datetime.fromisoformat(sys.argv[2]), limit_seconds=30,
        compose=composer(ui_url="http://u"), environment={"OPS": sys.argv[3]},
    )
"""


def test_a_process_killed_after_sending_leaves_a_message_that_is_sent_again(
    postgres: PostgresResource, postgres_connection: psycopg.Connection, hook: Hook
) -> None:
    """Would let back: a message that is lost with its process, or that comes twice under two
    numbers, or that is sent at every start of a process that dies each time."""
    route(postgres_connection)
    number = message(postgres_connection)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(postgres.dsn), NOW.isoformat(), hook.url()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"sent\n"
    # Meanwhile nobody else sends.
    assert deliver(postgres_connection, {"OPS": hook.url()}).is_busy
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    deadline = time.monotonic() + 60
    while (done := deliver(postgres_connection, {"OPS": hook.url()})).is_busy:
        assert time.monotonic() < deadline
    assert done.sent == 0
    assert done.waiting == 1
    later = NOW + timedelta(seconds=40)
    assert deliver(postgres_connection, {"OPS": hook.url()}, now=later).sent == 1
    assert numbers(hook) == [number, number]
    assert row_of(postgres_connection, number)["attempt_count"] == 2


def test_the_queries_in_messages_run(postgres_connection: psycopg.Connection) -> None:
    """Would let back: a query in a message that names a view or column that does not exist."""
    base = AlertShown(
        alert_id=1,
        change="opened",
        rule="cpu_high",
        severity="warning",
        subject="s",
        subject_name="n",
        reason="r",
        began_at=NOW,
        opened_at=NOW,
        organization_id=1,
    )
    shown = [
        replace(base, server_id=1),
        replace(base, server_id=1, details={"mount": "/o'b %s {x}"}),
        replace(base, server_id=1, rule="anomaly"),
        replace(base, rule="quota"),
        replace(base, rule="group_unreachable"),
    ]
    queries = {links_of(alert, at=NOW, ui_url="u")["sql"] for alert in shown}
    assert len(queries) == 5
    for query in queries:
        postgres_connection.execute(f"explain {query}".encode())


def test_a_connection_in_a_transaction_is_refused(postgres: PostgresResource) -> None:
    """Would let back: attempts that are counted only when everything is over."""
    with postgres.connect() as connection:
        connection.execute("select 1")
        with pytest.raises(ValueError, match="in none"):
            deliver(connection, {})


def test_json_of_a_hook_is_json(postgres_connection: psycopg.Connection, hook: Hook) -> None:
    """Would let back: fields that a strict reader of JSON refuses."""
    route(postgres_connection)
    message(postgres_connection)
    deliver(postgres_connection, {"OPS": hook.url()})
    (body,) = hook.bodies()
    json.dumps(body, allow_nan=False)
    assert {"title", "message", "type", "resmon"} <= set(body)
