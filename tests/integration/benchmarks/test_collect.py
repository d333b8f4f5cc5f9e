"""`make bench-collect`: that its figures count what happened."""

import json
import subprocess
import sys

import pytest

from resmon_resources.settings import PROJECT_ROOT
from tests.fixtures_services import free_port


@pytest.mark.integration
@pytest.mark.slow
def test_a_fleet_with_each_fault_is_counted_right():
    """A benchmark that miscounts would call a collector lossless that is not, or the reverse.

    Six sound servers and one of each fault, three ticks of 5 s, a handover in the middle. Four
    faulty ones answer (trickle, clock_off, reboot, df_hung), so ten times three instants are
    expected. Of the nine that never answer, only those whose every attempt takes ten seconds or
    more may still be in their retries, without a cause, when it is over.
    """
    command = [
        *(sys.executable, str(PROJECT_ROOT / "benchmarks" / "collect.py")),
        *("--servers", "20", "--faulty-share", "0.7", "--interval", "5", "--seconds", "15"),
        *("--window-seconds", "8", "--warm-up", "25", "--reference-servers", "2"),
        *("--port", str(free_port())),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["benchmark"] for line in lines} == {"collect"}
    found = {line["figure"]: line["value"] for line in lines}
    assert found["samples_expected"] == 30, done.stderr
    assert found["samples_stored"] == 30, done.stderr
    assert found["samples_lost"] == 0
    assert found["samples_doubled"] == 0
    assert found["samples_collected_twice"] > 0
    undecided = {line.split()[0] for line in done.stderr.splitlines() if line.endswith(" None")}
    assert undecided <= {"hang_banner", "hang_auth", "black_hole"}, done.stderr
    assert found["true_cause_share"] == round(1 - len(undecided) / 9, 3), done.stderr
    assert found["samples_read"] == 4
    assert 0 < found["lateness_p50_s"] <= found["lateness_p99_s"]
    assert found["logins_per_server_and_day"] == 24
    for figure in ("cpu_ms_per_sample", "rss_mib", "open_seconds", "simulator_cpu_seconds"):
        assert found[figure] > 0
