"""Statistics of file systems over a day, by tables of cases worked by hand."""

from datetime import UTC, datetime, timedelta
from statistics import fmean

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_assets.frames import FILE_SYSTEM_DAYS, RAW_FILE_SYSTEMS, schema_of
from resmon_assets.tier.filesystem_statistics import day_statistics

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def row(minutes: float = 0, **values):
    """A row of `/` of server 1, minutes after midnight of 1 March."""
    base = {
        "collected_at": DAY + timedelta(minutes=minutes),
        "total_bytes": 1_000,
        "used_bytes": 100,
        "available_bytes": 850,
        "inodes_total": 50,
        "inodes_used": 5,
        "server_id": 1,
        "organization_id": 1,
        "mount": "/",
        "device": "/dev/sda1",
        "type": "ext4",
    }
    assert values.keys() <= base.keys()
    return base | values


def days(*rows):
    """Rows of the tier, as dictionaries."""
    frame = pl.DataFrame(list(rows), schema=schema_of(RAW_FILE_SYSTEMS), orient="row")
    result = day_statistics(frame)
    assert result.schema == schema_of(FILE_SYSTEM_DAYS)
    return result.to_dicts()


def test_day_has_mean_extremes_and_what_was_last_whatever_the_order():
    """Lets back: a last value that is that of the row which came last."""
    (day,) = days(
        row(10, used_bytes=400, available_bytes=550, inodes_used=9, device="/dev/sdb1"),
        row(0, used_bytes=100),
        row(5, used_bytes=200, available_bytes=500, total_bytes=900, inodes_used=4),
    )
    assert day == {
        "bucket_start": DAY,
        "used_bytes_avg": pytest.approx(233.333333333333),
        "used_bytes_min": 100,
        "used_bytes_max": 400,
        "used_bytes_last": 400,
        "available_bytes_min": 500,
        "available_bytes_last": 550,
        "total_bytes_last": 1_000,
        "inodes_used_avg": 6.0,
        "inodes_used_min": 4,
        "inodes_used_max": 9,
        "inodes_used_last": 9,
        "inodes_total_last": 50,
        "server_id": 1,
        "organization_id": 1,
        "sample_count": 3,
        "measured_count": 3,
        "mount": "/",
        "device": "/dev/sdb1",
        "type": "ext4",
    }


def test_mount_that_hung_keeps_its_last_measured_values():
    """Lets back: a day whose size is null because the last row was not measured."""
    hung = {name: None for name in ("total_bytes", "used_bytes", "available_bytes")}
    (day,) = days(row(0, used_bytes=7), row(5, **hung, inodes_total=None, inodes_used=None))
    assert (day["sample_count"], day["measured_count"]) == (2, 1)
    assert (day["used_bytes_last"], day["total_bytes_last"], day["inodes_used_last"]) == (
        7,
        1_000,
        5,
    )


def test_mount_that_never_answered_has_a_row_of_nulls():
    """Lets back: a zero for what was not measured, or a mount that vanishes."""
    hung = {name: None for name in ("total_bytes", "used_bytes", "available_bytes")}
    (day,) = days(row(0, **hung, inodes_total=None, inodes_used=None))
    assert day["measured_count"] == 0
    assert all(value is None for name, value in day.items() if "bytes" in name or "inodes" in name)


def test_servers_mounts_organizations_and_days_are_told_apart():
    """Lets back: two mounts, or the two owners of a server that moved, in one row."""
    found = days(
        row(0),
        row(0, mount="/home"),
        row(60, organization_id=2),
        row(0, server_id=2),
        row(24 * 60),
    )
    keys = [(r["server_id"], r["mount"], r["organization_id"], r["bucket_start"]) for r in found]
    tomorrow = DAY + timedelta(days=1)
    assert keys == [
        (1, "/", 1, DAY),
        (1, "/", 1, tomorrow),
        (1, "/", 2, DAY),
        (1, "/home", 1, DAY),
        (2, "/", 1, DAY),
    ]


def test_no_row_gives_no_day():
    """Lets back: an error on the first day of a platform without file systems."""
    assert days() == []


@given(st.lists(st.integers(min_value=0, max_value=2**62), min_size=1, max_size=50))
def test_mean_is_exact_for_any_size(values):
    """Lets back: sums of 64 bits that overflow, or means of floats that drift."""
    (day,) = days(*(row(5 * k, used_bytes=value) for k, value in enumerate(values)))
    assert day["used_bytes_avg"] == pytest.approx(sum(values) / len(values), rel=5e-16)
    assert day["used_bytes_avg"] == pytest.approx(fmean(values), rel=1e-15)
