"""`resmon alert route`, `test` and `outbox`: who is told, whether it works, what waits."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resmon_assets.alert.messages import composer
from resmon_resources import inventory
from resmon_resources.alert_routes import count_open_alerts, open_alerts_text, read_routes
from resmon_resources.notifier import deliver_due
from resmon_resources.postgres import PostgresResource
from tests.fixtures_services import Hook, MailServer, free_port
from tests.integration.alert.test_notifier import message
from tests.integration.cli.builders import add_server
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

CANARY = "cAnArY7f3e"


@pytest.fixture
def acme(postgres: PostgresResource) -> None:
    """An organization."""
    with postgres.connect(autocommit=True) as connection:
        inventory.add_organization(connection, "acme", now=datetime.now(UTC))


@pytest.mark.usefixtures("acme")
def test_a_route_is_made_changed_shown_and_removed(resmon: Resmon, tmp_path: Path) -> None:
    """Would let back: options of a route that are lost on their way to the table, or by a change
    of another one."""
    path = tmp_path / "urls"
    path.write_text("json://a/b")
    path.chmod(0o640)
    added = resmon(
        *("alert", "route", "add", "pager", "--to", f"file:{path}", "--severity", "critical"),
        *("--organization", "acme", "--tag", "db", "--tag", "prod", "--rule", "cpu_high"),
        *("--per-hour", "7", "--template", "pager", "--no-resolved"),
    )
    assert added.output == (
        "Route pager is told of critical alerts of acme and below, of servers tagged db or prod, "
        "by cpu_high, not of their ends.\n"
    )
    assert "holds one URL (json)" in added.told
    assert f"chmod 600 {path}" in added.told
    resmon("alert", "route", "set", "pager", "--per-hour", "9", "--disable")
    (listed,) = json.loads(resmon("alert", "route", "list", "--format", "json").output)
    assert {k: listed[k] for k in ("target", "tags", "rules", "template", "per_hour")} == {
        "target": f"file:{path}",
        "tags": ["db", "prod"],
        "rules": ["cpu_high"],
        "template": "pager",
        "per_hour": 9,
    }
    assert (listed["is_enabled"], listed["sends_resolved"]) == (False, False)
    assert listed["organization_name"] == "acme"
    changed = resmon("alert", "route", "set", "pager", "--everything", "--no-template")
    assert changed.output == (
        "Route pager is told of critical alerts, not of their ends. It is switched off.\n"
    )
    assert "pager (off)" in resmon("alert", "route", "list").output
    assert "switched off" in resmon("alert", "route", "show", "pager").output
    assert resmon("alert", "route", "remove", "pager").exit_code == 0
    assert "nobody is told" in resmon("alert", "route", "list").told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "ops", "--to", f"slack://{CANARY}/x"), "chmod 600"),
        (("add", "ops", "--to", "env:NOT-A-NAME"), "env:NAME"),
        (("add", "Ops", "--to", "env:OPS"), "lower-case"),
        (("add", "ops", "--to", "env:OPS", "--rule", "cpu_hig"), "Did you mean cpu_high?"),
        (("add", "ops", "--to", "env:OPS", "--organization", "nope"), "organization 'nope'"),
        (("add", "ops", "--to", "env:OPS", "--template", "../x"), ".text.j2"),
        (("add", "ops", "--to", "env:OPS", "--tag", " "), "tag is empty"),
        (("add", "known", "--to", "env:OPS"), "already"),
        (("set", "known"), "--help"),
        (("set", "knwn", "--disable"), "Did you mean known?"),
        (("show", "nope"), "Routes: known"),
        (("remove", "nope"), "no route nope"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(
    resmon: Resmon, postgres: PostgresResource, arguments: tuple[str, ...], told: str
) -> None:
    """Would let back: a secret in the table of routes or in an error, or a route that matches
    nothing for a typo."""
    resmon("alert", "route", "add", "known", "--to", "env:OPS")
    done = resmon("alert", "route", *arguments)
    assert done.exit_code == 1
    assert told in done.told
    assert CANARY not in done.told + done.output
    with postgres.connect() as connection:
        assert len(read_routes(connection, now=datetime.now(UTC))) == 1


def test_a_test_says_what_each_service_did(
    resmon: Resmon, mail_server: MailServer, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a test that succeeds although nobody got it, or that shows a secret."""
    urls = [mail_server.url(), hook.url(f"/{CANARY}")]
    monkeypatch.setenv("OPS", "\n".join(urls))
    resmon("alert", "route", "add", "ops", "--to", "env:OPS")
    done = resmon("alert", "test", "ops", "--example")
    assert done.exit_code == 0
    assert [line.partition(" (")[0] for line in done.output.splitlines()] == [
        "ops: 1 mailto took it",
        "ops: 2 json took it",
    ]
    assert mail_server.mails[0]["Subject"] == "[Resmon] test of route ops"
    assert "example-1" in mail_server.mails[0].as_string()
    hook.statuses[f"/{CANARY}"] = 403
    refused = resmon("alert", "test", "ops")
    assert refused.exit_code == 1
    assert "2 json did not take it" in refused.output
    assert "look at the address" in refused.told
    monkeypatch.setenv("OPS", f"json://me:{CANARY}@127.0.0.1:{free_port()}/")
    away = resmon("alert", "test", "ops")
    assert "Connection refused" in away.output
    assert "firewall" in away.told
    monkeypatch.delenv("OPS")
    missing = resmon("alert", "test", "ops")
    assert "OPS is not set" in missing.told
    assert "--queue" in missing.told
    for outcome in (done, refused, away, missing):
        assert CANARY.lower() not in (outcome.output + outcome.told).lower()


