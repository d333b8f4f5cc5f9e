"""Small makers of raw samples and server periods; a test states only what matters to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from resmon_assets.frames import INSTANT, RAW_SAMPLES, TIER_INPUT, schema_of

HOUR = datetime(2026, 3, 1, 5, tzinfo=UTC)

PERIODS = pl.Schema(
    {
        "server_id": pl.Int32(),
        "organization_id": pl.Int32(),
        "state": pl.String(),
        "interval_seconds": pl.Int16(),
        "valid_from": INSTANT,
        "valid_to": INSTANT,
    }
)


def sample(at: datetime | float = 0, **values: Any) -> dict[str, Any]:
    """One raw row of server 1, `at` an instant or seconds after 05:00 UTC on 1 March 2026."""
    instant = at if isinstance(at, datetime) else HOUR + timedelta(seconds=at)
    row = {
        "server_id": 1,
        "organization_id": 1,
        "collected_at": instant,
        "cpu_pct": 10.0,
        "memory_used_bytes": 4_000_000_000,
        "disk_used_bytes": 90_000_000_000,
        "network_in_bytes": 3_000,
        "network_out_bytes": 6_000,
        "elapsed_ms": 30_000,
    }
    assert values.keys() <= row.keys()
    return row | values


def raw_frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Raw rows as a tier reads them."""
    return pl.DataFrame(list(rows), schema=schema_of(RAW_SAMPLES, only=TIER_INPUT), orient="row")


def period(start: datetime, end: datetime, **values: Any) -> dict[str, Any]:
    """One active period of server 1 with an interval of 30 s."""
    row = {
        "server_id": 1,
        "organization_id": 1,
        "state": "active",
        "interval_seconds": 30,
        "valid_from": start,
        "valid_to": end,
    }
    return row | values


def period_frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of inventory.server_period."""
    return pl.DataFrame(list(rows), schema=PERIODS, orient="row")
