"""Channels: an open conversation with one probe, and the transport `local`.

Belongs here: what to reach (`Target`), how long each step may take (`Limits`), the bookkeeping that
every transport shares (ticks asked, bytes received, answers, how it ended), and the channel to a
probe on this machine. Does not know SSH, retries or schedules.

One thread at a time may use a channel; only `abort` may be called by any thread.
"""

import abc
import contextlib
import os
import secrets
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from resmon_resources.errors import Cause, CollectionError, ProbeUnreadable
from resmon_resources.probe.framing import Answer, AnswerAssembler
from resmon_resources.probe.program import probe_argv
from resmon_resources.session_choice import Mode, ModeChange

PRIMING_TICK = 0
"""Tick that proves a channel: its answer opens it, and is the first reading for differences."""

MAXIMUM_UNANSWERED_BYTES = 1024 * 1024
"""Bytes without an answer after which a channel is given up; an answer is about 1 KiB."""

_READ_BYTES = 64 * 1024
_READS_AT_ONCE = 4
"""Reads of one channel before the others get their turn."""

_EXIT_STATUS_SECONDS = 0.5
"""How long an ended channel may take to tell its exit status: SSH sends it after the end."""

_QUOTED_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach one server. Two unequal targets of one server mean: open a new connection.

    Attributes:
        server_id: id in the inventory.
        name: name in the inventory.
        transport: ssh, or local for the machine that Resmon runs on.
        host: name or address.
        port: port of sshd.
        user_name: login name; None means the one that Resmon runs as.
        identity_file: private key file; None means the agent's keys and those in ~/.ssh.
        proxy_jump: jump hosts in order, `[user@]host[:port][,...]`; None means none.
        host_key: the pinned key as `type base64`; None means that nothing is pinned. Not compared:
            a key that is pinned while the connection is open does not open another.
        exec_since: since when it is known to keep no session open, aware UTC; None means that it
            keeps one, or was not asked yet. No other connection is needed when it changes.
    """

    server_id: int
    name: str
    transport: Literal["ssh", "local"]
    host: str
    port: int = 22
    user_name: str | None = None
    identity_file: str | None = None
    proxy_jump: str | None = None
    host_key: str | None = field(default=None, compare=False)
    exec_since: datetime | None = field(default=None, compare=False)

    @property
    def title(self) -> str:
        """Name and place, for messages."""
        return f"{self.name} ({self.place})"

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.host}:{self.port}" if self.transport == "ssh" else "this machine"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that each step may take.

    Attributes:
        connect: TCP connection, over all addresses of the host.
        banner: until the server says SSH-2.0.
        handshake: key exchange.
        auth: all keys together.
        first_answer: until the remote shell runs, and again until the priming answer.
        answer: until an answer of a tick; longer than the 10 s that the probe gives df.
        disk_answer: after which an answer goes without its disk part.
        total: from the first step to the priming answer.
    """

    connect: float = 10
    banner: float = 10
    handshake: float = 15
    auth: float = 15
    first_answer: float = 20
    answer: float = 20
    disk_answer: float = 12
    total: float = 60


StepName = Literal["resolve", "connect", "banner", "handshake", "host_key", "auth", "shell", "read"]
"""Steps of an opening in their order; `read` waits for answers."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an opening that went well.

    Attributes:
        name: which one.
        seconds: how long it took.
        detail: what came of it, for a person; may be empty.
    """

    name: StepName
    seconds: float
    detail: str


class Attempt:
    """One opening under way: what it is doing, until when, and how to cut it short from outside.

    Attributes:
        limits: how long each step may take.
        step: what is being done.
        jump_host: place of the jump host it is being done with; empty for the server itself.
        host_key: the key of the server that was accepted, as `type base64`; None before that.
        on_first_use: takes the first key of a server to pin it; None: an unknown key is refused.
    """

    def __init__(
        self,
        limits: Limits,
        on_step: Callable[[Step], None] | None = None,
        *,
        on_first_use: Callable[[str], None] | None = None,
    ) -> None:
        self.limits = limits
        self.host_key: str | None = None
        self.on_first_use = on_first_use
        self.step: StepName = "resolve"
        self.jump_host = ""
        self.started = time.monotonic()
        self._on_step = on_step
        self._lock = threading.Lock()
        self._cut: Callable[[], None] | None = None
        self._is_aborted = False

    def begin(self, step: StepName) -> float:
        """Enter a step; returns the monotonic time at which it began."""
        self.step = step
        return time.monotonic()

    def end(self, began: float, detail: str = "") -> None:
        """Report the current step as done."""
        if self._on_step is not None:
            parts = [f"jump host {self.jump_host}" if self.jump_host else "", detail]
            text = ": ".join(part for part in parts if part)
            self._on_step(Step(self.step, time.monotonic() - began, text))

    def seconds_left(self, limit: float) -> float:
        """Seconds for a step of this limit within that of the whole attempt; at least 1 ms."""
        whole = self.started + self.limits.total - time.monotonic()
        return max(0.001, min(limit, whole))

    def hold(self, cut: Callable[[], None]) -> None:
        """Remember how to cut the attempt; cuts at once when it was aborted already."""
        with self._lock:
            self._cut = cut
            is_aborted = self._is_aborted
        if is_aborted:
            cut()

    def abort(self) -> None:
        """End the attempt from another thread: whatever it waits for ends now."""
        with self._lock:
            self._is_aborted = True
            cut = self._cut
        if cut is not None:
            cut()


