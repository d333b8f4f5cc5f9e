"""The watchdog of `resmon up` by itself, with a database that is not there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resmon_cli.outages import REMIND_AFTER
from resmon_cli.watchdog import Watchdog, call
from resmon_resources.settings import load_settings
from tests.fixtures_services import Hook, free_port

pytestmark = [pytest.mark.integration]

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CANARY = "cAnArY7f3e"


def made(tmp_path: Path, **environment: str) -> Watchdog:
    """A watchdog of a database on a port where nobody listens; the daemon has a process."""
    settings = load_settings(
        {
            "RESMON_HOME": str(tmp_path),
            "RESMON_POSTGRES_DSN": f"postgresql://me:{CANARY}@127.0.0.1:{free_port()}/data",
            **environment,
        }
    )
    return Watchdog(settings, is_daemon_running=lambda: True)


def test_a_notice_waits_for_the_network(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: an outage that nobody hears of because the network was away with it, one
    that is told at every look, or a password in what is told."""
    monkeypatch.setenv("RESMON_WATCHDOG_URL", f"json://127.0.0.1:{free_port()}/{CANARY}")
    dog = made(
        tmp_path, RESMON_WATCHDOG_URL="json://x", RESMON_HEARTBEAT_URL=hook.url(scheme="http")
    )
    dog.round(now=NOW)
    assert dog.lines() == []
    dog.round(now=NOW + timedelta(seconds=61))
    said = dog.lines()
    assert said[0] == "Told by message: database down"
    assert "could not be sent" in said[1]
    assert "Connection refused" in said[1]
    dog.round(now=NOW + timedelta(seconds=66))
    assert dog.lines() == []
    monkeypatch.setenv("RESMON_WATCHDOG_URL", hook.url("/dog"))
    (letter,) = dog._letters
    assert letter.attempt == 1
    letter.due_at = 0.0
    dog.round(now=NOW + timedelta(seconds=100))
    dog.round(now=NOW + timedelta(seconds=105))
    (body,) = hook.bodies("/dog")
    told = body["resmon"]
    assert (told["part"], told["change"], told["since"]) == ("database", "down", NOW.isoformat())
    dog.round(now=NOW + timedelta(seconds=61) + REMIND_AFTER)
    assert [b["resmon"]["change"] for b in hook.bodies("/dog")] == ["down", "still down"]
    assert [path for path, _ in hook.requests if path != "/dog"] == []
    assert CANARY.lower() not in f"{said} {hook.requests}".lower()


def test_a_target_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    """Would let back: a file of addresses that is missed when the database is down."""
    path = tmp_path / "nothing"
    dog = made(tmp_path, RESMON_WATCHDOG_URL_FILE=str(path))
    dog.start()
    dog.stop()
    (line,) = dog.lines()
    assert "Nobody can be told" in line
    assert str(path) in line


def test_nobody_to_be_told_costs_nothing(tmp_path: Path) -> None:
    """Would let back: a thread and two connections of every `resmon up` for nothing."""
    dog = made(tmp_path)
    dog.start()
    assert dog._thread is None
    dog.stop()


def test_a_call_that_is_not_taken_says_why_without_its_address(hook: Hook) -> None:
    """Would let back: the token of the dead man's switch on the screen and in up.log."""
    assert call(f"http://127.0.0.1:{hook.port}/{CANARY}") is None
    hook.statuses[f"/{CANARY}"] = 404
    assert call(f"http://127.0.0.1:{hook.port}/{CANARY}") == "HTTP status 404"
    assert call(f"http://127.0.0.1:{free_port()}/{CANARY}") == "Connection refused"
    assert CANARY not in str(call(f"http://{CANARY}.invalid/{CANARY}"))
