"""Every test here leaves no thread and no process behind, and uses no key but its own."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures_ssh import children_of, command_line_of, poll_until


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No thread or child outlives a test: one per lost host ends a collector in days."""
    threads = set(threading.enumerate())
    children = set(children_of(os.getpid()))
    yield
    # Below the 15 s after which a forgotten timer of a handshake would end by itself.
    poll_until(lambda: not set(threading.enumerate()) - threads, seconds=10, what="threads left")
    poll_until(
        lambda: (
            not [
                child
                for child in children_of(os.getpid())
                if child not in children and not _listens(child)
            ]
        ),
        what="processes left",
    )


@pytest.fixture(autouse=True)
def _own_keys_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test logs in with the keys or the agent of whoever runs it."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def _listens(process_id: int) -> bool:
    """Whether a process is the sshd of the session, which outlives the test."""
    return b"sshd_config" in command_line_of(process_id)
