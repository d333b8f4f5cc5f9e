"""`make bench-probe`: that its figures count what happens on the host."""

import json
import shutil
import subprocess
import sys

import pytest

from resmon_resources.settings import PROJECT_ROOT


@pytest.mark.integration
@pytest.mark.slow
def test_the_cost_on_the_host_is_counted_right():
    """A probe that forks for its core frame, or writes into syslog at each tick, would go unnoticed
    in a figure that counts neither."""
    command = [sys.executable, str(PROJECT_ROOT / "benchmarks" / "probe.py"), "--ticks", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {
        (line["figure"], line["params"].get("shell"), line["params"].get("part")): line["value"]
        for line in lines
        if line["figure"] not in {"syslog_lines", "syslog_lines_per_day"}
    }
    for shell in ("dash", "bash", "busybox"):
        if shutil.which(shell) is None:
            continue
        assert (
            0 < found["cpu_ms_per_tick", shell, "core"] < found["cpu_ms_per_tick", shell, "whole"]
        )
        assert found["cpu_seconds_per_day", shell, None] > 0
        if shutil.which("strace") is None:
            continue
        # cat, nproc, date, df; the probe's own: the job of the disk frame, timeout, df, date, and
        # grep every tenth tick.
        assert found["forks_per_tick", shell, "naive"] == 4
        assert found["forks_per_tick", shell, "core"] == 0
        assert found["execs_per_tick", shell, "core"] == 0
        assert found["forks_per_tick", shell, "whole"] == pytest.approx(4.1)
    syslog = {
        line["params"]["of"]: line["value"] for line in lines if line["figure"] == "syslog_lines"
    }
    if shutil.which("/usr/sbin/sshd") is not None:
        assert syslog["login"] >= 1
        assert syslog["tick"] == 0
