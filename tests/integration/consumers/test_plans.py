"""What is shipped reads the partitions of its range, by an index: functions, guide, statements."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resmon_resources.settings import PROJECT_ROOT
from tests.integration.consumers.catalog import functions_of
from tests.integration.consumers.house import STORAGE, House
from tests.integration.consumers.scans import Scan, outside, read_whole, scans_of
from tests.integration.consumers.test_document import STATEMENTS, name_of

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def tables(scans: list[Scan]) -> set[str]:
    """Parents of what was read."""
    return {scan.table for scan in scans}


def test_a_scan_of_everything_is_seen(house: House) -> None:
    """Would let back: a count of scans that is always empty, and tests that prove nothing."""
    scans = scans_of(
        house.connection, "select count(*) from tier.metrics_5min where cpu_pct_avg > 1"
    )
    assert len(scans) > 2
    assert read_whole(scans)
    assert outside(scans, house.now - HOUR, house.now)


# --- functions: arguments, the tables they may read, and how far back


SERVER_RANGES = [
    ("raw", "raw.server_resource_metrics", 2),
    ("1min", "tier.metrics_1min", 2),
    ("5min", "tier.metrics_5min", 8),
    ("1hour", "tier.metrics_1hour", 40),
    ("1day", "tier.metrics_1day", 400),
]
"""Granularity, the only table that may be read for it, and how many days ago."""


@pytest.mark.parametrize(("granularity", "table", "days"), SERVER_RANGES)
@pytest.mark.parametrize(
    "function", ["server_metrics", "server_metrics_long", "server_metrics_page"]
)
def test_a_range_of_a_server_is_read_by_its_key(
    house: House, function: str, granularity: str, table: str, days: int
) -> None:
    """Would let back: 150 partitions planned and read for an hour of one server."""
    start = house.now - timedelta(days=days)
    end = start + (2 * DAY if granularity == "1day" else HOUR)
    scans = scans_of(
        house.connection,
        f"select * from resmon.{function}(array[1], %(from)s, %(to)s, "
        "p_granularity => %(granularity)s)",
        {"from": start, "to": end, "granularity": granularity},
    )
    assert tables(scans) == {table}
    assert not outside(scans, start, end)
    assert not read_whole(scans)


@pytest.mark.parametrize("granularity", ["auto", "1min", "5min", "1hour", "1day"])
def test_the_live_tail_reads_the_samples_that_no_tier_has(house: House, granularity: str) -> None:
    """Would let back: a chart of an hour for which all days of raw are read, or each server's."""
    raw = []
    for _ in range(7):  # Plans of plpgsql may become generic with the sixth execution.
        scans = scans_of(
            house.connection,
            "select * from resmon.server_metrics(array[1], %(from)s, %(to)s, %(granularity)s, "
            "p_now => %(to)s)",
            {"from": house.now - 2 * HOUR, "to": house.now, "granularity": granularity},
        )
        raw = [scan for scan in scans if scan.table == "raw.server_resource_metrics"]
        assert not outside(raw, house.now.replace(hour=0, minute=0), house.now + DAY)
        assert not read_whole(scans)
    if granularity == "1hour" and house.now.minute:
        assert len(raw) == 1, "the hour that runs is worked out from its day"


FLEET_CALLS = {
    "rolling": "(array[1], 'cpu_pct', '1 day', %(from)s, %(to)s)",
    "organization_metrics": "(array[1], %(from)s, %(to)s)",
    "coverage": "(array[1], %(from)s, %(to)s)",
    "granularity_for": "(%(from)s, %(to)s)",
    "top_servers": "('cpu_pct', 'p95', %(from)s, %(to)s)",
    "servers_with_headroom": "(1)",
    "underused_servers": "()",
    "latest": "()",
    "data_version": "()",
    "live_position": "()",
    "organization_limits": "()",
    "organization_subtree": "(1)",
    "quota_exceeded_since": "(1, 'storage_bytes', %(to)s)",
    "samples_after": "(0, p_max_rows => 10, p_since => %(from)s)",
    "server_metrics": None,
    "server_metrics_long": None,
    "server_metrics_page": None,
}
"""A call of each function; null: above."""

READS_ALL_PARTITIONS = {
    # Back to the hour in which the quota was last kept: as far as there are rows.
    "quota_exceeded_since",
    # By the index on commit_sequence, which is not that on time: late rows lie in any partition.
    "samples_after",
}


def test_every_function_is_looked_at(house: House) -> None:
    """Would let back: a new function that nobody measured."""
    assert {function.name for function in functions_of(house.connection)} == set(FLEET_CALLS)


@pytest.mark.parametrize("name", [name for name, call in FLEET_CALLS.items() if call])
def test_a_function_reads_its_range(house: House, name: str) -> None:
    """Would let back: a ranking of a day that reads the year."""
    values = {"from": house.now - 2 * DAY, "to": house.now}
    scans = scans_of(
        house.connection, f"select * from resmon.{name}{FLEET_CALLS[name]}", values, seqscan=False
    )
    assert not read_whole(scans)
    if name not in READS_ALL_PARTITIONS:
        assert not outside(scans, house.now - 4 * DAY, house.now + DAY)
    if name in ("latest", "data_version", "granularity_for"):
        assert not scans


# --- the guide


