"""Stored rows as observations: values, words, and what is left out."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from resmon_assets.frames import RESOURCE_USAGE_ROWS, RESOURCES, schema_of
from resmon_assets.matters import (
    FullDay,
    OpenEpisode,
    is_news,
    of_archive,
    of_episodes,
    of_full_days,
    of_quotas,
    of_retention,
)
from resmon_resources.alert_records import Observation

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
GIB = 2**30


def usage(**values: Any) -> pl.DataFrame:
    """One organization's hour; 3 servers and nothing limited unless said otherwise."""
    plain: dict[str, Any] = {column.name: None for column in RESOURCE_USAGE_ROWS}
    plain |= {
        "bucket_start": NOON,
        "organization_id": 7,
        "measured_until": NOON + timedelta(minutes=5),
        "server_count": 3,
        "measured_server_count": 3,
    }
    return pl.DataFrame([plain | values], schema=schema_of(RESOURCE_USAGE_ROWS))


def quota(resource: str, limit: int, *, of: int = 7, **values: Any) -> list[Observation]:
    rows = usage(**{f"{resource}_limit": limit, f"{resource}_limit_organization_id": of}, **values)
    return of_quotas(rows, {7: "acme"})


@pytest.mark.parametrize(
    ("resource", "limit", "used", "expected", "words"),
    [
        ("servers", 3, {}, 100.0, "3 of 3 servers (100 %)"),
        ("servers", 0, {}, 100.0, "3 of 0 servers"),
        ("servers", 0, {"server_count": 0}, 0.0, "0 of 0 servers"),
        ("cpu_cores", 1000, {"cpu_cores": 999}, 99.9, "999 of 1000 cores (99 %)"),
        (
            "memory_bytes",
            100 * GIB,
            {"memory_used_bytes": 80 * GIB},
            80.0,
            "80 GiB of 100 GiB memory in use (80 %)",
        ),
        ("storage_bytes", 10, {"storage_used_bytes": None}, None, ""),
        (
            "bandwidth_bytes_per_month",
            2 * GIB,
            {"network_in_bytes": GIB, "network_out_bytes": GIB // 2},
            75.0,
            "1.5 GiB of 2 GiB traffic of this month (75 %)",
        ),
        ("bandwidth_bytes_per_month", 2, {"network_in_bytes": 1}, None, ""),
    ],
)
def test_a_quota_is_judged_by_the_share_that_is_used(
    resource: str, limit: int, used: dict[str, Any], expected: float | None, words: str
) -> None:
    """Would let back: 99.9 % told as 100 %, an unknown usage told as none, a division by zero."""
    (found,) = quota(resource, limit, **used)
    assert found.value == expected
    assert found.subject.key == f"organization:7 {resource}"
    assert found.subject.organization_id == 7
    assert found.at == NOON + timedelta(minutes=5)
    assert found.reason == (f"acme, with all below it, has used {words}" if words else "")


def test_a_limit_speaks_once_where_it_was_set() -> None:
    """Would let back: the same breach told once more for each child that inherits the limit."""
    assert quota("servers", 3, of=1) == []
    assert of_quotas(usage(), {7: "acme"}) == []


def test_every_resource_that_can_be_limited_is_judged() -> None:
    """Would let back: a new resource whose quota nobody hears of."""
    for resource in RESOURCES:
        assert len(quota(resource, 1)) == 1


EPISODE = OpenEpisode(
    12,
    "web-1",
    7,
    "cpu_pct",
    "warning",
    NOON,
    "CPU 91 %, usually 22-40 % at this hour",
    "deviation",
)


def test_the_most_urgent_episode_of_a_series_speaks() -> None:
    """Would let back: two alerts for one metric, or a drift that hides what is critical now."""
    worse = replace(EPISODE, severity="critical", reason="CPU 99 %", started_at=NOON - HOUR)
    info = replace(EPISODE, metric="disk_used_bytes", severity="info")
    several = replace(EPISODE, metric="*", reason="moved together: CPU and memory")
    found = of_episodes([EPISODE, worse, info, several], at=NOON)
    assert [(one.subject.key, one.value) for one in found] == [
        ("server:12 cpu_pct", 3.0),
        ("server:12 *", 2.0),
    ]
    assert found[0].reason == "web-1: CPU 99 %"
    assert [one.subject.name for one in found] == ["web-1 CPU", "web-1 several metrics"]
    assert found[0].subject.server_id == 12


FULL = FullDay(
    server_id=12,
    server_name="db-1",
    organization_id=7,
    mount="/var",
    full_on=date(2026, 3, 21),
    earliest=date(2026, 3, 18),
    latest=date(2026, 3, 30),
    untold_reason=None,
    used_bytes=90.0 * GIB,
    capacity_bytes=100.0 * GIB,
)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)


