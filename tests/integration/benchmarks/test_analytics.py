"""`benchmarks/analytics.py`: figures beside what was asked, and a clear word without the data."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from resmon_resources.settings import PROJECT_ROOT

pytestmark = pytest.mark.integration

SCRIPT = str(PROJECT_ROOT / "benchmarks" / "analytics.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark with these arguments."""
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def figures_of(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Lines by name and method."""
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["benchmark"] for line in lines} == {"analytics"}
    return {(line["figure"], line["params"].get("method", "resmon")): line for line in lines}


def test_speed_prints_its_figures() -> None:
    """Would let back: a benchmark that fails, or measures nothing, once it is wanted."""
    done = run("--part", "speed", "--servers", "20", "--warm-up", "24")
    found = figures_of(done)
    pass_of_12 = found["detect_pass_seconds", "resmon"]
    assert pass_of_12["value"] > 0
    assert pass_of_12["reference"] > 0
    assert pass_of_12["params"]["is_reached"] is True
    assert found["detector_state_bytes_per_series", "resmon"]["value"] > 10
    assert found["daily_forecast_seconds", "resmon"]["params"]["selected"] == 100 // 7
    assert found["daily_forecast_peak_rss_mib", "resmon"]["value"] > 50
    assert "figures are what was asked." in done.stderr


def test_without_the_data_it_says_where_it_looked(tmp_path: Path) -> None:
    """Would let back: a stack trace on a machine without the data sets."""
    done = run("--part", "forecast", "--shared", str(tmp_path), "--work", str(tmp_path / "work"))
    assert done.returncode == 1
    assert f"There is no folder {tmp_path / 'eval'}" in done.stderr
    assert "--shared" in done.stderr
    assert not (tmp_path / "work").exists()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A kit of a few lines with the form of the real one; its SES has a MASE of 2, ours has 1."""
    programs = {
        "export_inputs.py": """
            import polars as pl
            out = pathlib.Path(argument("--out"))
            days = [f"2026-03-{day:02}" for day in range(1, 21)]
            values = [float(day % 3) for day in range(20)]
            rows = pl.DataFrame({"series": "a", "timestamp": days, "value": values})
            for folder in (out, out / "cut", out / "truth"):
                folder.mkdir(exist_ok=True)
                rows.write_parquet(folder / "forecast_daily.parquet")
        """,
        "baselines.py": 'pathlib.Path(argument("--output")).write_text(argument("--method"))',
        "score_forecast.py": """
            names = ("mase_mean mase_median smape coverage_80 coverage_95 width_80 width_95 "
                     "beats_seed interval_score_80 interval_score_95 rows_with_disordered_bands")
            value = 2.0 if "baselines" in argument("--daily") else 1.0
            print("a table")
            print(json.dumps({"daily": dict.fromkeys(names.split(), value)}))
        """,
        "check_causal.py": """
            import polars as pl
            rows = pl.read_parquet(argument("--cut")).height
            print(f"{rows} rows compared, 0 differ")
        """,
    }
    head = "import json, pathlib, sys\nargument = lambda name: sys.argv[sys.argv.index(name) + 1]\n"
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / "eval").mkdir()
    for name, text in programs.items():
        (tmp_path / "shared" / "eval" / name).write_text(head + dedent(text))
    return tmp_path / "shared"


def test_forecasts_are_scored_beside_the_baselines(shared: Path, tmp_path: Path) -> None:
    """Would let back: a scorer whose figures go to nobody, or a target that can not be missed."""
    done = run(
        *("--part", "forecast", "--data-set", "daily", "--shared", str(shared)),
        *("--work", str(tmp_path / "work")),
    )
    found = figures_of(done)
    mase = found["mase_mean", "resmon"]
    assert (mase["value"], mase["reference"]) == (1.0, 2.0)
    assert (mase["params"]["asked"], mase["params"]["is_reached"]) == ("<= 1.94", True)
    coverage = found["coverage_80", "resmon"]["params"]
    assert (coverage["asked"], coverage["is_reached"]) == ("0.76 to 0.84", False)
    assert found["mase_mean", "seed"]["value"] == 2.0
    assert found["rows_not_causal", "resmon"]["params"]["rows"] == 7
    assert found["command_peak_rss_mib", "resmon"]["value"] > 50
    assert "a table" in done.stderr
    assert "NO" in done.stderr
