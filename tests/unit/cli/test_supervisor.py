"""Children, back-off, stop signals, logs and records, on tiny real programs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resmon_cli import supervisor
from resmon_cli.processes import identify
from resmon_cli.supervisor import Child, ChildSpec, StopSignals

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, subprocess, sys, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(helper.pid, flush=True); time.sleep(60)"
)

MakeChild = Callable[..., Child]


@pytest.fixture
def make_child(tmp_path: Path) -> Iterator[MakeChild]:
    """Makes a child that runs `python -c CODE`; stopped by force at the end."""
    children: list[Child] = []

    def make(code: str, **changes: object) -> Child:
        spec = ChildSpec(
            name="toy",
            command=(sys.executable, "-c", code),
            environment=dict(os.environ),
            working_directory=tmp_path,
            **changes,  # type: ignore[arg-type]
        )
        child = Child(spec, log_folder=tmp_path, run_folder=tmp_path)
        children.append(child)
        return child

    yield make
    for child in children:
        child.stop(grace_seconds=0, is_hurried=lambda: True)


def poll(predicate: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until it holds, at most so long."""
    return supervisor.wait_until(predicate, seconds=seconds)


@pytest.mark.parametrize(
    ("deaths", "seconds"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (7, 30), (500, 30)]
)
def test_restart_delay(deaths: int, seconds: float) -> None:
    """Would let back: a child that dies at once and is started two thousand times an hour."""
    assert supervisor.restart_delay_seconds(deaths) == seconds


def test_a_dead_child_is_restarted_and_told(make_child: MakeChild) -> None:
    """Would let back: a code server that stays dead until a person looks."""
    lines: list[str] = []
    child = make_child(SLEEP)
    child.start(now=0.0)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert poll(lambda: not child.is_running)
    child.watch(now=1.0, report=lines.append)
    assert child.is_running
    assert child.pid != first
    assert "killed by SIGKILL" in lines[0]
    assert str(child.log_path) in lines[0]


def test_a_child_that_dies_again_waits(make_child: MakeChild) -> None:
    """Would let back: a busy loop of starts that takes a whole core."""
    lines: list[str] = []
    child = make_child("import sys; sys.exit(3)")
    child.start(now=0.0)
    for _ in range(2):
        assert poll(lambda: not child.is_running)
        child.watch(now=1.0, report=lines.append)
    last = child.pid
    assert "restarting it in 1 s" in lines[1]
    child.watch(now=1.5, report=lines.append)
    assert child.pid == last
    child.watch(now=2.1, report=lines.append)
    assert child.pid != last
    assert len(lines) == 2


def test_a_long_life_clears_the_record(make_child: MakeChild) -> None:
    """Would let back: a restart that waits 30 s because of deaths of last week."""
    lines: list[str] = []
    child = make_child("")
    child.start(now=0.0)
    assert poll(lambda: not child.is_running)
    child.watch(now=1.0, report=lines.append)
    assert poll(lambda: not child.is_running)
    child.watch(now=1.0 + supervisor.STEADY_SECONDS, report=lines.append)
    assert "at once" in lines[-1]


def test_a_failing_restart_is_tried_again(make_child: MakeChild) -> None:
    """Would let back: a supervisor that dies of one failed start and leaves the others behind."""
    lines: list[str] = []
    is_broken = False

    def prepare() -> None:
        if is_broken:
            raise PermissionError(13, "no")

    child = make_child("", prepare=prepare)
    child.start(now=0.0)
    assert poll(lambda: not child.is_running)
    is_broken = True
    child.watch(now=1.0, report=lines.append)
    assert "could not be started again" in lines[-1]
    is_broken = False
    first = child.pid
    child.watch(now=3.0, report=lines.append)
    assert child.pid != first


def test_stop_is_polite_first(make_child: MakeChild) -> None:
    """Would let back: a collector that is killed before it has flushed."""
    child = make_child(
        "import signal, sys, time\n"
        "def leave(*_):\n    print('flushed', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGINT, leave)\nprint('up', flush=True)\ntime.sleep(60)",
        stop_signal=signal.SIGINT,
    )
    child.start(now=0.0)
    assert poll(lambda: "up" in child.log_tail())
    assert child.stop(grace_seconds=20, is_hurried=lambda: False)
    assert "flushed" in child.log_tail()
    assert child.exit_status == 0
    assert child.stop(grace_seconds=0, is_hurried=lambda: False)


