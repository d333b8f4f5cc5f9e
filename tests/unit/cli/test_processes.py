"""Identity, mark and end of processes, on tiny real programs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resmon_cli import processes
from resmon_cli.processes import Identity

SLEEP = "import time; time.sleep(60)"
IGNORE_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(60)"
)

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -c CODE`; what is left at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def run(code: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def poll(predicate: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until it holds, at most so long."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_the_same_process_has_the_same_identity(start: Start) -> None:
    """Would let back: a start time that differs between two looks, so that nothing is ever ours."""
    process = start(SLEEP)
    assert processes.identify(process.pid) == processes.identify(process.pid)
    assert processes.identify(process.pid) is not None


def test_a_recycled_pid_is_a_stranger(start: Start) -> None:
    """Would let back: killing a stranger that got the pid of a child of ours after a reboot."""
    process = start(SLEEP)
    stranger = Identity(pid=process.pid, started="1")
    assert not processes.is_alive(stranger)
    assert not processes.send(stranger, signal.SIGKILL)
    assert process.poll() is None


def test_a_zombie_does_not_live(start: Start) -> None:
    """Would let back: waiting for ever for a process that is dead and only not reaped."""
    process = start("")
    assert poll(lambda: processes.identify(process.pid) is None)
    assert process.returncode is None


def test_without_proc_ps_tells_the_identity(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: macOS, where every recorded process would count as gone."""
    if not Path("/bin/ps").exists():
        pytest.skip("no /bin/ps on this machine: install procps")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    process = start(SLEEP)
    identity = processes.identify(process.pid)
    assert identity is not None
    assert identity.started.strip()
    process.kill()
    process.wait()
    assert processes.identify(process.pid) is None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc (Linux)")
def test_marked_processes_are_found_also_without_their_parent(start: Start, tmp_path: Path) -> None:
    """Would let back: run workers that outlive their code server and are found by nobody."""
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}])"
    parent = start(code, **{processes.MARK: str(tmp_path)})
    parent.wait()
    try:
        assert poll(lambda: len(processes.find_marked(tmp_path)) == 1)
        assert processes.find_marked(tmp_path / "other") == []
    finally:
        asked, _ = processes.end(lambda: processes.find_marked(tmp_path), grace_seconds=10)
    assert asked == 1
    assert processes.find_marked(tmp_path) == []


def test_end_kills_what_ignores_the_request(start: Start) -> None:
    """Would let back: a code server that inherited an ignored SIGTERM and never ends."""
    process = start(IGNORE_SIGTERM)
    assert process.stdout is not None
    process.stdout.readline()
    identity = processes.identify(process.pid)
    assert identity is not None

    def find() -> list[Identity]:
        return [identity] if processes.is_alive(identity) else []

    assert processes.end(find, grace_seconds=0.2) == (1, 1)
    assert process.wait() == -signal.SIGKILL


def test_hurry_ends_the_grace(start: Start) -> None:
    """Would let back: a second Ctrl-C that changes nothing."""
    process = start(IGNORE_SIGTERM)
    assert process.stdout is not None
    process.stdout.readline()
    identity = processes.identify(process.pid)
    assert identity is not None
    began = time.monotonic()
    processes.end(
        lambda: [identity] if processes.is_alive(identity) else [],
        grace_seconds=100,
        is_hurried=lambda: True,
    )
    assert process.wait() == -signal.SIGKILL
    assert time.monotonic() - began < 50


def test_a_process_that_nobody_can_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a stop that hangs for ever on one process in an uninterruptible wait."""
    monkeypatch.setattr(processes, "_UNKILLABLE_SECONDS", 0.1)
    ghost = Identity(pid=os.getpid(), started="never")
    assert processes.end(lambda: [ghost], grace_seconds=0) == (1, 0)


def test_signal_to_a_process_that_just_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a stop that fails because something ended by itself in between."""
    process = start("")
    process.wait()
    monkeypatch.setattr(processes, "is_alive", lambda _: True)
    assert not processes.send(Identity(pid=process.pid, started="1"), signal.SIGTERM)
