"""How good detection and forecasts are on real data, what was asked, and what a pass costs.

Run it with `make bench-analytics ARGS="--part detect"`; without --part all parts run. One JSON line
per figure on standard output; progress, the scorers' own tables and a table of all figures on
standard error. The data and the scorers are no part of Resmon: they are looked for in ../shared
(--shared). Results are measured with the product's commands and default settings, one setting for
all data sets; `params.asked` says what was asked of a figure and `params.is_reached` whether it is.

| Part | Measures |
|---|---|
| detect | `resmon detect` on nab, smd, asd; reference: the plain rule (seed); the kit's baselines |
| forecast | `resmon forecast` on daily, hourly; reference: SES (daily), SES with profile (hourly) |
| speed | a five-minute pass of 10,000 servers, the daily forecast of 50,000 series; memory |

The references of seconds are a fixed piece of work, measured in the same run: sorting ten million
numbers for a pass of the detectors, and fitting SES with statsmodels to every series for forecasts.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from _measuring import Figure, emit, say

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import atexit, os, pathlib
at_end = pathlib.Path(os.environ.pop("RESMON_BENCH_STATUS"))
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: at_end.write_text(status.read_text(encoding="ascii"), encoding="ascii"))
from resmon_cli.main import main
main()
"""
"""The command, which leaves its peak memory behind: that of a child, as the system tells it to the
parent, begins with the parent's."""

KIB_PER_MIB = 1024

DETECT_LEVELS = {"nab": "metric", "smd": "server", "asd": "server"}
FORECASTS = {"daily": ("7", "1d"), "hourly": ("168", "1h")}
RULES = ("seed", "never", "always")
METHODS = ("ses", "seed")
CUTS = ("nab", "asd")
"""Inputs of detection of which the kit has shortened copies, to see whether a verdict uses later
rows; of forecasts it has them all."""

SHARE_OF_SES = 0.97
"""Of the error of SES, that ours must not exceed."""

Scores = Mapping[str, Any]  # Any: the JSON of a scorer


@dataclass(frozen=True)
class Asked:
    """What a figure should be, from the issue that asked for it.

    Attributes:
        lowest: at least this, if there is a lower end.
        highest: at most this, if there is an upper end.
    """

    lowest: float | None = None
    highest: float | None = None

    def is_reached(self, value: float) -> bool:
        """Whether a figure is what it should be."""
        return (self.lowest is None or value >= self.lowest) and (
            self.highest is None or value <= self.highest
        )

    def __str__(self) -> str:
        """`>= 66`, `<= 0.15`, `0.76 to 0.84`."""
        if self.lowest is None:
            return f"<= {self.highest:.4g}"
        if self.highest is None:
            return f">= {self.lowest:.4g}"
        return f"{self.lowest:.4g} to {self.highest:.4g}"


