"""`benchmarks/forecast.py`: prints its figures, the times with a reference."""

import json
import subprocess
import sys

import pytest

from resmon_resources.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

SCRIPT = str(PROJECT_ROOT / "benchmarks" / "forecast.py")


def test_day_prints_its_figures():
    """Would let back: a benchmark that fails, or measures nothing, once it is wanted."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--servers", "20"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    figures = {line["figure"]: line for line in lines}
    assert figures["day_seconds"]["value"] > 0
    assert figures["day_seconds"]["reference"] > 0
    # Three metrics and two mounts of 20 servers, six metrics of 20 organizations.
    assert figures["first_day_seconds"]["params"]["chosen"] == 20 * 5 + 20 * 6
    assert figures["day_seconds"]["params"]["chosen"] < 100
    assert 500 < figures["bytes_per_row"]["value"] < 5000
    assert figures["peak_rss_mib"]["reference"] is None
