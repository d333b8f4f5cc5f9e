"""`benchmarks/_table.py`: figures of several runs side by side."""

import json
import subprocess
import sys

from resmon_resources.settings import PROJECT_ROOT

SCRIPT = str(PROJECT_ROOT / "benchmarks" / "_table.py")


def line_of(figure, value, **params):
    params = {"servers": 10} | params
    line = {"benchmark": "b", "figure": figure, "params": params, "value": value, "unit": "s"}
    return json.dumps(line | {"reference": None})


def test_figures_of_one_name_stay_apart_and_missing_ones_are_dashes(tmp_path):
    """Would let back: a table of docs/ in which one phase's figure stands for another's."""
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(f"{line_of('cpu', 1.5, phase='all')}\n{line_of('cpu', 0.5, phase='steady')}\n")
    two.write_text(f"{line_of('cpu', 2, phase='all', servers=20)}\n{line_of('rows', 123456)}\n")
    done = subprocess.run(
        [sys.executable, SCRIPT, f"10={one}", f"20={two}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "| Figure | 10 | 20 |",
        "| --- | --- | --- |",
        "| cpu (all, s) | 1.5 | 2 |",
        "| cpu (steady, s) | 0.5 | - |",
        "| rows (s) | - | 123456 |",
    ]


def test_an_argument_without_a_name_is_told_how_to_call_it():
    """Would let back: a traceback where a line of help does."""
    done = subprocess.run([sys.executable, SCRIPT, "run.json"], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"NAME=FILE" in done.stderr
