"""Outputs that are gone, full or closed: real processes, because only they have these."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resmon_resources.postgres import PostgresResource
from tests.integration.cli.conftest import Resmon

PROGRAM = "import sys; sys.argv[0] = 'resmon'; from resmon_cli.main import main; main()"
NULL, FULL = Path("/dev/null"), Path("/dev/full")


def call(
    postgres: PostgresResource, *arguments: str, stdout: int | None, redirect: str = ""
) -> subprocess.CompletedProcess[str]:
    """One `resmon` with this standard output; `redirect` is done by a shell."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    if redirect:
        command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *command]
    return subprocess.run(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "RESMON_POSTGRES_DSN": postgres.dsn},
    )


@pytest.fixture
def with_server(postgres: PostgresResource, resmon: Resmon) -> PostgresResource:
    """A database with a server, so that there is something to print."""
    assert resmon("server", "add", "web-1", "--host", "web-1.example.org").exit_code == 0
    return postgres


@pytest.mark.parametrize(
    "arguments",
    [
        ("server", "list"),
        ("server", "show", "web-1", "--json"),
        ("metrics", "web-1", "--format", "csv"),
        ("--help",),
    ],
    ids=" ".join,
)
def test_a_reader_that_went_away_needs_no_message(
    with_server: PostgresResource, arguments: tuple[str, ...]
) -> None:
    """Would let back: a traceback below the ten lines that `| head` showed."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = call(with_server, *arguments, stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("server", "list"), ("metrics", "web-1", "--format", "csv"), ("org", "list", "--json")],
    ids=" ".join,
)
def test_a_full_disk_is_told(with_server: PostgresResource, arguments: tuple[str, ...]) -> None:
    """Would let back: exit status 0 for a file that is empty."""
    with FULL.open("wb") as full:
        done = call(with_server, *arguments, stdout=full.fileno())
    assert done.returncode == 1
    assert done.stderr.endswith("Error: Writing the output failed: No space left on device.\n")


def test_a_closed_output_swallows(with_server: PostgresResource) -> None:
    """Would let back: a traceback of `resmon server pause web-1 >&-` in a cron job."""
    done = call(with_server, "server", "list", stdout=None, redirect=">&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("metrics", "web-1", "--format", "csv"),
        ("metrics", "web-1", "--format", "parquet"),
        ("export", "alerts", "--format", "csv"),
        ("export", "alerts", "--format", "parquet"),
    ],
    ids=" ".join,
)
def test_a_device_is_written_into_and_never_replaced(
    with_server: PostgresResource, resmon: Resmon, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Would let back: root's `--output /dev/null`, after which the machine has none."""
    link = tmp_path / "sink"
    link.symlink_to(NULL)
    outcome = resmon(*arguments, "--output", str(link))
    assert outcome.exit_code == 0
    assert link.is_symlink()
    assert NULL.is_char_device()
    assert list(tmp_path.iterdir()) == [link]


def test_numbers_and_names_that_do_not_fit_are_told(resmon: Resmon) -> None:
    """Would let back: "the database lost a statement" for a number with too many digits."""
    assert "does not fit" in resmon("alert", "show", "9" * 30).told
    assert "is not text in UTF-8" in resmon("server", "show", os.fsdecode(b"web-\xff")).told
