"""Runs of a benchmark side by side, as a table of Markdown for docs/.

`python benchmarks/_table.py NAME=FILE ...`: each FILE holds the JSON lines that a run printed, NAME
heads its column. A row is a figure with what tells it from others of its name (phase, way, ...).
"""

import json
import sys
from pathlib import Path

RUN_WIDE = {
    *("servers", "interval_seconds", "seconds", "window_seconds", "faulty_share", "phase_seconds"),
}
"""Parameters of the run, which do not tell one figure from another."""

WHOLE_FROM = 1000
"""Figures from here on are shown without decimals, smaller ones with four digits."""


def row_name(line: dict[str, object]) -> str:
    """Figure and what tells it from others, with its unit."""
    params = line["params"]
    assert isinstance(params, dict)
    told = [str(value) for name, value in params.items() if name not in RUN_WIDE]
    return f"{line['figure']} ({', '.join([*told, str(line['unit'])])})"


def table(runs: dict[str, list[dict[str, object]]]) -> str:
    """Markdown; a figure that a run does not have is a dash."""
    rows: dict[str, dict[str, str]] = {}
    for run, lines in runs.items():
        for line in lines:
            value = line["value"]
            assert isinstance(value, int | float)
            text = f"{value:.4g}" if abs(value) < WHOLE_FROM else f"{value:.0f}"
            rows.setdefault(row_name(line), {})[run] = text
    head = ["Figure", *runs]
    body = [[name, *(cells.get(run, "-") for run in runs)] for name, cells in rows.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def main() -> int:
    """Print the table."""
    runs = {}
    for argument in sys.argv[1:]:
        name, _, path = argument.partition("=")
        if not path:
            print(__doc__, file=sys.stderr)
            return 2
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        runs[name] = [json.loads(line) for line in lines]
    print(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
