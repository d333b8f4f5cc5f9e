"""`benchmarks/anomaly.py`: prints its figures."""

import json
import subprocess
import sys

import pytest

from resmon_resources.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

SCRIPT = str(PROJECT_ROOT / "benchmarks" / "anomaly.py")


def test_a_pass_prints_its_figures():
    """Would let back: a benchmark that fails, or measures nothing, once it is wanted."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--servers", "20", "--warm-up-hours", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    passes = [line for line in lines if line["figure"] == "pass_seconds"]
    assert [line["params"]["time_steps"] for line in passes] == [1, 6, 12]
    assert all(line["value"] > 0 for line in passes)
    figures = {line["figure"]: line["value"] for line in lines}
    assert figures["state_mib"] > 0
    assert figures["peak_rss_mib"] > 50
    assert "episodes_open" in figures