def full(**values: Any) -> list[Observation]:
    return of_full_days([replace(FULL, **values)], day=MIDNIGHT)


def test_a_full_day_is_counted_from_the_end_of_the_day_that_is_known() -> None:
    """Would let back: a day more than there is, or a date without its band."""
    (found,) = full()
    assert (found.value, found.at) == (10.0, MIDNIGHT + DAY)
    assert found.subject.key == "server:12 /var"
    assert found.reason == (
        "db-1 /var will be full in 10 days, on 2026-03-21 (80 % sure: 2026-03-18 to 2026-03-30), "
        "if it goes on as it does; 90 GiB of 100 GiB are used"
    )
    (endless,) = full(latest=None, full_on=date(2026, 3, 12), used_bytes=None)
    assert "in 1 day, on 2026-03-12 (80 % sure: 2026-03-18 to later than a year" in endless.reason
    (today,) = full(full_on=date(2026, 3, 11))
    assert today.value == 0.0
    assert "will be full today" in today.reason


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("already_reached", [0.0]),
        ("recent_step_change", [None]),
        ("noisy", [None]),
        ("insufficient_data", [None]),
        ("flat", []),
        ("decreasing", []),
        ("stalled", []),
        ("beyond_horizon", []),
        ("no_capacity", []),
    ],
)
def test_a_forecast_without_a_day_keeps_ends_or_opens(
    reason: str, values: list[float | None]
) -> None:
    """Would let back: an alert that ends and opens again with each noisy day, or one for a disk
    that has stopped to grow.
    """
    found = full(full_on=None, earliest=None, latest=None, untold_reason=reason)
    assert [one.value for one in found] == values


def test_the_archive_names_its_days_and_its_error() -> None:
    """Would let back: a sentence with a hundred dates, or one without the cause."""
    days = [date(2026, 3, day) for day in range(1, 8)]
    found = of_archive(days, table="archive.raw_samples", at=NOON, error="no space")
    assert found.value == 7.0
    assert found.reason == (
        "7 days of archive.raw_samples could not be archived (2026-03-01, 2026-03-02, 2026-03-03, "
        "2026-03-04, 2026-03-05 and 2 more): no space"
    )
    assert of_archive([], table="archive.raw_samples", at=NOON).value == 0.0


def test_retention_tells_by_how_much_and_why() -> None:
    """Would let back: an alert that says that something is kept, and not why."""
    (found,) = of_retention({"tier.metrics_1min": (2.5 * DAY, "2 windows are red")}, at=NOON)
    assert found.subject.key == "table:tier.metrics_1min"
    assert found.value == 2.5
    assert "2.5 days beyond its policy: 2 windows are red" in found.reason


def test_history_is_no_news() -> None:
    """Would let back: a backfill of last month that wakes people."""
    assert is_news(NOON, now=NOON + HOUR, window=HOUR)
    assert not is_news(NOON, now=NOON + 3 * HOUR, window=HOUR)
    assert is_news(NOON, now=NOON + 30 * HOUR, window=DAY)
    assert not is_news(NOON, now=NOON + 2 * DAY, window=DAY)
