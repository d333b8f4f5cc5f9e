"""What an episode says to a person: its reason in words, and how urgent it is.

Belongs here: wording and the rule of severity. Pure: numbers in, text out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from resmon_assets.frames import WHOLE_SERVER
from resmon_resources.words import digits, in_byte_unit, in_unit

NAMES = {
    "cpu_pct": "CPU",
    "memory_used_bytes": "memory",
    "disk_used_bytes": "disk",
    "network_in_bytes_per_second": "network in",
    "network_out_bytes_per_second": "network out",
}
"""What a person calls a metric."""

WARNING_SCORE = 2 / 3
"""Twice as far from what is usual as where an alarm begins: scores are r / (1 + r)."""
CRITICAL_SCORE = 4 / 5
"""Four times as far."""

IDLE_CPU, BUSY_CPU, FULL_CPU = 50.0, 75.0, 90.0
"""A CPU below the first hurts nobody, whatever was usual; the others are the levels of
server_status: warning and critical."""


@dataclass(frozen=True, slots=True)
class Level:
    """One metric at the worst time step of an episode.

    Attributes:
        metric: one of `frames.METRICS`.
        value: in the unit of the metric.
        baseline: what is usual then; None when not known.
        low: lower end of the usual range; None when not known.
        high: upper end.
    """

    metric: str
    value: float
    baseline: float | None
    low: float | None
    high: float | None


def reason_of(level: Level, *, detector: str) -> str:
    """A metric in words: "CPU 91 %, usually 22-40 % at this hour"."""
    if detector == "ratio" and level.baseline is not None:
        return f"{_now(level)}, {_off(level.value, level.baseline, level.metric)}"
    usual = _usual(level)
    return f"{_now(level)}, {usual}" if usual else f"{_now(level)}, unlike before"


def reason_of_several(levels: Sequence[Level]) -> str:
    """Several metrics of a server in words, the one that says most first."""
    told = [f"{_now(one)} ({_usual(one) or 'unlike before'})" for one in levels]
    if not told:
        return "its metrics together are unlike before"
    if len(told) == 1:
        return f"mainly {told[0]}"
    return f"moved together: {', '.join(told[:-1])} and {told[-1]}"


def severity_of(
    score: float, *, metric: str, peak: float | None, baseline: float | None, is_quiet: bool
) -> str:
    """How urgent an episode is: info, warning or critical.

    By the score: below WARNING_SCORE info, from CRITICAL_SCORE on critical. A value that fell is at
    most a warning. A CPU that peaks below IDLE_CPU is info, below BUSY_CPU at most a warning; from
    FULL_CPU on it is a warning at least. Quiet ones are info.
    """
    rank = (score >= WARNING_SCORE) + (score >= CRITICAL_SCORE)
    if peak is not None and baseline is not None and peak < baseline:
        rank = min(rank, 1)
    elif metric == "cpu_pct" and peak is not None:
        if peak < IDLE_CPU:
            rank = 0
        elif peak < BUSY_CPU:
            rank = min(rank, 1)
        elif peak >= FULL_CPU:
            rank = max(rank, 1)
    return ("info", "warning", "critical")[0 if is_quiet else rank]


def change_percent(peak: float | None, baseline: float | None) -> float | None:
    """Change from the baseline to the peak in percent of it; None when it is 0 or not known."""
    if peak is None or baseline is None or baseline == 0:
        return None
    change = 100 * (peak - baseline) / abs(baseline)
    return change if math.isfinite(change) else None


def quantity(metric: str, value: float) -> str:
    """A value with its unit: "91 %", "8.12 GiB", "3.1 MiB/s"."""
    number, unit = _scaled(metric, value)
    return f"{digits(number)} {unit}"


def _now(level: Level) -> str:
    """What it is: "CPU 91 %"."""
    return f"{NAMES.get(level.metric, level.metric)} {quantity(level.metric, level.value)}"


def _usual(level: Level) -> str:
    """What is usual, if that can be said without contradicting the value."""
    low, high = level.low, level.high
    if low is not None and high is not None and not low <= level.value <= high:
        _, unit = _scaled(level.metric, max(abs(low), abs(high)))
        ends = [digits(_in_unit(level.metric, end, unit)) for end in (low, high)]
        told = ends[0] if ends[0] == ends[1] else "-".join(ends)
        return f"usually {told} {unit} at this hour"
    if level.baseline is not None:
        return f"usually about {quantity(level.metric, level.baseline)}"
    return ""


def _off(value: float, baseline: float, metric: str) -> str:
    """How far off the mean of the hour before."""
    change = change_percent(value, baseline)
    mean = quantity(metric, baseline)
    if change is None:
        return f"{mean} in the hour before"
    side = "above" if change > 0 else "below"
    return f"{digits(abs(change))} % {side} the mean of the hour before ({mean})"


def _scaled(metric: str, value: float) -> tuple[float, str]:
    """The value in a unit that a person reads, and that unit."""
    if metric == WHOLE_SERVER or metric.endswith("_pct"):
        return value, "%"
    number, unit = in_byte_unit(value)
    return number, f"{unit}/s" if metric.endswith("_per_second") else unit


def _in_unit(metric: str, value: float, unit: str) -> float:
    """The value in a unit that `_scaled` gave."""
    if metric.endswith("_pct"):
        return value
    return in_unit(value, unit.removesuffix("/s"))
