"""Two readings -> one sample: nothing false, however the counters jump."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_assets.raw.difference import (
    clock_skew_seconds,
    elapsed_ms,
    is_reboot,
    sample_between,
    status_of,
)
from resmon_resources.probe.reading import CpuCounters, Interface, Reading
from resmon_resources.sample_store import Sample

AT = datetime(2026, 7, 1, 12, 0, 7, 123000, tzinfo=UTC)
IDLE = CpuCounters(1000, 0, 500, 8000, 100, 10, 20, 30, 5, 0)


def reading(**changes: object) -> Reading:
    """A reading ten minutes after boot."""
    plain = Reading(
        tick=1,
        boot_id="boot-one",
        uptime_ms=600_000,
        cpu=IDLE,
        cpu_count=2,
        load_1m=0.5,
        load_5m=0.25,
        load_15m=0.0,
        memory_total_bytes=1000,
        memory_available_bytes=400,
        interfaces=(Interface("eth0", 10_000, 500),),
        file_systems=(),
        disk_used_bytes=70,
        disk_total_bytes=100,
        disk_reason=None,
        mounts_asked=1,
        clock_epoch_seconds=1000.25,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def later(*, ms: int = 30_000, **changes: object) -> Reading:
    """The reading half a minute later."""
    cpu = replace(IDLE, user=IDLE.user + 150, idle=IDLE.idle + 5_850)
    return reading(**{"uptime_ms": 600_000 + ms, "cpu": cpu, **changes})


def sample(previous: Reading | None, current: Reading) -> Sample:
    return sample_between(
        previous, current, server_id=7, organization_id=3, collected_at=AT, clock_skew_seconds=-0.5
    )


def network(previous: Reading, current: Reading) -> tuple[int | None, int | None]:
    result = sample(previous, current)
    return result.network_in_bytes, result.network_out_bytes


def test_a_sample_has_every_field():
    """Would let a column be filled from the wrong field."""
    current = later(interfaces=(Interface("eth0", 13_000, 900),))
    assert sample(reading(), current) == Sample(
        server_id=7,
        organization_id=3,
        collected_at=AT,
        cpu_pct=2.5,  # 150 of 6,000 jiffies
        cpu_count=2,
        memory_used_bytes=600,
        memory_total_bytes=1000,
        disk_used_bytes=70,
        disk_total_bytes=100,
        network_in_bytes=3_000,
        network_out_bytes=400,
        elapsed_ms=30_000,
        load_1m=0.5,
        load_5m=0.25,
        load_15m=0.0,
        uptime_seconds=630,
        clock_skew_seconds=-0.5,
    )


def test_the_first_reading_gives_gauges_only():
    """Would store the counters since boot as the traffic of 30 seconds."""
    first = sample(None, reading())
    assert (first.cpu_pct, first.network_in_bytes, first.elapsed_ms) == (None, None, None)
    assert (first.memory_used_bytes, first.load_15m, first.uptime_seconds) == (600, 0.0, 600)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ({"idle": 100}, 0.0),
        ({"iowait": 100}, 0.0),
        ({"user": 100}, 100.0),
        ({"user": 25, "idle": 75}, 25.0),
        ({"system": 10, "irq": 10, "softirq": 10, "nice": 10, "idle": 60}, 40.0),
        ({"steal": 50, "idle": 50}, 50.0),
        # Guest time is in user already: 50 busy of 100, not 100 of 150.
        ({"user": 50, "guest": 50, "idle": 50}, 50.0),
        ({"nice": 50, "guest_nice": 50, "idle": 50}, 50.0),
        # iowait steps back, a core goes offline: the step is dropped.
        ({"user": 50, "idle": 50, "iowait": -90}, 50.0),
        ({"user": -900, "idle": 100}, 0.0),
        ({}, None),
        ({"guest": 10}, None),
        ({"idle": -5, "user": -5}, None),
    ],
)
def test_cpu(steps: dict[str, int], expected: float | None):
    """Would count waiting or guests as busy, twice, or below zero. Shares worked by hand."""
    cpu = replace(IDLE, **{name: getattr(IDLE, name) + step for name, step in steps.items()})
    assert sample(reading(), later(cpu=cpu)).cpu_pct == expected


@pytest.mark.parametrize("side", ["previous", "current"])
@pytest.mark.parametrize(
    ("missing", "fields"),
    [
        ("cpu", ["cpu_pct"]),
        ("interfaces", ["network_in_bytes", "network_out_bytes"]),
        ("uptime_ms", ["cpu_pct", "network_in_bytes", "network_out_bytes", "elapsed_ms"]),
    ],
)
def test_a_missing_part_blanks_only_what_needs_it(missing: str, fields: list[str], side: str):
    """Would turn a gap into 0, or a gap in one metric into a lost sample."""
    before, after = reading(), later()
    if side == "previous":
        before = replace(before, **{missing: None})  # type: ignore[arg-type]
    else:
        after = replace(after, **{missing: None})  # type: ignore[arg-type]
    result = sample(before, after)
    expected = [
        *fields,
        *(["uptime_seconds"] if (missing, side) == ("uptime_ms", "current") else []),
    ]
    assert {name for name in Sample.__slots__ if getattr(result, name) is None} == set(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"boot_id": "boot-two"}, True),
        ({"uptime_ms": 5_000}, True),
        ({"boot_id": "boot-two", "uptime_ms": 5_000}, True),
        ({"boot_id": None}, False),
        ({"boot_id": None, "uptime_ms": 5_000}, True),
        ({"uptime_ms": None}, False),
        ({"boot_id": "boot-two", "uptime_ms": None}, True),
    ],
)
def test_reboot(changes: dict[str, Any], *, expected: bool):  # Any: fields of a Reading
    """Would take counters that started anew for a huge or negative step."""
    current = later(**changes)
    assert is_reboot(reading(), current) is expected
    if expected:
        result = sample(reading(), current)
        assert (result.cpu_pct, result.network_in_bytes, result.elapsed_ms) == (None, None, None)
        assert result.memory_used_bytes == 600


@pytest.mark.parametrize(
    ("ms", "is_measured"), [(0, False), (490, False), (500, True), (990, True)]
)
def test_readings_too_close_together(ms: int, *, is_measured: bool):
    """Would store the noise of a few jiffies as 100 % CPU."""
    result = sample(reading(), later(ms=ms))
    assert (result.cpu_pct is not None, result.network_in_bytes is not None) == (is_measured,) * 2
    assert result.elapsed_ms == ms


def test_an_elapsed_time_beyond_the_column_is_not_stored():
    """Would fail the insert of the whole batch."""
    assert elapsed_ms(reading(), later(ms=2**31)) is None
    assert elapsed_ms(reading(), later(ms=2**31 - 1)) == 2**31 - 1


def test_interfaces_are_summed_over_those_in_both():
    """Would count what a new interface carried before we saw it."""
    before = reading(interfaces=(Interface("a", 100, 10), Interface("gone", 5, 5)))
    after = later(interfaces=(Interface("new", 999, 999), Interface("a", 150, 30)))
    assert network(before, after) == (50, 20)
    assert network(reading(interfaces=()), after) == (None, None)
    assert network(reading(interfaces=(Interface("gone", 5, 5),)), after) == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # 32 bits wrap: 2^32 - 4,000,000,000 + 5,000,000 = 299,967,296.
        ((4_000_000_000, 1_000), (5_000_000, 1_500), (299_967_296, 500)),
        ((1_000, 4_000_000_000), (1_500, 5_000_000), (500, 299_967_296)),
        # Both went back: the interface was made anew.
        ((4_000_000_000, 3_000_000_000), (5_000_000, 10), (None, None)),
        ((4_000_000_000, 1_000), (5_000_000, 10), (None, None)),
        # Low in 32 bits, or its fellow never counted: a reset, not a wrap.
        ((1_000_000, 1_000), (10, 1_500), (None, None)),
        ((4_000_000_000, 0), (5_000_000, 0), (None, None)),
        # Beyond 32 bits nothing wraps.
        ((2**32, 1_000), (10, 1_500), (None, None)),
        ((2**40, 1_000), (10, 1_500), (None, None)),
        # More than 1 Tbit/s over 30 s.
        ((0, 0), (3_750_000_000_001, 1), (None, None)),
        ((0, 0), (3_750_000_000_000, 1), (3_750_000_000_000, 1)),
    ],
)
def test_a_counter_that_jumps(
    old: tuple[int, int], new: tuple[int, int], expected: tuple[int | None, int | None]
):
    """Would store gigabytes that nobody sent after a reset, or lose them at a wrap."""
    before = reading(interfaces=(Interface("a", *old), Interface("b", 0, 0)))
    after = later(interfaces=(Interface("a", *new), Interface("b", 0, 0)))
    assert network(before, after) == expected


def test_a_wrap_faster_than_its_hardware_is_a_reset():
    """Would believe 2 GB in half a second from a card that counts in 32 bits."""
    before = reading(interfaces=(Interface("a", 2_200_000_000, 10),))
    assert network(before, later(ms=500, interfaces=(Interface("a", 5, 10),))) == (None, None)
    assert network(before, later(ms=2_000, interfaces=(Interface("a", 5, 10),))) == (
        2_094_967_301,
        0,
    )


def test_clock_skew_is_the_servers_clock_minus_ours():
    """Would turn the sign round."""
    assert clock_skew_seconds(reading(), 1000.0) == 0.25
    assert clock_skew_seconds(reading(), 4600.0) == -3599.75
    assert clock_skew_seconds(reading(clock_epoch_seconds=None), 1.0) is None


@pytest.mark.parametrize(
    ("cpu", "memory", "disk", "expected"),
    [
        (None, None, None, "healthy"),
        (74.99, 74, 84, "healthy"),
        (75.0, 0, 0, "warning"),
        (0.0, 75, 0, "warning"),
        (0.0, 0, 85, "warning"),
        (89.99, 89, 89, "warning"),
        (90.0, 0, 0, "critical"),
        (0.0, 90, 0, "critical"),
        (0.0, 0, 90, "critical"),
        (None, None, 90, "critical"),
        (None, 80, None, "warning"),
    ],
)
def test_status(cpu: float | None, memory: int | None, disk: int | None, expected: str):
    """Would shift a threshold by one, or raise an alarm for what was not measured."""
    values = Sample(7, 3, AT, cpu_pct=cpu, memory_used_bytes=memory, memory_total_bytes=100,
                    disk_used_bytes=disk, disk_total_bytes=100)  # fmt: skip
    assert status_of(values) == expected
    assert status_of(
        replace(values, memory_total_bytes=None, disk_total_bytes=0, cpu_pct=None)
    ) == ("healthy")


counters = st.integers(0, 2**63 - 1)
cpus = st.none() | st.builds(CpuCounters, *[counters] * 10)
interfaces = st.none() | st.lists(
    st.builds(Interface, st.sampled_from("abc"), counters, counters), max_size=3
).map(tuple)


@given(
    cpu_before=cpus,
    cpu_after=cpus,
    before=interfaces,
    after=interfaces,
    uptime_before=st.integers(0, 2**31),
    uptime_after=st.integers(0, 2**31),
)
def test_no_counters_whatever_give_an_impossible_sample(
    *,
    cpu_before: CpuCounters | None,
    cpu_after: CpuCounters | None,
    before: tuple[Interface, ...] | None,
    after: tuple[Interface, ...] | None,
    uptime_before: int,
    uptime_after: int,
):
    """Would fail an insert by overflow, or draw a share above 100 %."""
    result = sample(
        reading(cpu=cpu_before, interfaces=before, uptime_ms=uptime_before),
        reading(cpu=cpu_after, interfaces=after, uptime_ms=uptime_after),
    )
    assert result.cpu_pct is None or 0 <= result.cpu_pct <= 100
    for value in (result.network_in_bytes, result.network_out_bytes):
        assert value is None or 0 <= value < 2**63
    assert result.elapsed_ms is None or 0 <= result.elapsed_ms < 2**31
