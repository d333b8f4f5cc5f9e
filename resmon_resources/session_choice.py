"""Which kind of session a server is read by: one that is kept open, or one per tick.

Belongs here: the rules, without a clock and without SSH. What a session is, channels.py and ssh.py
know. Imports nothing of ours.

`pull` is one session that answers every tick written to it; it costs the least. `exec` is a session
per tick, on the same connection: for hosts that cannot keep one open (standard input is closed, a
wrapper collects output until the command ends, a forced command answers once, sessions are ended
after some seconds). A session of the other kind never costs a login: both run on the connection
that stands. So the choice may be tried as often as it likes, and is bounded by ticks:

* Each tick is asked by at most two sessions, one of each kind (three when a trial begins with it);
  when all end without an answer, the connection counts as broken, and the usual pauses between
  logins hold.
* A kept session that ends without any answer, when a session per tick then answers: `exec`.
* A kept session that ends after answers is started again; the third in a row that did not live
  `SHORT_LIFE_SECONDS` means `exec`.
* `exec` is remembered for `REMEMBER_SECONDS`. Then a kept session is on trial: it must live
  `SHORT_LIFE_SECONDS` to be chosen again; ends it earlier, `exec` is remembered once more.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Mode = Literal["pull", "exec"]

SHORT_LIFE_SECONDS = 600.0
"""A session that lives longer may end as it likes: 144 new ones a day on the same connection."""

SHORT_LIVES_UNTIL_EXEC = 3

REMEMBER_SECONDS = 24 * 3600.0
"""Until a host that was repaired is found out by itself; the others see one session a day."""


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A choice that is to be remembered; also when `exec` is confirmed, for its time begins anew.

    Attributes:
        mode: how the server is read from now on.
        reason: why, for a person.
    """

    mode: Mode
    reason: str


@dataclass(frozen=True, slots=True)
class ModeChosen:
    """How a server is read has turned out, and is to be remembered in `Target.exec_since`.

    Attributes:
        server_id: which server.
        mode: `exec`, also when that is confirmed after a trial, or `pull`.
        reason: why, for a person.
        chosen_at: when, aware UTC.
    """

    server_id: int
    mode: Mode
    reason: str
    chosen_at: datetime


class SessionChoice:
    """The choice for one connection. Times are seconds of any one clock that never goes back.

    Attributes:
        mode: how the server is read, as far as is known.
        change: what became of it; taken by `take_change`.
    """

    __slots__ = (
        "_again_at",
        "_detour_from",
        "_reason",
        "_short_lives",
        "_trial_from",
        "change",
        "mode",
    )

    def __init__(self, mode: Mode = "pull", *, again_at: float = 0.0) -> None:
        """Begin with what is remembered.

        Args:
            mode: the remembered one.
            again_at: of `exec`, when to try a kept session again.
        """
        self.mode: Mode = mode
        self.change: ModeChange | None = None
        self._again_at = again_at
        self._reason = ""
        self._detour_from: Mode | None = None
        self._short_lives = 0
        self._trial_from: float | None = None

    def take_change(self) -> ModeChange | None:
        """What is to be remembered since the last call; None when nothing is."""
        change, self.change = self.change, None
        return change

    def next_mode(self, now: float) -> Mode:
        """Kind of the next session."""
        if self._detour_from is not None:
            return "exec" if self._detour_from == "pull" else "pull"
        return "pull" if self.mode == "pull" or now >= self._again_at else "exec"

    def retry_pull(self, now: float) -> None:
        """Somebody says that the host was repaired: the next session is a kept one."""
        self._again_at = min(self._again_at, now)

    def note_answer(self, mode: Mode, now: float) -> None:
        """A session of this kind has answered."""
        is_detour, self._detour_from = self._detour_from is not None, None
        if mode == "exec" and self.mode == "pull" and is_detour:
            self._remember_exec(now, self._reason)
        elif mode == "pull" and self.mode == "exec":
            if self._trial_from is None:
                self._trial_from = now
            elif now - self._trial_from >= SHORT_LIFE_SECONDS:
                self.mode = "pull"
                self._trial_from = None
                self.change = ModeChange("pull", "a session that is kept open works again")

    def note_end(self, mode: Mode, now: float, *, lived: float, answers: int, how: str) -> bool:
        """A session ended by itself, or was given up, while the connection stands.

        Args:
            mode: its kind.
            now: the present moment.
            lived: seconds since it began.
            answers: how many it gave.
            how: what happened, for a person, for example `ended with exit status 0`.

        Returns:
            Whether what was asked of it is worth another session; False when this was the last.
        """
        if mode == "exec":
            if self._detour_from is not None:
                self._detour_from = None
                return False
            self._detour_from = "exec"
            return True
        if self.mode == "exec":
            return self._end_trial(now, f"{_after(answers)} {how}")
        if not answers:
            if self._detour_from is not None:
                self._detour_from = None
                return False
            self._detour_from = "pull"
            self._reason = f"a session that was kept open {how} without an answer"
            return True
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
        if self._short_lives >= SHORT_LIVES_UNTIL_EXEC:
            self._remember_exec(
                now,
                f"{SHORT_LIVES_UNTIL_EXEC} sessions that were kept open ended one after another, "
                f"the last {how} after {lived:.0f} s",
            )
        return True

    def _end_trial(self, now: float, how: str) -> bool:
        """A kept session of a server that is known for keeping none has ended."""
        was_detour, self._detour_from = self._detour_from is not None, None
        if not was_detour:
            self._remember_exec(now, f"a session that was kept open {how}")
        self._trial_from = None
        return not was_detour

    def _remember_exec(self, now: float, reason: str) -> None:
        """A session per tick, until further notice."""
        self.mode = "exec"
        self._again_at = now + REMEMBER_SECONDS
        self._short_lives = 0
        self._trial_from = None
        self.change = ModeChange("exec", reason)


def _after(answers: int) -> str:
    """How far it came, before how it ended."""
    if not answers:
        return "gave no answer and"
    return f"gave {answers} answer{'' if answers == 1 else 's'} and"
