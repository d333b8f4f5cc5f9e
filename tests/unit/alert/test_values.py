"""What samples, failures and file systems mean to rules, by tables of cases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resmon_assets import alert_values as values
from resmon_assets.alert_values import Seen
from resmon_resources.alert_records import Level, Observation, Rule, Subject
from resmon_resources.sample_store import Failure, FileSystemUsage, Sample

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
GIB = 2**30
TIB = 2**40
WEB = Subject("server:12", "web-1", 12, 3)
DISK = Rule(
    name="disk_high",
    direction="above",
    levels=(Level("warning", 85.0, 83.0), Level("critical", 95.0, 93.0)),
    for_seconds=300,
    keep_seconds=300,
    options={"minimum_free_bytes": TIB},
)


def a_sample(**fields: Any) -> Sample:
    return replace(Sample(12, 3, AT), **fields)


@pytest.mark.parametrize(
    ("cpu", "expected"), [(None, None), (0.0, 0.0), (91.5, 91.5), (float("nan"), None)]
)
def test_what_is_not_measured_is_no_value(cpu: float | None, expected: float | None) -> None:
    """Would let back: an alert that ends, or begins, because nothing was measured."""
    assert values.cpu_pct(a_sample(cpu_pct=cpu)) == expected


def test_shares_are_of_what_there_is() -> None:
    """Would let back: a division by a size that is not known, or by none."""
    assert values.memory_pct(a_sample(memory_used_bytes=3, memory_total_bytes=4)) == 75.0
    assert values.memory_pct(a_sample(memory_used_bytes=3)) is None
    assert values.disk_pct(a_sample(disk_used_bytes=0, disk_total_bytes=0)) is None


def test_a_file_system_is_as_full_as_df_says() -> None:
    """Would let back: 95 % of a disk on which an ordinary user can write nothing any more."""
    usage = FileSystemUsage(12, 3, AT, "/", "/dev/sda1", None, 100, 95, 0)
    assert values.file_system_pct(usage) == 100.0
    assert values.file_system_pct(replace(usage, available_bytes=None)) is None
    assert values.file_system_pct(replace(usage, used_bytes=None)) is None


@pytest.mark.parametrize(
    ("pct", "free", "expected"),
    [
        (93.0, 98 * TIB, 83.0),
        (93.0, TIB, 83.0),
        (93.0, TIB - 1, 93.0),
        (99.0, None, 99.0),
        (50.0, 98 * TIB, 50.0),
        (None, 98 * TIB, None),
    ],
)
def test_much_that_is_free_counts_as_below_every_level(
    pct: float | None, free: int | None, expected: float | None
) -> None:
    """Would let back: a petabyte with room for years that pages somebody."""
    found = values.roomy(DISK, Observation(WEB, AT, pct), free_bytes=free)
    if expected == 83.0:
        assert found.value is not None
        assert 82.9 < found.value < 83.0
        assert found.reason.startswith("web-1 has ")
    else:
        assert (found.value, found.reason) == (expected, "")


def test_without_the_option_the_share_alone_counts() -> None:
    """Would let back: an option that cannot be switched off."""
    rule = replace(DISK, options={"minimum_free_bytes": 0})
    observation = Observation(WEB, AT, 93.0)
    assert values.roomy(rule, observation, free_bytes=98 * TIB) is observation
    assert values.roomy(replace(DISK, options={}), observation, free_bytes=TIB) is observation


@pytest.mark.parametrize(
    ("before", "passed", "uptime", "expected"),
    [
        # It went on running; readings come up to 20 s after their instant.
        (1000, 30, 1030, False),
        (1000, 30, 1049, False),
        (1020, 30, 1031, False),
        # Started anew between two samples; twice within a minute.
        (1000, 30, 5, True),
        (20, 30, 5, True),
        # Away for three days, back for two: its uptime is larger than before.
        (3600, 3 * 86_400, 2 * 86_400, True),
        # The clock of the collector was set ahead by an hour; a machine slept for an hour.
        (90_000, 3630, 90_030, False),
        (7200, 3600, 7200, False),
        # The clock was set back.
        (90_000, -3570, 90_030, False),
    ],
)
def test_a_reboot_is_told_from_clocks_and_late_readings(
    before: int, passed: int, uptime: int, *, expected: bool
) -> None:
    """Would let back: a fleet that "rebooted" because the collector's clock was set."""
    seen = Seen(AT, AT - timedelta(seconds=passed), before)
    assert values.has_rebooted(seen, a_sample(uptime_seconds=uptime)) is expected


def test_a_reboot_needs_two_uptimes() -> None:
    """Would let back: every new server as one that was started anew."""
    assert not values.has_rebooted(values.NEVER_SEEN, a_sample(uptime_seconds=5))
    assert not values.has_rebooted(Seen(AT, AT, 1000), a_sample(uptime_seconds=None))


def test_the_third_failure_in_a_row_is_final() -> None:
    """Would let back: a server that hangs and is never told of."""
    failure = Failure(12, 3, AT, "timeout", "no answer", is_final=False)
    assert [values.is_final(failure, Seen(failures=count)) for count in (0, 1, 2)] == [
        False,
        False,
        True,
    ]
    assert values.is_final(replace(failure, is_final=True), values.NEVER_SEEN)


def test_what_is_remembered_follows_each_instant() -> None:
    """Would let back: an uptime that is forgotten when one sample has none."""
    sample = a_sample(uptime_seconds=100)
    seen = values.after_item(Seen(failures=2), sample)
    assert seen == Seen(AT, AT, 100, failures=0)
    later = AT + timedelta(seconds=30)
    seen = values.after_item(seen, Failure(12, 3, later, "refused", "no"))
    assert seen == Seen(later, AT, 100, failures=1)
    latest = replace(a_sample(), collected_at=later + timedelta(seconds=30))
    assert values.after_item(seen, latest) == Seen(latest.collected_at, AT, 100)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("server:12", 12),
        ("server:12 /var", 12),
        ("server:12 /with space", 12),
        ("organization:3 memory_bytes", None),
        ("server:x", None),
        ("", None),
    ],
)
def test_the_server_of_a_subject_is_in_its_key(key: str, expected: int | None) -> None:
    """Would let back: conditions of another kind taken for those of a server."""
    assert values.server_id_of(key) == expected
