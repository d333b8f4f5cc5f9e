"""The lock on the state folder and the test of the port."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from resmon_cli.guards import HomeLock, check_port_is_free
from resmon_resources.errors import ConfigurationInvalid, StateUnusable


def test_a_second_supervisor_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """Would let back: two supervisors on one folder, each ending the children of the other."""
    path = tmp_path / "up.lock"
    with HomeLock(path), pytest.raises(StateUnusable, match=f"pid {os.getpid()}"), HomeLock(path):
        pass


def test_the_lock_is_free_again(tmp_path: Path) -> None:
    """Would let back: a folder that can be used once."""
    path = tmp_path / "up.lock"
    for _ in range(2):
        with HomeLock(path):
            assert path.read_text("utf-8") == f"{os.getpid()}\n"


def test_children_do_not_hold_the_lock(tmp_path: Path) -> None:
    """Would let back: a run worker left by a crash that keeps `resmon up` from starting."""
    path = tmp_path / "up.lock"
    with HomeLock(path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with HomeLock(path):
            assert child.poll() is None
    finally:
        child.communicate(b"\n")


def test_a_port_in_use_is_named() -> None:
    """Would let back: a web UI that another program answers for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationInvalid, match=f"port {port}.*--port"):
            check_port_is_free("127.0.0.1", port)
    check_port_is_free("127.0.0.1", port)


def test_a_host_that_is_not_ours() -> None:
    """Would let back: a traceback for a mistyped address."""
    with pytest.raises(ConfigurationInvalid, match="cannot listen"):
        check_port_is_free("192.0.2.1", 3000)
