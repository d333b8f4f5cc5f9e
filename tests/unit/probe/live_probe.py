"""The real probe as a child process: started by a real shell, read through the real assembler.

Run as a module it records the golden outputs again: `python -m tests.unit.probe.live_probe`.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from resmon_resources.probe.framing import Answer, AnswerAssembler
from resmon_resources.probe.program import probe_argv

NONCE = "0123456789abcdef"
GOLDEN = Path(__file__).parents[2] / "golden" / "probe"
DEADLINE_SECONDS = 60.0
SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}


def shell_of(name: str) -> tuple[str, ...]:
    """Command of a shell; skips, or fails where the shells are required (CI)."""
    command = SHELLS.get(name, (name,))
    if shutil.which(command[0]) is None:
        required = os.environ.get("RESMON_REQUIRE_SSHD") == "1" and name in SHELLS
        (pytest.fail if required else pytest.skip)(f"{command[0]} is not installed")
    return command


def children_of(pid: int) -> list[str]:
    """Children of a process, zombies included."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class LiveProbe:
    """One running probe."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.assembler = AnswerAssembler(NONCE)
        self.output = b""

    def send(self, line: int | str) -> None:
        """Write one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def read(self) -> list[Answer]:
        """Answers of the next bytes; fails the test when none come before the deadline."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_SECONDS)
        assert ready, f"the probe printed nothing for {DEADLINE_SECONDS} s after {self.output!r}"
        data = os.read(self.process.stdout.fileno(), 65536)
        assert data, f"the probe ended after {self.output!r}"
        self.output += data
        return self.assembler.feed(data)

    def answers(self, count: int) -> list[Answer]:
        """The next `count` answers."""
        found: list[Answer] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} answers in {self.output!r}"
            found += self.read()
        return found

    def ask(self, tick: int) -> Answer:
        """Send a tick and wait for its answer, and for the job that printed its disk frame to end.

        That job is still alive for a moment after its output arrived; a tick in that moment is
        answered with `df-busy`.
        """
        self.send(tick)
        (answer,) = self.answers(1)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while answer.disk is not None and self.has_running_job():
            assert time.monotonic() < deadline, "the job of the disk frame did not end"
            time.sleep(0.001)
        return answer

    def has_running_job(self) -> bool:
        """Whether the shell has a child that is not a zombie."""
        for child in children_of(self.process.pid):
            try:
                stat = Path(f"/proc/{child}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if stat.rpartition(") ")[2][0] not in "ZX":
                return True
        return False


@contextmanager
def live_probe(
    argv: list[str], *, environment: Mapping[str, str] | None = None
) -> Iterator[LiveProbe]:
    """Start it, and at the end kill its process group, which only this test has started."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        yield LiveProbe(process)
    finally:
        # The group may be gone already: then there is nothing left to end.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue


def argv_on(root: Path, shell: tuple[str, ...] = ("/bin/sh",)) -> list[str]:
    """The probe's command with /proc and /sys replaced by folders of a test."""
    argv = probe_argv(NONCE, shell=shell)
    text = re.sub(r"(?<![\w/])/(proc|sys)/", rf"{root}/\1/", argv[-3])
    return [*argv[:-3], text, *argv[-2:]]


def record() -> None:
    """Write the complete output of three ticks in each shell to tests/golden/probe."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in SHELLS:
        with live_probe(probe_argv(NONCE, shell=shell_of(name))) as probe:
            for tick in (1, 2, 3):
                probe.ask(tick)
            (GOLDEN / f"{name}.txt").write_bytes(probe.output)


if __name__ == "__main__":
    record()