def test_stop_kills_the_whole_group(make_child: MakeChild) -> None:
    """Would let back: run workers and log helpers that outlive the stop."""
    child = make_child(STUBBORN)
    child.start(now=0.0)
    assert poll(lambda: child.log_tail().strip().isdecimal())
    helper = int(child.log_tail())
    assert not child.stop(grace_seconds=0.1, is_hurried=lambda: False)
    assert poll(lambda: identify(helper) is None)


def test_children_have_their_own_session(make_child: MakeChild) -> None:
    """Would let back: Ctrl-C in the terminal that reaches PostgreSQL before its users."""
    child = make_child(SLEEP)
    child.start(now=0.0)
    assert child.pid is not None
    assert os.getsid(child.pid) == child.pid


def test_a_child_never_started_stops(make_child: MakeChild) -> None:
    """Would let back: a failed start whose clean-up fails as well."""
    child = make_child("")
    assert child.pid is None
    assert not child.is_running
    assert child.exit_status is None
    assert child.stop(grace_seconds=1, is_hurried=lambda: False)


def test_records_name_living_children_only(make_child: MakeChild, tmp_path: Path) -> None:
    """Would let back: a start after a crash that ends strangers, or nobody."""
    child = make_child(SLEEP)
    child.start(now=0.0)
    (tmp_path / "old.json").write_text(json.dumps({"pid": child.pid, "started": "1"}), "utf-8")
    (tmp_path / "torn.json").write_text('{"pid": 1', "utf-8")
    (tmp_path / "odd.json").write_text("[]", "utf-8")
    living = supervisor.read_records(tmp_path)
    assert [identity.pid for identity in living] == [child.pid]
    child.stop(grace_seconds=0, is_hurried=lambda: True)
    assert not (tmp_path / "toy.json").exists()


def test_a_child_that_is_gone_leaves_no_record(tmp_path: Path) -> None:
    """Would let back: a record of nobody, whose pid somebody gets later."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    path = tmp_path / "gone.json"
    path.write_text("{}", "utf-8")
    supervisor.write_record(path, process.pid)
    assert not path.exists()


def test_a_log_is_bounded_while_its_writer_goes_on(tmp_path: Path) -> None:
    """Would let back: a log that fills the disk, or one that ends at its first rotation."""
    path = tmp_path / "a.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        supervisor.bound_log(path, limit_bytes=99)
        writer.write(b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 100
    supervisor.bound_log(path, limit_bytes=99)
    assert path.read_bytes() == b"new"
    supervisor.bound_log(tmp_path / "none.log")


def test_tail_of_a_long_log(tmp_path: Path) -> None:
    """Would let back: an error message of ten megabytes."""
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(5000)) + b"\xff")
    lines = supervisor.tail(path, 3).splitlines()
    assert lines == ["line 4998", "line 4999", "\N{REPLACEMENT CHARACTER}"]
    assert supervisor.tail(tmp_path / "none.log", 3) == ""


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, "no exit status"),
        (2, "exit status 2"),
        (-9, "killed by SIGKILL"),
        (-200, "killed by signal 200"),
    ],
)
def test_describe_exit(status: int | None, text: str) -> None:
    """Would let back: `-9` as the only word about a death."""
    assert supervisor.describe_exit(status) == text


def test_a_signal_wakes_the_wait_and_counts() -> None:
    """Would let back: Ctrl-C that is noticed only when the pause is over, or a second one lost."""
    signals = StopSignals()
    former = signal.getsignal(signal.SIGTERM)
    with signals.installed():
        assert not signals.is_requested
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        signals.wait(60)
        assert time.monotonic() - began < 30
        assert signals.is_requested
        assert not signals.is_hurried
        os.kill(os.getpid(), signal.SIGINT)
        signals.wait(60)
        assert signals.is_hurried
        signals.wait(0.01)
    assert signal.getsignal(signal.SIGTERM) is former


def test_a_child_of_a_process_that_ignores_sigint_can_be_interrupted(tmp_path: Path) -> None:
    """Would let back: `nohup resmon up &`, after which no code server ever stopped."""
    code = (
        "import signal, subprocess, sys\n"
        "from resmon_cli.supervisor import StopSignals\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\n"
        "with StopSignals().installed():\n"
        "    print(subprocess.run([sys.executable, '-c', 'import signal;"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)'],"
        " capture_output=True, text=True).stdout)\n"
    )
    starter = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        f"os.execv(sys.executable, [sys.executable, '-c', {code!r}])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", starter], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "True"


def test_an_ignored_hangup_stays_ignored() -> None:
    """Would let back: `nohup resmon up` that ends with its terminal."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals().installed():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)
