"""`benchmarks/_measuring.py`: what a benchmark leaves behind when it is ended before its time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resmon_cli.processes import identify, is_alive
from resmon_resources.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

LIMIT_SECONDS = 60

BENCHMARK = """
import os, time
from benchmarks._measuring import embedded, in_own_process, postmaster_pid
from tests.integration.benchmarks.test_measuring import work

if __name__ == "__main__":
    with embedded() as postgres:
        print(postmaster_pid(postgres), flush=True)
        in_own_process(work, postgres, 1, params={})
"""


def work(*_: object) -> list[object]:
    """A part of a benchmark that takes longer than anybody waits."""
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(600)
    return []


@pytest.fixture
def benchmark(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    script = tmp_path / "benchmark.py"
    script.write_text(BENCHMARK)
    (tmp_path / "temporary").mkdir()
    tmp_path.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_terminated_benchmark_leaves_no_server_and_no_folder(benchmark, tmp_path):
    """Would let back: a PostgreSQL per benchmark that somebody ended, until the machine is full."""
    assert benchmark.stdout is not None
    pids = [int(benchmark.stdout.readline()) for _ in range(2)]
    started = [identity for pid in pids if (identity := identify(pid)) is not None]
    assert len(started) == len(pids)
    data = Path(f"/proc/{pids[0]}/cwd").readlink()
    assert (data / "PG_VERSION").exists()
    benchmark.send_signal(signal.SIGTERM)
    assert benchmark.wait(LIMIT_SECONDS) == 128 + signal.SIGTERM
    assert [identity for identity in started if is_alive(identity)] == []
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not data.exists()
