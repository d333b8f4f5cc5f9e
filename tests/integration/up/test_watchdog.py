"""Under `resmon up`: the heartbeat while all is well, and messages of outages without the daemon
and without the database."""

import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from rich.console import Console

from resmon_cli import outages, supervisor, up, watchdog
from resmon_cli.database import DataServer
from resmon_cli.services import Address
from resmon_cli.supervisor import StopSignals
from resmon_resources.embedded_postgres import EmbeddedPostgres, dagster_url, data_url
from resmon_resources.settings import Settings
from tests.fixtures_services import Hook, MailServer
from tests.integration.up.conftest import poll
from tests.integration.up.test_up import START_SECONDS, nothing_is_left, recorded_pid

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]


def told(hook: Hook) -> list[str]:
    """What came to the watchdog's hook: `daemon down`."""
    return [f"{body['resmon']['part']} {body['resmon']['change']}" for body in hook.bodies("/dog")]


def pause_all(settings: Settings) -> None:
    """Nothing is to be collected any more."""
    with psycopg.connect(data_url(settings), autocommit=True) as connection:
        connection.execute("update inventory.servers set state = 'paused', changed_at = now()")


def is_daemon_alive(settings: Settings) -> bool:
    """Whether the watchdog would find that Dagster's daemon is well."""
    probe = watchdog._Probe(dagster_url(settings), "test")
    try:
        return probe.look_at_daemons(datetime.now(UTC)).is_well is True
    finally:
        probe.close()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in place of minutes."""
    for module, name, value in (
        (watchdog, "LOOK_SECONDS", 0.3),
        (watchdog, "HEARTBEAT_SECONDS", 1.0),
        (watchdog, "START_SECONDS", float("inf")),  # ends when the daemon is there
        (outages, "TELL_AFTER", timedelta(seconds=2)),
        (outages, "COLLECTOR_TELL_AFTER", timedelta(seconds=2)),
        (outages, "WELL_AFTER", timedelta(seconds=1)),
    ):
        monkeypatch.setattr(module, name, value)


def play(
    settings: Settings,
    hook: Hook,
    is_away: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    output: io.StringIO,
) -> None:
    """Each part goes away and comes back; every message and heartbeat is waited for."""

    def expect(what: str, predicate: Callable[[], object], seconds: float = 120) -> None:
        assert poll(predicate, seconds), f"{what} did not come"

    def beats() -> int:
        return len([path for path, _ in hook.requests if path == "/beat"])

    expect("the announcement", lambda: "Web UI" in output.getvalue(), START_SECONDS)
    expect("the daemon's sign of life", lambda: is_daemon_alive(settings), START_SECONDS)
    monkeypatch.setattr(watchdog, "START_SECONDS", 0.0)
    # The toy location has no collector, and there is a server to be collected.
    expect("a message", lambda: told(hook)[:1] == ["collector down"])
    assert beats() == 0
    pause_all(settings)
    expect("its end", lambda: told(hook)[1:2] == ["collector up"])
    expect("a heartbeat", lambda: beats() > 0)

    monkeypatch.setattr(supervisor, "restart_delay_seconds", lambda _: 12.0)
    os.kill(recorded_pid(settings, "daemon"), signal.SIGKILL)
    expect("the daemon's end", lambda: told(hook)[2:3] == ["daemon down"])
    expect("the daemon again", lambda: told(hook)[3:4] == ["daemon up"], START_SECONDS)
    count = beats()
    expect("the heartbeat again", lambda: beats() > count)

    pid_file = EmbeddedPostgres(settings).data_directory / "postmaster.pid"
    is_away.set()
    os.kill(int(pid_file.read_text("utf-8").split()[0]), signal.SIGQUIT)
    expect("the database's end", lambda: told(hook)[4:5] == ["database down"])
    is_away.clear()
    expect("the database again", lambda: "database up" in told(hook)[5:], START_SECONDS)


def test_outages_are_told_by_up_itself(
    settings: Settings,
    free_port: int,
    hook: Hook,
    mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would let back: a platform that is dead and silent, one that calls its dead man's switch
    although nothing is collected, or one that rings when it is stopped in order."""
    monkeypatch.setattr(up, "DEFINITIONS_MODULE", "toy_definitions")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    hurry(monkeypatch)
    monkeypatch.setenv("RESMON_WATCHDOG_URL", f"{hook.url('/dog')} {mail_server.url()}")
    wanted = replace(
        settings,
        heartbeat_url=f"http://127.0.0.1:{hook.port}/beat",
        watchdog_target="env:RESMON_WATCHDOG_URL",
    )
    is_away = threading.Event()
    watch = DataServer.watch
    monkeypatch.setattr(
        DataServer, "watch", lambda self, *, now: None if is_away.is_set() else watch(self, now=now)
    )
    output = io.StringIO()
    failures: list[str] = []

    def scenario() -> None:
        try:
            play(settings, hook, is_away, monkeypatch, output)
        except (AssertionError, OSError, ValueError, psycopg.Error) as error:
            failures.append(f"{error}; told {told(hook)}; said:\n{output.getvalue()}")
        finally:
            is_away.clear()
            os.kill(os.getpid(), signal.SIGTERM)

    with StopSignals().installed() as signals:
        thread = threading.Thread(target=scenario)
        thread.start()
        up.run(
            wanted,
            Address("127.0.0.1", free_port),
            signals=signals,
            screen=up.Screen(Console(file=output)),
            opens_browser=False,
        )
        thread.join()
    assert failures == []
    # The orderly stop is no outage.
    count = len(told(hook))
    assert not poll(lambda: len(told(hook)) > count, 3), told(hook)
    assert "Told by message: daemon down" in output.getvalue()
    subjects = [str(mail["Subject"]) for mail in mail_server.mails]
    assert [s.removeprefix("[Resmon] ").partition(" on ")[0] for s in subjects[:3]] == [
        "collector down",
        "collector up again",
        "daemon down",
    ]
    assert nothing_is_left(settings)
