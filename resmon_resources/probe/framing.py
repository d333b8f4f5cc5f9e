"""Framing: the bytes of a probe's channel -> one `Answer` per tick.

Belongs here: markers, limits, and which frames belong together. Knows nothing of what the lines
mean (reading.py) nor of sockets. Imports errors.py and the marker of program.py.

A line ends with a carriage return or a newline (see program.py); empty lines mean nothing.

A frame counts only when it is whole: both markers with this connection's nonce and the same tick,
and nothing of another frame between them. Frames larger than a pipe's atomic write can interleave
on the host; such a splice always brings a foreign marker inside, so the damaged frame is dropped
and never read as numbers.
"""

from collections import deque
from dataclasses import dataclass, field

from resmon_resources.errors import ProbeUnreadable
from resmon_resources.probe.program import MARKER, PROBE_VERSION

MAX_LINE_BYTES = 64 * 1024
MAX_FRAME_LINES = 1_000
MAX_BYTES_PER_ANSWER = 1024 * 1024
"""More than this without one complete answer is not a probe (an answer has 600 bytes, a large
host's 30 KB)."""

NOISE_BYTES = 500
"""How much of what was printed outside frames is kept for the error message."""

_PENDING_TICKS = 16
"""Half-answered ticks that are remembered: with the shortest interval (5 s) and df's limit (10 s)
two are usual."""

_FINISHED_TICKS = 64
"""Delivered or expired ticks whose late frames are recognised and dropped."""

_MARKER_BYTES = MARKER.encode()
_OWN_VERSION = _MARKER_BYTES + b" "
_VERSION_AT = len(MARKER.rstrip("0123456789"))
_CLOSED_BY = {b"B": b"E", b"D": b"F"}
_MAX_TICK_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Answer:
    """What the probe said about one tick.

    Attributes:
        tick: number that the client sent.
        core: lines of the core frame, without markers; empty when `unsupported` is set.
        disk: lines of the disk frame; None when there was none.
        disk_reason: why `disk` is None: a word of the probe (`df-busy`, `no-mounts`, `no-disk`), or
            ours: `disk-late` (expired), `disk-garbled` (spliced). None when `disk` is there.
        unsupported: set when the host cannot be measured at all (`no-proc Darwin`); the cause is
            `unsupported`.
    """

    tick: int
    core: tuple[str, ...]
    disk: tuple[str, ...] | None
    disk_reason: str | None = None
    unsupported: str | None = None


@dataclass(slots=True)
class _Pending:
    """The parts of a tick that have arrived."""

    core: tuple[str, ...] | None = None
    disk: tuple[str, ...] | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Frame:
    """The frame that is being read."""

    kind: bytes
    tick: int
    lines: list[str] = field(default_factory=list)
    is_spliced: bool = False


