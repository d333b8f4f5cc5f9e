"""`benchmarks/tiers.py`: each part prints its figures, with a reference for the times."""

import json
import subprocess
import sys

import pytest

from resmon_resources.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

SCRIPT = str(PROJECT_ROOT / "benchmarks" / "tiers.py")


@pytest.mark.parametrize("part", ["hour", "refresh"])
def test_part_prints_its_figures(part):
    """Would let back: a benchmark that fails, or measures nothing, once it is wanted."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--part", part, "--servers", "20"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    figures = {line["figure"]: line for line in lines}
    assert figures[f"{part}_seconds"]["value"] > 0
    assert figures[f"{part}_seconds"]["reference"] > 0
    assert figures[f"{part}_cpu_seconds"]["reference"] is None
    assert figures["peak_rss_mib"]["value"] > 50
    assert {line["params"]["part"] for line in lines} == {part}
    written = [line["value"] for line in lines if line["figure"] == "rows_written"]
    expected = {"hour": [1200, 240, 20, 0, 0, 0], "refresh": [100, 20]}
    assert written == expected[part]
