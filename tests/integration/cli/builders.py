"""Servers and what was collected from them, stored the way collection stores it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from resmon_resources import inventory
from resmon_resources.errors import Cause
from resmon_resources.inventory import Server
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import (
    Failure,
    FileSystemUsage,
    Sample,
    ensure_raw_partitions,
)
from tests.one_database import commit

GIB = 2**30


def add_server(
    postgres: PostgresResource,
    name: str,
    *,
    tags: Sequence[str] = (),
    organization: str = "default",
) -> Server:
    """A server that was added a day ago."""
    with postgres.connect(autocommit=True) as connection:
        return inventory.add_server(
            connection,
            name,
            host=f"{name}.invalid",
            tags=tags,
            organization=organization,
            now=datetime.now(UTC) - timedelta(days=1),
        )


def store_samples(
    postgres: PostgresResource,
    server: Server,
    *,
    count: int,
    cpu_pct: float | None = 42.0,
    last_at: datetime | None = None,
) -> list[datetime]:
    """`count` samples 30 s apart, the last at `last_at` (default: 5 s ago); returns their times.

    Each has 8 of 32 GiB memory, 50 of 100 GiB disk and 100,000 bytes per second in.
    """
    last = last_at or datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
    times = [last - timedelta(seconds=30 * back) for back in reversed(range(count))]
    samples = [
        Sample(
            server_id=server.server_id,
            organization_id=server.organization_id,
            collected_at=moment,
            cpu_pct=cpu_pct,
            cpu_count=8,
            memory_used_bytes=8 * GIB,
            memory_total_bytes=32 * GIB,
            disk_used_bytes=50 * GIB,
            disk_total_bytes=100 * GIB,
            network_in_bytes=3_000_000,
            network_out_bytes=0,
            elapsed_ms=30_000,
            load_1m=0.5,
            uptime_seconds=3600,
        )
        for moment in times
    ]
    with postgres.connect(autocommit=True) as connection:
        ensure_raw_partitions(connection, start=times[0], end=times[-1] + timedelta(seconds=1))
        commit(connection, samples, status_of=lambda _: "healthy")
    return times


def store_file_systems(
    postgres: PostgresResource, server: Server, rows: Sequence[FileSystemUsage]
) -> None:
    """File systems of a server of which a sample is stored."""
    assert {row.server_id for row in rows} == {server.server_id}
    with postgres.connect(autocommit=True) as connection:
        commit(connection, file_systems=rows)


def store_failure(
    postgres: PostgresResource,
    server: Server,
    cause: Cause,
    detail: str,
    *,
    is_final: bool = True,
) -> None:
    """One failed attempt, just now; not the last one when it is not final."""
    failure = Failure(
        server_id=server.server_id,
        organization_id=server.organization_id,
        attempted_at=datetime.now(UTC),
        cause=cause,
        detail=detail,
        is_final=is_final,
    )
    with postgres.connect(autocommit=True) as connection:
        commit(connection, failures=[failure])