class AnswerAssembler:
    """Turns the bytes of one channel into answers; not to be shared between threads.

    Args:
        nonce: the one that the probe of this connection was started with.
    """

    def __init__(self, nonce: str) -> None:
        self._prefix = f"{MARKER} {nonce} ".encode()
        self._nonce = nonce.encode()
        self._partial = bytearray()
        self._frame: _Frame | None = None
        self._pending: dict[int, _Pending] = {}
        self._finished: deque[int] = deque(maxlen=_FINISHED_TICKS)
        self._noise = bytearray()
        self._bytes_without_answer = 0
        self._answers: list[Answer] = []
        self._refusal: str | None = None

    @property
    def noise(self) -> str:
        """First 500 bytes printed outside frames, fit for a terminal (an unfinished line too)."""
        text = bytes(self._noise)
        if self._frame is None and len(text) < NOISE_BYTES:
            text += bytes(self._partial[: NOISE_BYTES - len(text)])
        decoded = text.decode("utf-8", "replace")
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in decoded).strip()

    def feed(self, data: bytes) -> list[Answer]:
        """Take the next bytes of the channel, in pieces of any size.

        Returns:
            The answers that these bytes completed, in order of completion (mostly none or one).

        Raises:
            ProbeUnreadable: a limit was passed; the connection is of no further use, and each later
                call raises too.
        """
        if self._refusal is not None:
            raise ProbeUnreadable(self._refusal)
        self._bytes_without_answer += len(data)
        first, *rest = data.replace(b"\r", b"\n").split(b"\n")
        self._partial += first
        for piece in rest:
            self._check_line()
            line = bytes(self._partial)
            self._partial = bytearray(piece)
            if line:
                self._take_line(line)
        self._check_line()
        if self._bytes_without_answer > MAX_BYTES_PER_ANSWER:
            self._refuse(f"{MAX_BYTES_PER_ANSWER} bytes came without a complete answer")
        answers, self._answers = self._answers, []
        return answers

    def has_core(self, tick: int) -> bool:
        """Whether the core of a tick is in and only its disk is waited for."""
        parts = self._pending.get(tick)
        return parts is not None and parts.core is not None

    def expire(self, tick: int) -> Answer | None:
        """Give up waiting for the rest of a tick; what arrives for it later is dropped.

        Returns:
            The core without the disk (`disk_reason` is `disk-late`), or None when the core has not
            come either.
        """
        self._finished.append(tick)
        parts = self._pending.pop(tick, None)
        if parts is None or parts.core is None:
            return None
        return Answer(tick=tick, core=parts.core, disk=None, disk_reason="disk-late")

    def _check_line(self) -> None:
        """Refuse a line that is too long, finished or not."""
        if len(self._partial) > MAX_LINE_BYTES:
            self._refuse(f"a line is longer than {MAX_LINE_BYTES} bytes")

    def _refuse(self, what: str, advice: str = "") -> None:
        """Raise, now and on every later call, and let the memory go."""
        self._refusal = f"The answer of the probe could not be read: {what}. " + (
            advice
            or "Something else than the probe is printing: look at the login shell and its start "
            f"files. It began with: {self.noise!r}"
        )
        self._partial.clear()
        self._pending.clear()
        self._frame = None
        raise ProbeUnreadable(self._refusal)

    def _take_line(self, line: bytes) -> None:
        """One whole line: a marker, a line of the open frame, or noise."""
        if line.startswith(self._prefix):
            marker = _parse_marker(line[len(self._prefix) :])
            if marker is not None:
                self._take_marker(*marker)
                return
        if self._frame is None:
            self._check_version(line)
            self._noise += (line + b"\n")[: NOISE_BYTES - len(self._noise)]
            return
        if _MARKER_BYTES in line:
            self._frame.is_spliced = True
        if len(self._frame.lines) >= MAX_FRAME_LINES:
            self._refuse(f"a frame has more than {MAX_FRAME_LINES} lines")
        self._frame.lines.append(line.decode("utf-8", "surrogateescape"))

    def _check_version(self, line: bytes) -> None:
        """Refuse a marker with our nonce and another version: a forced command of another day."""
        if not line.startswith(_MARKER_BYTES[:_VERSION_AT]) or line.startswith(_OWN_VERSION):
            return
        words = line[_VERSION_AT:].split()
        if len(words) > 1 and words[0].isdigit() and words[1] == self._nonce:
            self._refuse(
                f"the probe there speaks version {words[0].decode()} of its protocol, this Resmon "
                f"version {PROBE_VERSION}",
                "The forced command in authorized_keys is of another release: replace it by what "
                "`resmon server authorize-line` prints now.",
            )

    def _take_marker(self, kind: bytes, tick: int, reason: str) -> None:
        """Open, close or break off a frame."""
        frame, self._frame = self._frame, None
        if (
            frame is not None
            and kind == _CLOSED_BY[frame.kind]
            and tick == frame.tick
            and not frame.is_spliced
        ):
            self._complete(frame)
            return
        if frame is not None and frame.kind == b"D":
            # A damaged disk frame must not hold its core back.
            self._take_reason(frame.tick, "disk-garbled")
        if kind == b"X":
            self._take_reason(tick, reason)
        elif kind in _CLOSED_BY:
            self._frame = _Frame(kind, tick)

    def _take_reason(self, tick: int, reason: str) -> None:
        """There will be no disk frame for this tick; `no-proc` means no core either."""
        if tick in self._finished:
            return
        if reason.startswith("no-proc"):
            self._finish(
                Answer(tick=tick, core=(), disk=None, disk_reason=reason, unsupported=reason)
            )
            return
        parts = self._parts(tick)
        parts.reason = reason
        self._deliver(tick, parts)

    def _complete(self, frame: _Frame) -> None:
        """A whole frame has arrived."""
        if frame.tick in self._finished:
            return
        parts = self._parts(frame.tick)
        if frame.kind == b"B":
            parts.core = tuple(frame.lines)
        else:
            parts.disk = tuple(frame.lines)
        self._deliver(frame.tick, parts)

    def _parts(self, tick: int) -> _Pending:
        """What has arrived of this tick; forgets the oldest of too many."""
        if tick not in self._pending and len(self._pending) >= _PENDING_TICKS:
            del self._pending[next(iter(self._pending))]
        return self._pending.setdefault(tick, _Pending())

    def _deliver(self, tick: int, parts: _Pending) -> None:
        """The answer, once core and disk (or the reason why there is none) are in."""
        if parts.core is not None and (parts.disk is not None or parts.reason is not None):
            reason = parts.reason if parts.disk is None else None
            self._finish(Answer(tick=tick, core=parts.core, disk=parts.disk, disk_reason=reason))

    def _finish(self, answer: Answer) -> None:
        """Hand the answer out, and know its late frames."""
        self._pending.pop(answer.tick, None)
        self._finished.append(answer.tick)
        self._bytes_without_answer = 0
        self._answers.append(answer)


def _parse_marker(rest: bytes) -> tuple[bytes, int, str] | None:
    """Kind, tick and reason of what follows the nonce; None when it is not a marker."""
    kind, _, tail = rest.partition(b" ")
    number, _, reason = tail.partition(b" ")
    if kind not in {b"B", b"E", b"D", b"F", b"X"}:
        return None
    if not number.isdigit() or len(number) > _MAX_TICK_DIGITS or (reason and kind != b"X"):
        return None
    text = reason[:100].decode("ascii", "replace")
    return kind, int(number), "".join(c if c.isprintable() else "?" for c in text) or "unknown"
