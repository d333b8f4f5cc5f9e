"""What strangers meet: names and times that cannot be, options that mean the same everywhere."""

import getpass
import io
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import psycopg
import pytest
from click.testing import CliRunner

from resmon_cli import people
from resmon_cli.connection import told_to_people
from resmon_cli.main import cli
from resmon_cli.output_file import whole_file
from resmon_resources.errors import ConfigurationInvalid, DatabaseError, FileUnusable


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with how it is called."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield " ".join((*path, name)), command


ALL = dict(commands(cli))


@pytest.mark.parametrize(
    ("called", "told"),
    [
        ("staus", "No such command 'staus'. Did you mean status?"),
        ("server lisst", "No such command 'lisst'. Did you mean list?"),
        ("quota sett", "No such command 'sett'. Did you mean set?"),
        ("alert rule shwo", "No such command 'shwo'. Did you mean show?"),
        ("xyzzy", "No such command 'xyzzy'.\n"),
    ],
)
def test_a_close_command_is_suggested(called: str, told: str) -> None:
    """Would let back: a stranger who reads the whole help for one wrong letter."""
    result = CliRunner().invoke(cli, called.split())
    assert result.exit_code == 2
    assert told in result.stderr


def test_json_is_asked_for_in_the_same_way_everywhere() -> None:
    """Would let back: --json in seven commands and --format json in fifteen others."""
    with_json = {
        path for path, command in ALL.items() for one in command.params if "--json" in one.opts
    }
    with_format = {
        path
        for path, command in ALL.items()
        for one in command.params
        if isinstance(one.type, click.Choice) and {"table", "json"} == set(one.type.choices)
    }
    assert with_json == with_format
    assert {"status", "retention show", "alert list", "demo check"} < with_json


def test_every_command_and_option_says_what_it_is() -> None:
    """Would let back: an option of which only the name is known."""
    silent = [
        (path, one.opts)
        for path, command in ALL.items()
        for one in command.params
        if isinstance(one, click.Option) and not one.help
    ]
    assert not silent
    assert not [path for path, command in ALL.items() if not command.help]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("archive restore 2026-02-30", "'2026-02-30' is not a day. Give one like 2026-03-01."),
        ("archive verify yesterday", "'yesterday' is not a day"),
        ("demo create --until 1.3.2026", "'1.3.2026' is not a day"),
    ],
)
def test_what_is_no_day_is_refused(arguments: str, told: str) -> None:
    """Would let back: a message about %Y-%m-%d."""
    result = CliRunner().invoke(cli, arguments.split())
    assert result.exit_code == 2
    assert told in result.stderr


def test_an_account_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a traceback in a container whose user is in no passwd."""

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert people.who(None) == f"uid {os.getuid()}"
    assert people.who(" ada ") == "ada"
    with pytest.raises(ConfigurationInvalid, match="--by is empty"):
        people.who(" ")


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (
            psycopg.errors.InsufficientPrivilege("denied for ops"),
            DatabaseError,
            "denied for ops",
        ),
        (
            psycopg.errors.NumericValueOutOfRange("too big"),
            ConfigurationInvalid,
            "not fit: too big",
        ),
        (psycopg.errors.DeadlockDetected("deadlock\nmore"), DatabaseError, "deadlock.*Try again"),
    ],
)
def test_what_the_database_answers_is_told(
    error: Exception, kind: type[Exception], told: str
) -> None:
    """Would let back: a traceback, or "try again" where that cannot help."""
    with pytest.raises(kind, match=told), told_to_people():
        raise error


def test_bytes_that_are_no_text_are_told() -> None:
    """Would let back: a traceback for a name that was pasted in another encoding."""
    with pytest.raises(ConfigurationInvalid, match="is not text in UTF-8"), told_to_people():
        os.fsdecode(b"web-\xff").encode()
    with pytest.raises(UnicodeEncodeError), told_to_people():
        "…".encode("ascii")


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """Would let back: half a file, or what is left of one, after an error."""
    output = tmp_path / "rows.csv"
    output.write_text("before")

    def fail() -> None:
        with whole_file(output) as file:
            file.write(b"half")
            raise io.UnsupportedOperation

    with pytest.raises(FileUnusable):
        fail()
    assert output.read_text() == "before"
    with whole_file(output) as file:
        file.write(b"after")
    assert output.read_text() == "after"
    assert [one.name for one in tmp_path.iterdir()] == ["rows.csv"]


def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    """Would let back: /dev/null replaced by a file, for everybody on the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with whole_file(pipe) as file:
        file.write(b"rows")
    reader.join(60)
    assert read == [b"rows"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["x" * 5000, "missing/rows.csv"])
def test_a_file_that_cannot_be_is_told(tmp_path: Path, name: str) -> None:
    """Would let back: a traceback about a name that is too long."""
    with (
        pytest.raises(FileUnusable, match=re.compile("Writing .* failed: .*Choose another", re.S)),
        whole_file(tmp_path / name),
    ):
        pass