@dataclass(frozen=True)
class Kit:
    """Where the scorers, the data and the inputs are, and how they are run.

    Attributes:
        scorers: folder of the kit's programs.
        data: folder of the data split.
        work: folder of inputs and results; not committed.
    """

    scorers: Path
    data: Path
    work: Path

    @property
    def truth(self) -> Path:
        """For the scorers only."""
        return self.work / "truth"

    def export(self) -> None:
        """Write the inputs of the commands from the data."""
        self.run("export_inputs.py", "--data", self.data, "--out", self.work)

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run one of the kit's programs; its standard output.

        Raises:
            SystemExit: it failed; with what it said.
        """
        command = [sys.executable, str(self.scorers / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            told = (done.stderr or done.stdout).strip()[-2000:]
            msg = f"{program} {' '.join(command[2:])} failed: {told}"
            raise SystemExit(msg)
        return done.stdout

    def score(self, program: str, *arguments: str | Path, truth: Path | None = None) -> Scores:
        """Run a scorer, show its table, and return the object in its last line."""
        *table, last = self.run(program, "--truth", truth or self.truth, *arguments).splitlines()
        if truth is None:
            say("\n".join(table))
        scores: Scores = json.loads(last)
        return scores


@dataclass(frozen=True)
class Ran:
    """What a command took.

    Attributes:
        output: what it wrote.
        seconds: wall time from start to end of the process.
        peak_mib: highest resident memory.
    """

    output: Path
    seconds: float
    peak_mib: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["detect", "forecast", "speed"], action="append")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="kit and data")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "eval", help="for results")
    parser.add_argument("--reuse", action="store_true", help="inputs that an earlier run exported")
    parser.add_argument("--data-set", choices=[*DETECT_LEVELS, *FORECASTS], action="append")
    parser.add_argument("--no-baselines", action="store_true", help="without the kit's references")
    parser.add_argument("--servers", type=int, default=10_000, help="of part speed; 5 series each")
    parser.add_argument("--warm-up", type=int, default=384, help="hours before the measured one")
    options = parser.parse_args()
    parts = options.part or ["detect", "forecast", "speed"]
    if not options.part and not (options.shared / "eval").is_dir():
        say(f"No data to score with in {options.shared} (--shared): part speed alone.")
        parts = ["speed"]
    names = options.data_set or [*DETECT_LEVELS, *FORECASTS]
    figures: list[Figure] = []
    if {"detect", "forecast"} & set(parts):
        kit = _kit(options.shared, options.work, may_reuse=options.reuse)
        measures: dict[str, Callable[[Kit, str, bool], Iterator[Figure]]] = {
            "detect": detect_figures,
            "forecast": forecast_figures,
        }
        for part, known in (("detect", DETECT_LEVELS), ("forecast", FORECASTS)):
            for name in [n for n in names if n in known and part in parts]:
                for figure in measures[part](kit, name, not options.no_baselines):
                    emit("analytics", figure)
                    figures.append(figure)
    if "speed" in parts:
        # Not at the top: what this process holds would count as memory of the commands it starts.
        from _analytics_speed import speed_figures  # noqa: PLC0415

        for figure in speed_figures(options.servers, options.warm_up):
            judged = _judged(figure, SPEED_ASKED.get(figure.name))
            emit("analytics", judged)
            figures.append(judged)
    say(table_of(figures))


SPEED_ASKED = {
    "detect_pass_seconds": Asked(highest=15.0),
    "daily_forecast_seconds": Asked(highest=600.0),
    "daily_forecast_peak_rss_mib": Asked(highest=2048.0),
}

DETECT_ASKED: Mapping[str, Mapping[str, Asked]] = {
    "nab": {
        "score": Asked(lowest=66.0),
        "windows_hit": Asked(lowest=14),
        "false_rows_per_server_day": Asked(highest=0.15),
    },
    "smd": {
        "best_f1_mean": Asked(lowest=0.52),
        "f1_hours_gain": Asked(lowest=0.15),
        "false_alarm_hours_per_server_day": Asked(highest=1.0),
    },
    "asd": {
        "best_f1_mean": Asked(lowest=0.48),
        "f1_hours_gain": Asked(lowest=0.30),
        "false_alarm_hours_per_server_day": Asked(highest=1.0),
    },
}
FURTHER = {
    "nab": ("false_rows",),
    "smd": ("auprc_mean", "segments_hit", "precision_hours", "f1_hours"),
    "asd": ("auprc_mean", "segments_hit", "precision_hours", "f1_hours"),
    "daily": ("mase_median", "smape", "width_80", "width_95", "rows_with_disordered_bands"),
    "hourly": ("mase_median", "smape", "width_80", "width_95", "rows_with_disordered_bands"),
}
"""Figures of the scorers of which nothing was asked."""

FILES_OUT_WITHIN = 5.0
"""Points that the NAB score may differ by when one file is left out."""


def detect_figures(kit: Kit, name: str, with_baselines: bool) -> Iterator[Figure]:  # noqa: FBT001
    """Scores of the detector on one data set, what it took, and the baselines."""
    level = DETECT_LEVELS[name]
    options = ("--level", level)
    source = kit.work / f"{name}.parquet"
    ran = _resmon(kit, "detect", source, *options)
    scores = kit.score("score_detect.py", f"--{name}", ran.output)[name]
    baselines: dict[str, Scores] = {}
    for rule in RULES if with_baselines else ():
        say(f"Baseline {rule} on {name}:")
        output = kit.work / "baselines" / f"{name}_{rule}.parquet"
        arguments = (source, "--output", output, *options, "--rule", rule)
        kit.run("baselines.py", "detect", *arguments)
        baselines[rule] = kit.score("score_detect.py", f"--{name}", output)[name]
    yield from _scored(name, scores, DETECT_ASKED[name], baselines, reference="seed")
    yield from _took(name, ran)
    if name == "nab":
        yield from _left_out(kit, ran.output, scores["score"])
    if name in CUTS:
        yield _causal(kit, name, source, ran.output, "detect", *options)


def forecast_figures(kit: Kit, name: str, with_baselines: bool) -> Iterator[Figure]:  # noqa: FBT001
    """Scores of the forecasts of one data set, what they took, and the baselines."""
    horizon, step = FORECASTS[name]
    options = ("--horizon", horizon, "--step", step)
    source = kit.work / f"forecast_{name}.parquet"
    ran = _resmon(kit, "forecast", source, *options)
    scores = kit.score("score_forecast.py", f"--{name}", ran.output)[name]
    baselines: dict[str, Scores] = {}
    for method in METHODS if with_baselines else ():
        say(f"Baseline {method} on {name}:")
        output = kit.work / "baselines" / f"forecast_{name}_{method}.parquet"
        kit.run(
            "baselines.py", "forecast", source, "--output", output, *options, "--method", method
        )
        baselines[method] = kit.score("score_forecast.py", f"--{name}", output)[name]
    asked = {
        "beats_seed": Asked(lowest=0.70 if name == "daily" else 0.76),
        "coverage_80": Asked(lowest=0.76, highest=0.84),
        "coverage_95": Asked(lowest=0.92, highest=0.98),
    }
    ses = baselines.get("ses")
    if ses is not None:
        asked |= {
            "mase_mean": Asked(highest=SHARE_OF_SES * ses["mase_mean"]),
            "interval_score_80": Asked(highest=ses["interval_score_80"]),
            "interval_score_95": Asked(highest=ses["interval_score_95"]),
        }
    yield from _scored(name, scores, asked, baselines, reference="ses")
    yield from _took(name, ran)
    yield _causal(kit, name, source, ran.output, "forecast", *options)


def table_of(figures: Sequence[Figure]) -> str:
    """All figures as a table for reading."""
    heads = ("data", "method", "figure", "value", "reference", "asked", "reached")
    rows = [
        (
            str(f.params.get("data", "")),
            str(f.params.get("method", "resmon")),
            f.name,
            f"{f.value:,.3f} {f.unit}".strip(),
            "" if f.reference is None else f"{f.reference:,.3f}",
            str(f.params.get("asked", "")),
            {True: "yes", False: "NO"}.get(f.params.get("is_reached"), ""),
        )
        for f in figures
    ]
    widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *rows]
    ]
    judged = [f for f in figures if "is_reached" in f.params]
    reached = sum(bool(f.params["is_reached"]) for f in judged)
    return "\n".join([*lines, f"{reached} of {len(judged)} figures are what was asked."])


def _kit(shared: Path, work: Path, *, may_reuse: bool) -> Kit:
    """The kit, with its inputs exported.

    Raises:
        SystemExit: it is not there; says where it was looked for.
    """
    kit = Kit(shared / "eval", shared / "data", work)
    for folder in (kit.scorers, kit.data):
        if not folder.is_dir():
            msg = (
                f"There is no folder {folder}: the scoring kit and its data are no part of Resmon. "
                "Say where they are with --shared, or measure --part speed alone."
            )
            raise SystemExit(msg)
    (work / "baselines").mkdir(parents=True, exist_ok=True)
    (work / "cut_out").mkdir(exist_ok=True)
    if not (may_reuse and (kit.truth / "forecast_hourly.parquet").exists()):
        say(f"Exporting the inputs to {work} ...")
        kit.export()
    return kit


def _resmon(kit: Kit, command: str, source: Path, *options: str, folder: str = "") -> Ran:
    """Run a command of the product in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    output = kit.work / folder / f"{source.stem}_out.parquet"
    say(f"resmon {command} {source} {' '.join(options)} --output {output}")
    arguments = [sys.executable, "-c", PROGRAM, command, str(source), *options]
    # Without the variables of a database: the commands must not need one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RESMON_", "DAGSTER_"))}
    status = kit.work / "status.txt"
    environment["RESMON_BENCH_STATUS"] = str(status)
    begun = time.perf_counter()
    done = subprocess.run([*arguments, "--output", str(output)], env=environment, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        msg = f"resmon {command} {source} ended with status {done.returncode}; see above."
        raise SystemExit(msg)
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return Ran(output, seconds, int(peak.split()[1]) / KIB_PER_MIB)


def _scored(
    name: str,
    scores: Scores,
    asked: Mapping[str, Asked],
    baselines: Mapping[str, Scores],
    *,
    reference: str,
) -> Iterator[Figure]:
    """A scorer's figures of the product, and then of each baseline."""
    against = baselines.get(reference, {})
    for key in (*asked, *FURTHER[name]):
        if scores[key] is not None:
            figure = Figure(key, scores[key], "", {"data": name}, against.get(key))
            yield _judged(figure, asked.get(key))
    for method, theirs in baselines.items():
        for key in asked:
            if theirs[key] is not None:
                yield Figure(key, theirs[key], "", {"data": name, "method": method})


def _took(name: str, ran: Ran) -> Iterator[Figure]:
    """Seconds and memory of a command."""
    yield Figure("command_seconds", ran.seconds, "s", {"data": name})
    yield Figure("command_peak_rss_mib", ran.peak_mib, "MiB", {"data": name})


def _judged(figure: Figure, asked: Asked | None) -> Figure:
    """The figure with what was asked of it."""
    if asked is None:
        return figure
    judged = {"asked": str(asked), "is_reached": asked.is_reached(figure.value)}
    return Figure(
        figure.name, figure.value, figure.unit, {**figure.params, **judged}, figure.reference
    )


def _left_out(kit: Kit, output: Path, score: float) -> Iterator[Figure]:
    """The NAB score without each of the files: lowest, highest, and how far from the whole."""
    truth, out = pl.read_parquet(kit.truth / "nab.parquet"), pl.read_parquet(output)
    folder = kit.work / "left_out"
    folder.mkdir(exist_ok=True)
    found = []
    for series in truth["series"].unique(maintain_order=True):
        truth.filter(pl.col("series") != series).write_parquet(folder / "nab.parquet")
        out.filter(pl.col("series") != series).write_parquet(folder / "nab_out.parquet")
        arguments = ("--nab", folder / "nab_out.parquet")
        found.append(kit.score("score_detect.py", *arguments, truth=folder)["nab"]["score"])
    params = {"data": "nab", "files": len(found)}
    yield Figure("score_lowest_without_one_file", min(found), "", params, score)
    yield Figure("score_highest_without_one_file", max(found), "", params, score)
    for side, change in (("fall", score - min(found)), ("rise", max(found) - score)):
        figure = Figure(f"score_{side}_without_one_file", max(0.0, change), "", params)
        yield _judged(figure, Asked(highest=FILES_OUT_WITHIN))


def _causal(kit: Kit, name: str, source: Path, full: Path, command: str, *options: str) -> Figure:
    """Rows of the shortened copy whose result differs from that of the whole file."""
    cut = _resmon(kit, command, kit.work / "cut" / source.name, *options, folder="cut_out")
    program = [sys.executable, str(kit.scorers / "check_causal.py")]
    files = ["--full", str(full), "--cut", str(cut.output)]
    done = subprocess.run([*program, *files], capture_output=True, text=True, check=False)
    say(f"check_causal {name}: {done.stdout.strip() or done.stderr.strip()}")
    compared = re.match(r"(\d+) rows compared, (\d+) differ", done.stdout)
    if compared is None:
        msg = f"check_causal.py on {name} failed: {done.stderr.strip()[-2000:]}"
        raise SystemExit(msg)
    rows, differ = (int(number) for number in compared.groups())
    figure = Figure("rows_not_causal", differ, "rows", {"data": name, "rows": rows})
    return _judged(figure, Asked(highest=0))


if __name__ == "__main__":
    main()