def test_the_watchdog_can_be_tested(
    resmon: Resmon, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: an address for the night that is tried for the first time in that night."""
    for name in ("RESMON_WATCHDOG_URL", "RESMON_WATCHDOG_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert "RESMON_WATCHDOG_URL" in resmon("alert", "test", "--watchdog").told
    assert "--watchdog" in resmon("alert", "test").told
    monkeypatch.setenv("RESMON_WATCHDOG_URL", hook.url())
    assert resmon("alert", "test", "--watchdog").output.startswith("watchdog: 1 json took it")
    assert "test" in hook.bodies()[0]["resmon"]["reason"]


def test_messages_that_wait_are_listed_retried_and_dropped(
    resmon: Resmon, postgres: PostgresResource, hook: Hook
) -> None:
    """Would let back: dead letters that nobody can revive, or messages that nobody can stop."""
    resmon("alert", "route", "add", "ops", "--to", "env:OPS")
    with postgres.connect(autocommit=True) as connection:
        first, second = (message(connection, "ops") for _ in range(2))
        assert "web-1 cpu_high" in resmon("alert", "outbox").output
        assert "2 messages wait for ops" in resmon("alert", "route", "remove", "ops").told
        dropped = resmon("alert", "outbox", "--drop", "all")
        assert dropped.output.splitlines() == [
            f"Message {n}: will not be sent." for n in (first, second)
        ]
        assert "No message waits" in resmon("alert", "outbox").told
        dead = json.loads(resmon("alert", "outbox", "--dead", "--format", "json").output)
        assert [one["delivery_id"] for one in dead] == [first, second]
        assert dead[0]["last_error"].startswith("Dropped by")
        again = resmon("alert", "outbox", "--dead", "--retry", str(first), "--retry", "99")
        assert f"Message {first}: tried again now" in again.output
        assert "Message 99: nothing changed" in again.output
        done = deliver_due(
            connection,
            now=datetime.now(UTC),
            limit_seconds=20,
            compose=composer(ui_url="http://u"),
            environment={"OPS": hook.url()},
        )
    assert done.sent == 1
    assert resmon("alert", "outbox", "--retry", "x").exit_code == 1
    assert resmon("alert", "outbox", "--retry", "1", "--drop", "1").exit_code == 1


@pytest.mark.usefixtures("acme")
def test_open_alerts_are_counted(postgres: PostgresResource, resmon: Resmon) -> None:
    """Would let back: a screen that is silent of alerts, or speaks of those that are over."""
    resmon("alert", "route", "add", "ops", "--to", "env:OPS")
    now = datetime.now(UTC)
    with postgres.connect(autocommit=True) as connection:
        assert open_alerts_text(count_open_alerts(connection, now=now)) == ""
        message(connection, "ops")
        message(connection, "ops")
        connection.execute(
            "update alert.alerts set severity = 'critical', state = 'acknowledged',"
            " acknowledged_at = now(), acknowledged_by = 'bob' where alert_id = 1"
        )
        counts = count_open_alerts(connection, now=now)
        assert counts.stuck_count == 2
        add_server(postgres, "web-1", tags=[], organization="acme")
        told = resmon("status").told
        assert "2 alerts are open: 1 critical, 1 warning" in told
        assert "2 messages have waited for a quarter of an hour" in told
        assert open_alerts_text(counts) == (
            "2 alerts are open: 1 critical, 1 warning (1 not acknowledged). See: resmon alert list"
        )
        connection.execute(
            "update alert.alerts set state = 'resolved', resolved_at = now(), resolved_by = 'c'"
        )
        assert open_alerts_text(count_open_alerts(connection, now=now)) == ""
