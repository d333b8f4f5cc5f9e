"""Catching up after an outage, at a small size: the benchmark's figures, and no hole left."""

import json
import subprocess
import sys

import pytest

from tests.test_definitions import ROOT

pytestmark = pytest.mark.integration


def test_an_outage_leaves_no_hole_that_raw_could_fill():
    """Would let back: hours that no run computes after the daemon was away, or a run for each."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "benchmarks/catch_up.py"),
            *("--servers", "2", "--days", "0.25", "--no-reference"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    holes = {one["params"]["table"]: one["value"] for one in lines if one["figure"] == "holes"}
    rows = {one["params"]["table"]: one["value"] for one in lines if one["figure"] == "rows"}
    runs = {one["params"]["job"]: one["value"] for one in lines if one["figure"] == "catch_up_runs"}
    assert set(holes.values()) == {0}
    assert rows["tier.metrics_1min"] == 2 * 6 * 60
    assert rows["tier.metrics_1hour"] == 2 * 6
    assert (runs["refresh_metrics_job"], runs["metrics_1hour_job"]) == (1, 1)