@pytest.mark.parametrize("statement", STATEMENTS, ids=name_of)
def test_a_statement_of_the_guide_reads_its_range(house: House, statement: str) -> None:
    """Would let back: an example that is copied and reads a year for a day."""
    lengths = [
        int(number) * (DAY if unit.startswith("day") else HOUR)
        for number, unit in re.findall(r"interval '(\d+) (days?|hours?)'", statement)
    ]
    start = house.now - sum(lengths, DAY)
    scans = scans_of(house.connection, statement, seqscan=False)
    # Since when a quota is exceeded is looked up by key; a drift has a row per day that saw it.
    free = {"rollup.organization_resource_usage", "anomaly.degradation_reports"}
    bounded = [scan for scan in scans if scan.table not in free]
    assert not outside(bounded, start, house.now + DAY)
    assert not read_whole(scans)


# --- sql/queries


QUERIES = Path(PROJECT_ROOT) / "sql" / "queries"
PARTITIONED = "|".join(
    re.escape(table) for table in STORAGE if table.startswith(("raw.", "tier.", "rollup."))
)
TABLES = {
    "retention/count_rows": "tier.metrics_1hour",
    "rollup/sum_stored_rows": "rollup.organization_metrics_1hour",
    "rollup/sum_usage": "rollup.organization_resource_usage",
    "tier/sum_stored_file_systems": "tier.filesystem_1day",
}
"""What {table} stands for; tier.metrics_5min elsewhere."""
ELSEWHERE = {
    "forecast/sum_headroom": "forecast.headroom",
    "forecast/sum_stored_forecasts": "forecast.capacity_forecasts",
    "forecast/sum_stored_scores": "forecast.forecast_scores",
}
DAYS_BACK = {
    "forecast/read_capacities": 8,
    "forecast/read_headroom_servers": 8,
}
"""Days before the range that a statement looks at for a good reason; 0 elsewhere."""
NOT_RUN = {
    "demo/create_demo_samples": "makes rows for tables that are empty",
    "demo/subtract_from_windows": "corrects the ledger of the demonstration fleet",
    "demo/delete_raw_hours": "of the demonstration fleet, which is not here",
    "demo/select_month_traffic": "of the demonstration fleet, which is not here",
    "window/delete_outdated_rows": "deletes by keys in a temporary table",
    "rollup/read_month_traffic": "asks for days and hours by name; see below",
}


def by_time() -> list[str]:
    """Statements that read raw, tiers or rollups of a range of time."""
    found = []
    for path in sorted(QUERIES.rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(QUERIES).with_suffix("").as_posix()
        reads = re.search(rf"\b(from|join) ({PARTITIONED}|\{{table\}})(?![\w(])", text)
        if reads and "%(start)s" in text and name not in NOT_RUN:
            found.append(name)
    return found


def test_the_statements_are_found() -> None:
    """Would let back: a pattern that no longer finds anything."""
    assert len(by_time()) >= 30
    for name in [*TABLES, *ELSEWHERE, *DAYS_BACK, *NOT_RUN]:
        assert (QUERIES / f"{name}.sql").is_file(), name


@pytest.mark.parametrize("name", by_time())
def test_a_statement_reads_its_range_by_an_index(house: House, name: str) -> None:
    """Would let back: a statement of the collector or an asset that gets slower with every month.

    Where this fails for a new statement: give what its parameters are called below, or say in
    DAYS_BACK how far back it looks.
    """
    text = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    table = TABLES.get(name) or ELSEWHERE.get(name) or "tier.metrics_5min"
    for placeholder, stands_for in (
        ("table", table),
        ("columns", "bucket_start"),
        ("column", "bucket_start"),
    ):
        text = text.replace(f"{{{placeholder}}}", stands_for)
    start = house.now.replace(hour=5, minute=0) - DAY
    values = values_of(text, start)
    # Of a table that is read whole, a scan is right: an hour of all servers is what it is not.
    scans = scans_of(house.connection, text, values, seqscan=False)
    assert scans, "it reads no partition: its range has no rows here"
    assert not outside(scans, start - timedelta(days=DAYS_BACK.get(name, 0)), start + HOUR)
    assert not read_whole(scans)


def values_of(text: str, start: datetime) -> dict[str, Any]:
    """A value for each parameter by its name: an hour of yesterday, a few servers."""
    known: dict[str, Any] = {
        "start": start,
        "begin": start,
        "end": start + HOUR,
        "until": start + HOUR,
        "day": start,
        "width": timedelta(minutes=5),
        "first": 1,
        "last": 3,
        "server_ids": [1, 2],
        "servers": [1, 2],
        "limit": 10,
        "red": [],
        "rule": "cpu_high",
        "month_start": start.replace(day=1, hour=0),
    }
    if "bucket_start >= %(first)s" in text:
        known["first"] = start
    return {name: known[name] for name in set(re.findall(r"%\((\w+)\)s", text))}


def test_the_traffic_of_a_month_is_read_from_named_buckets(house: House) -> None:
    """Would let back: five minutes of a month, which are 9,000 buckets of each organization."""
    text = (QUERIES / "rollup" / "read_month_traffic.sql").read_text(encoding="utf-8")
    hour = house.now.replace(minute=0) - HOUR
    scans = scans_of(
        house.connection,
        text,
        {
            "days": [hour.replace(hour=0) - DAY],
            "hours": [hour - HOUR],
            "fine_start": hour,
            "fine_hours": [hour],
            "until": house.now,
        },
        seqscan=False,
    )
    fine = [scan for scan in scans if scan.table == "rollup.organization_metrics_5min"]
    assert not outside(scans, hour - 2 * DAY, house.now)
    assert len(fine) == 1
    assert not read_whole(scans)
