"""Reasons in words, units for a person, and how urgent an episode is."""

import pytest

from resmon_assets.anomaly.words import (
    Level,
    change_percent,
    quantity,
    reason_of,
    reason_of_several,
    severity_of,
)

GIB, MIB = 2.0**30, 2.0**20


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("cpu_pct", 91.04, "91 %"),
        ("cpu_pct", 0.0, "0 %"),
        ("cpu_pct", 100.0, "100 %"),
        ("memory_used_bytes", 8.123 * GIB, "8.12 GiB"),
        ("memory_used_bytes", 812.3 * GIB, "812 GiB"),
        ("disk_used_bytes", 999.0, "999 B"),
        ("network_in_bytes_per_second", 3.1 * MIB, "3.1 MiB/s"),
        ("network_out_bytes_per_second", 1023.0, "1023 B/s"),
    ],
)
def test_a_quantity_has_three_digits_and_a_unit(metric, value, text):
    """Would let back: 8722346987.52 in an alarm at night."""
    assert quantity(metric, value) == text


@pytest.mark.parametrize(
    ("level", "text"),
    [
        (Level("cpu_pct", 91.0, 30.0, 22.0, 40.0), "CPU 91 %, usually 22-40 % at this hour"),
        (
            Level("memory_used_bytes", 14.2 * GIB, 8.5 * GIB, 8.1 * GIB, 9.0 * GIB),
            "memory 14.2 GiB, usually 8.1-9 GiB at this hour",
        ),
        # Low and high in the unit of the higher end.
        (
            Level("network_in_bytes_per_second", 50 * MIB, MIB, 0.0, 2 * MIB),
            "network in 50 MiB/s, usually 0-2 MiB/s at this hour",
        ),
        (
            Level("disk_used_bytes", 5 * GIB, GIB, GIB, GIB),
            "disk 5 GiB, usually 1 GiB at this hour",
        ),
        # A range that holds the value would contradict the alarm.
        (Level("cpu_pct", 35.0, 30.0, 22.0, 40.0), "CPU 35 %, usually about 30 %"),
        (Level("cpu_pct", 35.0, 30.0, None, None), "CPU 35 %, usually about 30 %"),
        (Level("cpu_pct", 35.0, None, None, None), "CPU 35 %, unlike before"),
    ],
)
def test_a_reason_says_what_is_and_what_is_usual(level, text):
    """Would let back: a reason that contradicts its alarm, or has no figure to compare with."""
    assert reason_of(level, detector="default") == text


def test_the_plain_rule_says_how_far_it_is_off():
    """Would let back: "usually" for a mean of one hour, which is nothing usual."""
    level = Level("cpu_pct", 80.0, 20.0, 10.0, 30.0)
    text = "CPU 80 %, 300 % above the mean of the hour before (20 %)"
    assert reason_of(level, detector="ratio") == text
    idle = Level("cpu_pct", 80.0, 0.0, 0.0, 0.0)
    assert reason_of(idle, detector="ratio") == "CPU 80 %, 0 % in the hour before"


def test_a_server_names_the_metrics_that_moved():
    """Would let back: "anomaly on web-1" without a word on what to look at."""
    cpu = Level("cpu_pct", 91.0, 30.0, 22.0, 40.0)
    memory = Level("memory_used_bytes", 14.0 * GIB, None, None, None)
    told = "CPU 91 % (usually 22-40 % at this hour)"
    assert reason_of_several([cpu]) == f"mainly {told}"
    assert reason_of_several([cpu, memory]) == (
        f"moved together: {told} and memory 14 GiB (unlike before)"
    )
    assert reason_of_several([]) == "its metrics together are unlike before"


@pytest.mark.parametrize(
    ("score", "metric", "peak", "baseline", "severity"),
    [
        (0.55, "memory_used_bytes", 9.0, 5.0, "info"),
        (0.70, "memory_used_bytes", 9.0, 5.0, "warning"),
        (0.85, "memory_used_bytes", 9.0, 5.0, "critical"),
        (0.99, "memory_used_bytes", 1.0, 5.0, "warning"),
        (0.99, "cpu_pct", 49.0, 2.0, "info"),
        (0.99, "cpu_pct", 74.0, 2.0, "warning"),
        (0.99, "cpu_pct", 89.0, 2.0, "critical"),
        (0.55, "cpu_pct", 90.0, 60.0, "warning"),
        (0.55, "cpu_pct", 89.0, 60.0, "info"),
        (0.85, "*", None, None, "critical"),
    ],
)
def test_severity(score, metric, peak, baseline, severity):
    """Would let back: somebody woken because an idle server went from 2 to 12 %."""
    given = {"metric": metric, "peak": peak, "baseline": baseline}
    assert severity_of(score, **given, is_quiet=False) == severity
    assert severity_of(score, **given, is_quiet=True) == "info"


def test_change_is_null_without_a_baseline():
    """Would let back: an infinite change in the table, which no JSON can hold."""
    assert change_percent(30.0, 20.0) == 50.0
    assert change_percent(10.0, 20.0) == -50.0
    assert change_percent(10.0, 0.0) is None
    assert change_percent(None, 20.0) is None