def quote_output(noise: bytes | str) -> str:
    """First words of foreign output, made safe for one line of a message."""
    decoded = noise if isinstance(noise, str) else noise.decode("utf-8", "backslashreplace")
    text = " ".join(decoded.split())
    safe = "".join(letter if letter.isprintable() else "?" for letter in text)
    return safe if len(safe) <= _QUOTED_CHARACTERS else f"{safe[:_QUOTED_CHARACTERS]}..."


def new_nonce() -> str:
    """Word that marks the frames of one channel, so that nothing else can pass for them."""
    return secrets.token_hex(8)


class ProbeChannel(abc.ABC):
    """An open conversation with one probe: a tick goes in, an answer comes out.

    Attributes:
        target: server at the other end.
        is_postponed: something is left to write or read; call `read` again shortly.
        is_worn_out: the connection is to be replaced when nothing is asked for.
        mode_change: how the server is read from now on, when that has just changed, else None; who
            takes notice sets it to None.
    """

    def __init__(self, target: Target, nonce: str, limits: Limits) -> None:
        self.target = target
        self._first_answer: Answer | None = None
        self.is_postponed = False
        self.is_worn_out = False
        self.mode_change: ModeChange | None = None
        self._limits = limits
        self._nonce = nonce
        self._assembler = AnswerAssembler(nonce)
        self._marker = nonce.encode("ascii")
        self._has_marker = False
        self._has_answered = False
        self._asked: set[int] = set()
        self._unsent: list[int] = []
        self._with_inodes: set[int] = set()
        self._unanswered_bytes = 0
        self._ended_at: float | None = None

    # What a transport provides.

    @abc.abstractmethod
    def _send(self, line: bytes) -> bool:
        """Write a line if that takes no waiting; False when it would. The end is for reading."""

    @abc.abstractmethod
    def _receive(self) -> bytes | None:
        """Bytes that are there, None when there are none yet, b"" at the end. Never waits."""

    @abc.abstractmethod
    def _exit_status(self) -> int | None:
        """Exit status of an ended probe; None while it is not known."""

    @abc.abstractmethod
    def _lost_because(self) -> str | None:
        """Why the connection below the channel broke; None while it stands."""

    @abc.abstractmethod
    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Wait until `read` has something to do."""

    @abc.abstractmethod
    def notify(self, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` from any thread whenever bytes arrive or the channel ends."""

    @abc.abstractmethod
    def filenos(self) -> tuple[int, ...]:
        """File descriptors to watch instead, for a transport that cannot notify."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Cut the channel at once, from any thread, without waiting."""

    @abc.abstractmethod
    def close(self, *, timeout_seconds: float = 2) -> None:
        """Cut the channel and release all it holds; waits at most `timeout_seconds`."""

    # What all share.

    @property
    def mode(self) -> Mode:
        """How the server is read, as far as is known."""
        return "pull"

    @property
    def first_answer(self) -> Answer:
        """Answer of the priming tick; the channel is not open before it has come."""
        if self._first_answer is None:
            msg = f"The channel of {self.target.name} was not primed: ask for tick 0 first."
            raise RuntimeError(msg)
        return self._first_answer

    @property
    def noise(self) -> str:
        """First words of output that belonged to no answer, for diagnosis."""
        return self._assembler.noise

    def request(self, tick: int, *, with_inodes: bool = False) -> None:
        """Ask for an answer; never waits. What cannot be written yet is written by a later `read`.

        Args:
            tick: number of the answer.
            with_inodes: ask for inodes and types of the file systems too, a second df on the host.

        Raises:
            CollectionError: the channel is broken.
        """
        self._asked.add(tick)
        if with_inodes:
            self._with_inodes.add(tick)
        self._unsent.append(tick)
        self._send_unsent()

    def read(self) -> list[Answer]:
        """Answers that have arrived, of ticks that were asked and not given up; never waits.

        Raises:
            CollectionError: the channel ended, or what came is not the probe's. Answers that
                arrived before the end are returned first; the error comes with the next call.
        """
        self._send_unsent()
        answers: list[Answer] = []
        for _ in range(_READS_AT_ONCE):
            piece = self._receive()
            if piece is None:
                break
            if not piece:
                self._note_end(has_answers=bool(answers))
                break
            answers.extend(self._take(piece))
        else:
            self.is_postponed = True
        return answers

    def try_otherwise(self, seconds: float) -> bool:
        """After a silence of so long: whether the next request goes another way than the last."""
        return seconds < 0  # there is no other way, unless a transport knows one

    def retry_pull(self) -> None:
        """Try again to keep a session open, as somebody says that the host was repaired."""
        return

    @property
    def is_idle(self) -> bool:
        """Whether no answer is waited for."""
        return not self._asked

    def awaits(self, tick: int) -> bool:
        """Whether the answer of a tick is still to come."""
        return tick in self._asked

    def take_core(self, tick: int) -> Answer | None:
        """The answer without its disk part, when only that is missing; else None."""
        if tick in self._asked and self._assembler.has_core(tick):
            return self.give_up(tick)
        return None

    def give_up(self, tick: int) -> Answer | None:
        """Stop waiting for a tick: its core part if that has come; what comes later is dropped."""
        answer = self._assembler.expire(tick)
        if tick not in self._asked:
            return None
        if answer is not None:
            self._accept(answer)
        self._asked.discard(tick)
        if tick in self._unsent:
            self._unsent.remove(tick)
            self._with_inodes.discard(tick)
        return answer

    def ask(self, tick: int, timeout_seconds: float, *, with_inodes: bool = False) -> Answer:
        """Write a tick and wait for its answer; arguments as those of `request`.

        Raises:
            CollectionError: the channel ended, is unreadable, or did not answer in time.
        """
        began = time.monotonic()
        self.request(tick, with_inodes=with_inodes)
        disk_deadline = began + min(self._limits.disk_answer, timeout_seconds)
        while True:
            for answer in self.read():
                if answer.tick == tick:
                    return answer
            now = time.monotonic()
            is_over = now >= began + timeout_seconds
            partial = None
            if is_over or now >= disk_deadline:
                partial = self.give_up(tick) if is_over else self.take_core(tick)
            if partial is not None:
                return partial
            if is_over:
                raise self.silence(timeout_seconds)
            until = disk_deadline if now < disk_deadline else began + timeout_seconds
            if self._ended_at is not None:
                time.sleep(
                    0.02
                )  # an ended channel is always ready; its exit status is still to come
            else:
                self.wait_until_ready(0.05 if self.is_postponed else until - now)

    def silence(self, seconds: float) -> CollectionError:
        """Error of a channel that did not answer within `seconds`."""
        what = f"No answer of the probe from {self.target.title} in {seconds:g} s"
        if not self._has_answered and (self.noise or self._has_marker):
            return self._unreadable(what)
        return self._error(
            f"{what}. The machine is overloaded, hangs, or lost the network.", cause="timeout"
        )

    def _send_unsent(self) -> None:
        """Write ticks in their order as far as that takes no waiting."""
        while self._unsent:
            tick = self._unsent[0]
            flag = "i\n" if tick in self._with_inodes else ""
            if not self._send(f"{flag}{tick}\n".encode("ascii")):
                break
            self._unsent.pop(0)
            self._with_inodes.discard(tick)
        self.is_postponed = bool(self._unsent)

    def _take(self, piece: bytes) -> Iterator[Answer]:
        """Feed bytes to the assembler; yields answers of ticks that were asked."""
        if not self._has_marker:
            self._has_marker = self._marker in piece
        self._unanswered_bytes += len(piece)
        try:
            found = self._assembler.feed(piece)
        except ProbeUnreadable as error:
            msg = f"{self.target.name}: {error}"
            raise self._error(msg, cause="unreadable") from error
        for answer in found:
            if answer.unsupported is not None:
                raise self._unsupported(answer.unsupported)
            if answer.tick in self._asked:
                self._accept(answer)
                yield answer
        if self._unanswered_bytes > MAXIMUM_UNANSWERED_BYTES:
            msg = f"More than {MAXIMUM_UNANSWERED_BYTES} bytes came without an answer"
            raise self._unreadable(msg)

    def _accept(self, answer: Answer) -> None:
        """Book an answer."""
        if answer.tick == PRIMING_TICK:
            self._first_answer = answer
        self._asked.discard(answer.tick)
        self._has_answered = True
        self._unanswered_bytes = 0

    def _note_end(self, *, has_answers: bool) -> None:
        """At the end of file: raise, unless answers go first or the exit status may still come."""
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
        is_status_due = now - self._ended_at >= _EXIT_STATUS_SECONDS
        if has_answers or not (is_status_due or self._is_end_known()):
            self.is_postponed = True
            return
        self._take_end(self._end())

    def _take_end(self, error: CollectionError) -> None:
        """What an end means: here that of the channel."""
        raise error

    def _forget_output(self) -> None:
        """What follows is of another run of the probe; what was asked for stays asked for."""
        self._assembler = AnswerAssembler(self._nonce)
        self._has_marker = False
        self._unanswered_bytes = 0
        self._ended_at = None

    def _is_end_known(self) -> bool:
        """Whether nothing more can be learned about the end."""
        return self._exit_status() is not None or self._lost_because() is not None

    def _end(self) -> CollectionError:
        """Error of a channel that ended."""
        status = self._exit_status()
        who = self.target.title
        reason = self._lost_because()
        if status is None and reason is not None:
            return self._error(f"The connection to {who} was lost: {reason}.", cause="unreachable")
        if status in {None, 0} and not self._has_answered and (self.noise or self._has_marker):
            return self._unreadable(f"The probe on {who} ended without an answer")
        ending = "without an exit status" if status is None else f"with exit status {status}"
        quoted = f", after: {quote_output(self.noise)}" if self.noise else ""
        return self._error(
            f"The probe on {who} ended {ending}{quoted}. "
            "The account must be allowed to run /bin/sh, or have the forced command of "
            "`resmon server authorize-line` (no nologin, no other forced command).",
            cause="no_shell",
        )

    def _unreadable(self, what: str) -> CollectionError:
        """Error of output that is not the probe's, with its first words."""
        if self.noise:
            came = f"what came begins with: {quote_output(self.noise)}"
        else:
            came = "an answer began and broke off"
        return self._error(
            f"{what}; {came}. Look at what `ssh {self.target.host} true` prints, and at the "
            "start files of the shell.",
            cause="unreadable",
        )

    def _unsupported(self, reason: str) -> CollectionError:
        """Error of a system that the probe cannot measure."""
        return self._error(
            f"{self.target.title} cannot be measured: {reason}. Resmon reads Linux's /proc.",
            cause="unsupported",
        )

    def _error(self, message: str, *, cause: Cause) -> CollectionError:
        """Error of this channel."""
        return CollectionError(message, cause=cause, step="read" if self._has_answered else "shell")


