"""Sending messages from outside of the process that decides: nothing that a service does hangs it.

Belongs here: the child process (sending_child.py), its jobs, their time limits and outcomes. What
is sent when, and what becomes of a failure, is in notifier.py.
"""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from resmon_resources.alert_content import Message
from resmon_resources.errors import SendingFailed
from resmon_resources.service_urls import scheme_of

SEND_SECONDS = 15.0
"""Longest wait for one service. Apprise waits 4 s for a connection and 4 s for an answer (HTTP)."""

START_SECONDS = 60.0
"""Longest wait for the process: 1.6 s on a free core, ten times that on a busy machine."""

_READ_BYTES = 65_536
_HEALING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one message to one URL.

    Attributes:
        key: as it was submitted.
        error: None when the service took it, else why not; without secrets.
        is_permanent: the service understood and refused, or the URL cannot be used: the same again
            will not help, a person has to change something.
        seconds: that it took.
    """

    key: str
    error: str | None
    is_permanent: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Job:
    """A message that is under way."""

    began: float
    scheme: str


class Sender:
    """Sends many messages at the same time; the process is started when the first comes."""

    def __init__(self, *, limit_seconds: float = SEND_SECONDS) -> None:
        self._limit_seconds = limit_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._jobs: dict[str, _Job] = {}

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End the process, and with it what still hangs."""
        self._end()

    @property
    def is_idle(self) -> bool:
        """Whether no outcome is awaited."""
        return not self._jobs

    def submit(self, key: str, url: str, message: Message) -> None:
        """Begin to send; the outcome comes from `outcomes`, within the time limit.

        Raises:
            SendingFailed: the process does not start.
        """
        process = self._process or self._start()
        values = asdict(message) | {"fields": dict(message.fields)}
        job = {"key": key, "url": url, "message": values, "limit_seconds": self._limit_seconds - 1}
        self._jobs[key] = _Job(time.monotonic(), scheme_of(url))
        # A process that has ended is told of by `outcomes`.
        with suppress(BrokenPipeError):
            assert process.stdin is not None  # noqa: S101 - opened with a pipe
            process.stdin.write(json.dumps(job, default=str).encode() + b"\n")
            process.stdin.flush()

    def outcomes(self, *, wait_seconds: float) -> list[Outcome]:
        """What is known by now, after waiting at most so long for the first."""
        process = self._process
        if process is None or self.is_idle:
            return []
        now = time.monotonic()
        deadline = min(job.began for job in self._jobs.values()) + self._limit_seconds
        wait = max(0.0, min(wait_seconds, deadline - now))
        lines, is_ended = self._read(process, wait)
        answers = [json.loads(line) for line in lines]
        # One that was given up already may still answer.
        found = [self._outcome(a) for a in answers if a["key"] in self._jobs]
        if is_ended:
            status = process.wait()
            self._end()
            text = (
                f"The process that sends ended (exit status {status}) before the service answered"
            )
            return found + [self._failed(key, text) for key in list(self._jobs)]
        now = time.monotonic()
        late = [k for k, job in self._jobs.items() if now - job.began >= self._limit_seconds]
        text = f"The service did not answer within {self._limit_seconds:.0f} s"
        return found + [self._failed(key, text) for key in late]

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the process and wait until it takes jobs."""
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", "-m", "resmon_resources.sending_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Apprise's own lines hold URLs.
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            lines, is_ended = self._read(process, left)
            if lines:
                return process
            if is_ended:
                break
        self._end()
        msg = (
            "The process that sends messages did not start. See what it says: "
            "python -m resmon_resources.sending_child"
        )
        raise SendingFailed(msg)

    def _read(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[list[bytes], bool]:
        """Whole lines of the process, and whether it has closed its output."""
        assert process.stdout is not None  # noqa: S101 - opened with a pipe
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            return [], False
        chunk = os.read(process.stdout.fileno(), _READ_BYTES)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        return lines, not chunk

    def _outcome(self, answer: dict[str, object]) -> Outcome:
        """The outcome that an answer tells."""
        key, error, status = str(answer["key"]), answer["error"], answer["status"]
        job = self._jobs.pop(key)
        seconds = time.monotonic() - job.began
        if error is None:
            return Outcome(key, None, seconds=seconds)
        is_refused = isinstance(status, int) and is_refusal(status, job.scheme)
        is_permanent = is_refused or bool(answer["is_unusable"])
        return Outcome(key, str(error), is_permanent=is_permanent, seconds=seconds)

    def _failed(self, key: str, text: str) -> Outcome:
        """The outcome of a job without an answer."""
        return Outcome(key, text, seconds=time.monotonic() - self._jobs.pop(key).began)

    def _end(self) -> None:
        """Kill the process: it holds nothing but what hangs."""
        process, self._process = self._process, None
        self._buffer = b""
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.wait()


def is_refusal(status: int, scheme: str) -> bool:
    """Whether the service understood and refused, so that the same again will not help.

    HTTP: 4xx without 408, 425 and 429 (RFC 9110, 6585, 8470). SMTP: 5xx (RFC 5321, 4.2.1).
    """
    if scheme in ("mailto", "mailtos"):
        return status >= 500  # noqa: PLR2004 - class of SMTP
    return 400 <= status < 500 and status not in _HEALING  # noqa: PLR2004 - class of HTTP
