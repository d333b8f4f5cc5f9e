"""Children of `resmon up`: started in their own sessions, logged, restarted with back-off, ended.

Belongs here: one child's life, the stop signals, the records that the next start reads. Knows
neither Dagster nor PostgreSQL: commands come from outside, so that tests supervise tiny programs.

Three facts (dagster 1.13.27) shaped this module. Dagster copies the disposition of SIGINT to
SIGTERM, so a code server that inherits an ignored SIGINT never stops: our handlers must stand
before the first child. Ctrl-C reaches the whole foreground group, and SIGINT is the fast shutdown
of PostgreSQL: each child has its own session. A code server waits without limit for its runs:
every stop has a limit, after which the whole group is killed.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from resmon_cli.processes import Identity, identify, is_alive

Report = Callable[[str], None]
"""Takes one line for the person who watches."""

LOG_LIMIT_BYTES = 10 * 1024 * 1024
"""Size at which a log is moved to NAME.log.1; a child can use twice this on disk."""

STEADY_SECONDS = 60.0
"""A child that lived this long has started well: its next restart is immediate again."""

_MAXIMUM_DELAY_SECONDS = 30.0
_POLL_SECONDS = 0.05


def restart_delay_seconds(deaths: int) -> float:
    """Pause before the restart after `deaths` deaths in a row: none, then 1, 2, 4 … 30 seconds.

    The first is immediate because an hour of a collector hangs on its code server.
    """
    return 0.0 if deaths <= 1 else min(_MAXIMUM_DELAY_SECONDS, 2.0 ** min(deaths - 2, 10))


class StopSignals:
    """SIGINT, SIGTERM and SIGHUP as a count that can be waited for.

    A caught signal is reset to its default by exec, so children can be interrupted even when we
    were started with SIGINT ignored (`nohup resmon up &`). An ignored SIGHUP stays ignored: that
    is nohup's point.
    """

    def __init__(self) -> None:
        self.count = 0
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    @contextlib.contextmanager
    def installed(self) -> Iterator["StopSignals"]:
        """Catch the signals inside the block; the former handlers return after it."""
        caught = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            caught.append(signal.SIGHUP)
        former = {number: signal.signal(number, self._catch) for number in caught}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            os.close(self._reader)
            os.close(self._writer)

    def _catch(self, _number: int, _frame: FrameType | None) -> None:
        """Count, and wake whoever waits; a full pipe wakes as well."""
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"!")

    @property
    def is_requested(self) -> bool:
        """Whether somebody wants us to stop."""
        return self.count > 0

    @property
    def is_hurried(self) -> bool:
        """Whether somebody asked twice."""
        return self.count > 1

    def wait(self, seconds: float) -> None:
        """Sleep, at most until the next signal."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if ready:
            os.read(self._reader, 64)


@dataclass(frozen=True)
class ChildSpec:
    """How a child is started and stopped.

    Attributes:
        name: names the log (NAME.log) and the record (NAME.json).
        command: program and arguments.
        environment: all of its environment.
        working_directory: where it runs.
        stop_signal: what it understands as a polite request.
        prepare: called before each start (removes a stale socket).
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: Path
    stop_signal: signal.Signals = signal.SIGTERM
    prepare: Callable[[], None] = field(default=lambda: None)


class Child:
    """One child: start, watch, restart, stop."""

    def __init__(self, spec: ChildSpec, *, log_folder: Path, run_folder: Path) -> None:
        self.spec = spec
        self.log_path = log_folder / f"{spec.name}.log"
        self._record_path = run_folder / f"{spec.name}.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restart_at: float | None = None
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it lives right now."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Exit status of the last process; None while it runs or before the first start."""
        return None if self._process is None else self._process.poll()

    def start(self, *, now: float) -> None:
        """Start it in a session of its own and record who it is."""
        self.spec.prepare()
        bound_log(self.log_path)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command lines)
                self.spec.command,
                env=dict(self.spec.environment),
                cwd=self.spec.working_directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started_at = now
        self._restart_at = None
        write_record(self._record_path, self._process.pid)

    def watch(self, *, now: float, report: Report) -> None:
        """Restart it, with back-off, when it has died; bound its log."""
        bound_log(self.log_path)
        if self.is_running:
            return
        if self._restart_at is None:
            self._deaths = 1 if now - self._started_at >= STEADY_SECONDS else self._deaths + 1
            delay = restart_delay_seconds(self._deaths)
            self._restart_at = now + delay
            when = "at once" if delay == 0 else f"in {delay:.0f} s"
            how = describe_exit(self.exit_status)
            report(f"{self.spec.name} ended ({how}); restarting it {when}. Log: {self.log_path}")
        if now >= self._restart_at:
            self._restart(now=now, report=report)

    def _restart(self, *, now: float, report: Report) -> None:
        """Start it again; a start that fails counts as another death."""
        try:
            self.start(now=now)
        except OSError as error:
            self._deaths += 1
            self._restart_at = now + restart_delay_seconds(self._deaths)
            report(f"{self.spec.name} could not be started again ({error}); trying again.")

    def stop(self, *, grace_seconds: float, is_hurried: Callable[[], bool]) -> bool:
        """Ask it to end, wait, then kill what is left of its process group.

        Returns:
            False when it had to be killed.
        """
        process = self._process
        self._record_path.unlink(missing_ok=True)
        if process is None or process.poll() is not None:
            return True
        process.send_signal(self.spec.stop_signal)
        is_polite = wait_until(
            lambda: process.poll() is not None, seconds=grace_seconds, is_hurried=is_hurried
        )
        # After a polite end too: run workers and log helpers are in the group of their code server.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return is_polite

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, for an error message."""
        return tail(self.log_path, lines)


def wait_until(
    predicate: Callable[[], bool], *, seconds: float, is_hurried: Callable[[], bool] = lambda: False
) -> bool:
    """Poll until `predicate` holds (True), or the time is over or somebody hurries (False)."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() >= deadline or is_hurried():
            return predicate()
        time.sleep(_POLL_SECONDS)
    return True


def describe_exit(status: int | None) -> str:
    """Exit status as a person says it: `exit status 1`, `killed by SIGKILL`."""
    if status is None:
        return "no exit status"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def bound_log(path: Path, *, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Move the content of a log that is over the limit to NAME.1 and empty it in place.

    In place, because the child keeps its descriptor open; it appends, so it goes on at the new end.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size > limit_bytes:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)


def tail(path: Path, lines: int) -> str:
    """Last lines of a text file; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16 * 1024))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def write_record(path: Path, pid: int) -> None:
    """Record a child for the start after a crash; a child that is gone already leaves none."""
    identity = identify(pid)
    if identity is None:
        path.unlink(missing_ok=True)
        return
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"pid": identity.pid, "started": identity.started}), "utf-8")
    partial.replace(path)


def read_records(run_folder: Path) -> list[Identity]:
    """Recorded children that still live; records that cannot be read count as gone."""
    living = []
    for path in sorted(run_folder.glob("*.json")):
        try:
            record = json.loads(path.read_text("utf-8"))
            identity = Identity(pid=int(record["pid"]), started=str(record["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if is_alive(identity):
            living.append(identity)
    return living