class LocalChannel(ProbeChannel):
    """The probe as a child of this process, in a session of its own."""

    def __init__(self, target: Target, limits: Limits) -> None:
        nonce = new_nonce()
        super().__init__(target, nonce, limits)
        try:
            # The child's stderr joins its stdout: what is not a frame is noise, kept for diagnosis.
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                probe_argv(nonce),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            msg = f"The probe could not be started on this machine: {error}. It needs /bin/sh."
            raise CollectionError(msg, cause="no_shell", step="shell") from error
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        assert self._process.stdout is not None  # noqa: S101
        self._input = self._process.stdin.fileno()
        self._output = self._process.stdout.fileno()
        self._closing = threading.Lock()
        self._is_closed = False
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)

    @property
    def process_id(self) -> int:
        """Process id of the probe's shell, which is also its group."""
        return self._process.pid

    def _send(self, line: bytes) -> bool:
        try:
            os.write(self._input, line)
        except BlockingIOError:
            return False
        except OSError:
            return True  # the end of file on the other pipe says what happened
        return True

    def _receive(self) -> bytes | None:
        try:
            return os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return None

    def _exit_status(self) -> int | None:
        # Looked at, not reaped: until close() the process id, and so the group's, is no other's.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        status = os.waitid(os.P_PID, self._process.pid, options)
        if status is None:
            return None
        return status.si_status if status.si_code == os.CLD_EXITED else 128 + status.si_status

    def _lost_because(self) -> str | None:
        return None

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Wait for bytes or the end."""
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        poll.poll(max(0.0, timeout_seconds) * 1000)

    def notify(self, on_ready: Callable[[], None]) -> None:
        """Nothing: its descriptor is watched."""

    def filenos(self) -> tuple[int, ...]:
        """The end of the probe's output pipe."""
        return (self._output,)

    def abort(self) -> None:
        """Kill the probe's process group."""
        with self._closing:
            if not self._is_closed:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self, *, timeout_seconds: float = 2) -> None:
        """Kill the group, reap the shell, close the pipes."""
        self.abort()
        with self._closing:
            self._is_closed = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
