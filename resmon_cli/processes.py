"""Processes of this machine: who they are, whether they are ours, and how they are ended.

Belongs here: identity (pid and start time, so that a recycled pid is never mistaken for ours), the
mark that every process under `resmon up` inherits, and ending with a grace. Knows nothing of
Dagster or PostgreSQL.

The mark is an environment variable, because run workers and their log helpers outlive their
parents: neither pid nor parent nor process group finds them all, what they inherited at birth does.
Where the system has no /proc (macOS) only recorded processes are found.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

MARK = "RESMON_SUPERVISED_HOME"
"""Variable in the environment of every process under `resmon up`; its value is the state folder."""

PROC = Path("/proc")
_STAT_STATE = 0  # fields after the command's closing parenthesis, counted from 0 (man 5 proc)
_STAT_START = 19
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, past all doubt.

    Attributes:
        pid: process id.
        started: start time as the system tells it (clock ticks since boot, or the text of ps).
    """

    pid: int
    started: str


def identify(pid: int) -> Identity | None:
    """Identity of a living process; None when there is none (a zombie does not live)."""
    if not PROC.joinpath("self", "stat").exists():
        return _identify_by_ps(pid)
    try:
        stat = PROC.joinpath(str(pid), "stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[_STAT_STATE] in (b"Z", b"X"):
        return None
    return Identity(pid=pid, started=fields[_STAT_START].decode("ascii"))


def _identify_by_ps(pid: int) -> Identity | None:
    """The same where there is no /proc."""
    answer = subprocess.run(  # noqa: S603 (fixed program, number as argument)
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = answer.stdout.strip().partition(" ")
    if not started or state.startswith("Z"):
        return None
    return Identity(pid=pid, started=started.strip())


def is_alive(identity: Identity) -> bool:
    """Whether this very process still lives."""
    return identify(identity.pid) == identity


def find_marked(home: Path) -> list[Identity]:
    """Living processes that inherited the mark of `home`, without the caller itself.

    Processes of other users are not readable, hence never found; empty where there is no /proc.
    """
    wanted = os.fsencode(f"{MARK}={home}")
    found = []
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        try:
            environment = folder.joinpath("environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and (identity := identify(pid)) is not None:
            found.append(identity)
    return found


def send(identity: Identity, signal_number: int) -> bool:
    """Send a signal to this very process; False when it is gone."""
    if not is_alive(identity):
        return False
    try:
        os.kill(identity.pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def end(
    find: Callable[[], Iterable[Identity]],
    *,
    grace_seconds: float,
    is_hurried: Callable[[], bool] = lambda: False,
) -> tuple[int, int]:
    """End all processes that `find` finds: SIGTERM once each, then SIGKILL after the grace.

    `find` is asked again and again, so that what is born meanwhile is ended as well.

    Args:
        find: the living processes to end.
        grace_seconds: how long they may take after SIGTERM.
        is_hurried: ends the grace at once when it turns true.

    Returns:
        How many were asked, and how many had to be killed.
    """
    deadline = time.monotonic() + grace_seconds
    asked: set[Identity] = set()
    killed: set[Identity] = set()
    while living := list(find()):
        is_over = time.monotonic() >= deadline or is_hurried()
        for identity in living:
            if identity not in asked:
                asked.add(identity)
                send(identity, signal.SIGTERM)
            if is_over and send(identity, signal.SIGKILL):
                killed.add(identity)
        if time.monotonic() >= deadline + _UNKILLABLE_SECONDS:
            break
        time.sleep(_POLL_SECONDS)
    return len(asked), len(killed)


_UNKILLABLE_SECONDS = 3.0
"""A process in an uninterruptible wait cannot be killed; we do not wait for it longer than this."""
