"""What `resmon up` says, where, and to whom; no part of it is started."""

import errno
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from resmon_cli import up
from resmon_cli.live import Fleet
from resmon_cli.main import cli
from resmon_cli.services import Address
from resmon_cli.up import Every, FileLog, PatientConsole, Screen
from resmon_resources.settings import load_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLEET = Fleet(counts={"waiting": 1}, last_metrics_at=None)


class ClosedPipe(io.StringIO):
    """A reader that has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_open_alerts_are_one_line() -> None:
    """Would let back: a log with the same line every five seconds, or a table that hides alerts."""
    file = io.StringIO()
    lines = Screen(Console(file=file))
    for alerts in ("", "1 alert is open", "1 alert is open", ""):
        lines.show([], FLEET, now=NOW, alerts=alerts)
    told = [line.partition("Z ")[2] for line in file.getvalue().splitlines()]
    assert told[1:] == ["1 alert is open", "No alert is open any more."]
    terminal = io.StringIO()
    table = Screen(Console(file=terminal, force_terminal=True, width=100, height=30))
    table.show([], FLEET, now=NOW, alerts="1 alert is open")
    table.close()
    assert "1 alert is open" in terminal.getvalue()


def test_lines_carry_the_time_where_they_go_into_a_file() -> None:
    """Would let back: a log of which nobody can say when a service died."""
    file = io.StringIO()
    screen = Screen(Console(file=file))
    screen.say("[red] is a name")
    screen.show([], FLEET, now=NOW)
    screen.close()
    first, second = file.getvalue().splitlines()
    assert first.endswith("Z [red] is a name")
    assert first.startswith("20")
    assert second.endswith("Z 1 server: 1 waiting; no sample yet")


def test_a_terminal_gets_a_table_with_the_latest_notes() -> None:
    """Would let back: messages that tear the table, or are never seen."""
    file = io.StringIO()
    screen = Screen(Console(file=file, force_terminal=True, width=100, height=30))
    assert screen.is_terminal
    assert screen.table_rows == 22
    screen.say("before")
    screen.show([], FLEET, now=NOW)
    screen.say("daemon ended")
    screen.show([], FLEET, now=NOW)
    screen.close()
    screen.say("after")
    text = file.getvalue()
    assert text.index("before") < text.index("organization") < text.index("daemon ended")
    assert text.rstrip().endswith("after")


def test_a_closed_reader_stops_nothing() -> None:
    """Would let back: `resmon up | head` that leaves every process behind."""
    screen = Screen(PatientConsole(file=ClosedPipe()))
    screen.say("one")
    screen.say("two")


def test_a_period_is_due_once() -> None:
    """Would let back: a table drawn in every round of the loop."""
    every = Every(2.0)
    assert [every.is_due(now) for now in (0.0, 1.9, 2.0, 2.1)] == [True, False, True, False]


def test_what_is_said_is_also_kept(tmp_path: Path) -> None:
    """Would let back: a death in the night that only the terminal knew of."""
    screen = Screen(Console(file=io.StringIO()))
    with FileLog(tmp_path / "up.log"):
        screen.say("daemon ended")
    screen.say("not kept")
    text = (tmp_path / "up.log").read_text("utf-8")
    assert "INFO daemon ended" in text
    assert "not kept" not in text


def test_the_announcement_names_what_a_newcomer_needs(tmp_path: Path) -> None:
    """Would let back: a first start after which nobody knows what to do."""
    settings = load_settings({"RESMON_HOME": str(tmp_path)})
    text = "\n".join(up.announcement(settings, Address("127.0.0.1", 3000), command="resmon"))
    assert "http://127.0.0.1:3000" in text
    assert "resmon server add NAME --host HOST --user USER" in text
    assert "resmon db psql" in text
    assert str(tmp_path / "logs") in text


def test_the_announced_server_command_exists() -> None:
    """Would let back: advice that the command line refuses."""
    outcome = CliRunner().invoke(cli, ["server", "add", "--help"])
    assert outcome.exit_code == 0
    for option in ("--host", "--user", "--organization"):
        assert option in outcome.output


def test_the_command_is_named_as_the_person_can_call_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: `resmon db psql` as advice where the shell does not find resmon."""
    scripts = tmp_path / "a folder" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "resmon").write_text("#!/bin/sh\n", "utf-8")
    (scripts / "resmon").chmod(0o755)
    monkeypatch.setattr(up.sysconfig, "get_path", lambda _: str(scripts))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert up.command_name() == "'a folder/bin/resmon'"
    monkeypatch.setenv("PATH", str(scripts))
    assert up.command_name() == "resmon"
