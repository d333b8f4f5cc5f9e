"""What is stored about servers, read for people: latest states, samples and buckets of a range.

Belongs here: reads by server for the command line. Reads of whole hours for computation are in
postgres.py. Changes nothing.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from resmon_resources.inventory import ServerState
from resmon_resources.postgres_connection import load_query

Granularity = Literal["raw", "1min", "5min", "1hour", "1day"]
Kind = Literal["text", "time", "integer", "real"]

TIER_METRICS = (
    "cpu_pct",
    "memory_used_bytes",
    "disk_used_bytes",
    "network_in_bytes_per_second",
    "network_out_bytes_per_second",
)
TIER_STATISTICS = ("avg", "min", "max", "p50", "p95", "p99")

SAMPLE_COLUMNS: dict[str, Kind] = {
    "server_name": "text",
    "organization_name": "text",
    "collected_at": "time",
    "cpu_pct": "real",
    "cpu_count": "integer",
    "memory_used_bytes": "integer",
    "memory_total_bytes": "integer",
    "disk_used_bytes": "integer",
    "disk_total_bytes": "integer",
    "network_in_bytes": "integer",
    "network_out_bytes": "integer",
    "network_in_bytes_per_second": "real",
    "network_out_bytes_per_second": "real",
    "elapsed_ms": "integer",
    "load_1m": "real",
    "load_5m": "real",
    "load_15m": "real",
    "uptime_seconds": "integer",
    "clock_skew_seconds": "real",
}
"""Columns of granularity raw, in the order of the query."""

BUCKET_COLUMNS: dict[str, Kind] = {
    "server_name": "text",
    "organization_name": "text",
    "bucket_start": "time",
    "sample_count": "integer",
    "expected_count": "integer",
    **{f"{metric}_{kind}": "real" for metric in TIER_METRICS for kind in TIER_STATISTICS},
}
"""Columns of every tier, in the order of the query."""

BATCH_ROWS = 5_000
"""Rows fetched at a time: some 2 MB in Python, and few round trips."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Inventory and latest state of one server.

    Everything from `status` on is None for a server of which no attempt is stored; the measured
    values are those of `last_metrics_at` and stay while the server fails. Units stand in the names.
    """

    server_id: int
    server_name: str
    organization_name: str
    state: ServerState
    tags: Sequence[str]
    interval_seconds: int
    status: str | None
    cause: str | None
    cause_detail: str | None
    consecutive_failures: int | None
    last_attempt_at: datetime | None
    last_metrics_at: datetime | None
    cpu_pct: float | None
    cpu_count: int | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    network_in_bytes_per_second: float | None
    network_out_bytes_per_second: float | None
    load_1m: float | None
    load_5m: float | None
    load_15m: float | None
    uptime_seconds: int | None
    clock_skew_seconds: float | None


def read_status(
    connection: psycopg.Connection[Any], server_ids: Sequence[int]
) -> list[ServerStatus]:
    """Latest state of these servers, by name; one record for each, collected or not."""
    with (
        connection.transaction(),
        connection.cursor(row_factory=class_row(ServerStatus)) as cursor,
    ):
        return cursor.execute(
            load_query("raw", "select_status"), {"server_ids": list(server_ids)}
        ).fetchall()


@dataclass(frozen=True, slots=True)
class FileSystemStatus:
    """Newest state of one mount; None means not measured. Units stand in the names."""

    server_id: int
    collected_at: datetime
    mount: str
    device: str
    type: str | None
    total_bytes: int | None
    used_bytes: int | None
    available_bytes: int | None
    used_pct: float | None
    inodes_total: int | None
    inodes_used: int | None
    inodes_used_pct: float | None


def read_file_systems(
    connection: psycopg.Connection[Any], server_ids: Sequence[int]
) -> list[FileSystemStatus]:
    """Mounts of these servers as of their last sample, by server and mount point."""
    with (
        connection.transaction(),
        connection.cursor(row_factory=class_row(FileSystemStatus)) as cursor,
    ):
        return cursor.execute(
            load_query("raw", "select_filesystem_status"), {"server_ids": list(server_ids)}
        ).fetchall()


def columns_of(granularity: Granularity) -> dict[str, Kind]:
    """Names and kinds of the columns that `stream_rows` yields, in order."""
    return SAMPLE_COLUMNS if granularity == "raw" else BUCKET_COLUMNS


def stream_rows(
    connection: psycopg.Connection[Any],
    *,
    granularity: Granularity,
    server_ids: Sequence[int],
    start: datetime,
    end: datetime,
) -> Generator[list[tuple[Any, ...]], None, None]:
    """Samples or buckets with a time in [start, end), by time and server, a batch at a time.

    Args:
        connection: held in a transaction until the generator is used up or closed.
        granularity: `raw` for samples, else the tier.
        server_ids: these servers.
        start: aware UTC, inclusive.
        end: aware UTC, exclusive; a bucket counts by its start.

    Yields:
        Rows with the columns of `columns_of(granularity)`; never an empty batch.
    """
    if granularity == "raw":
        query: str | sql.Composed = load_query("raw", "select_samples")
    else:
        text = load_query("tier", "select_buckets")
        query = sql.SQL(text).format(table=sql.Identifier("tier", f"metrics_{granularity}"))
    # A cursor of the server, so that a year of samples needs no more memory than an hour.
    with connection.transaction(), connection.cursor(name="stream_rows") as cursor:
        cursor.execute(query, {"server_ids": list(server_ids), "start": start, "end": end})
        while batch := cursor.fetchmany(BATCH_ROWS):
            yield batch
