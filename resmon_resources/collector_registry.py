"""Live collectors in PostgreSQL: claim, heartbeat, lease, hand-over, stop, fence.

Belongs here: the statements on ops.collector and on the session advisory locks behind them. Decides
nothing: the collector's loop and its supervising sensor do (resmon_assets/raw).

A session lock is the proof of life: the kernel closes the socket of a killed process and Postgres
frees the lock at once, which no run status tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from resmon_resources.errors import DatabaseError
from resmon_resources.postgres_connection import load_query

LOCK_CLASS = 0x5245534D
"""First key of the advisory locks of collectors ("RESM"); the second is hour index * 64 + shard."""

MAXIMUM_SHARDS = 64
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Orders:
    """What a heartbeat learns.

    Attributes:
        is_stop_requested: somebody wants this collector to end.
        lease_renewed_at: when the supervising sensor last renewed the lease.
        is_successor_open: the collector of the next hour lives and has its fleet open.
        is_predecessor_live: the collector of the hour before has not ended yet.
    """

    is_stop_requested: bool
    lease_renewed_at: datetime
    is_successor_open: bool
    is_predecessor_live: bool = False


@dataclass(frozen=True, slots=True)
class CollectorRow:
    """One row of ops.collector, and whether its lock is held right now."""

    shard: int
    hour: datetime
    run_id: str
    host: str
    pid: int
    backend_pid: int
    started_at: datetime
    heartbeat_at: datetime
    fleet_open_at: datetime | None
    is_stop_requested: bool
    stop_requested_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    is_locked: bool


def lock_key(*, shard: int, hour: datetime) -> int:
    """Second key of the advisory lock of a shard and hour; unique until the year 5000."""
    return int(hour.timestamp()) // _SECONDS_PER_HOUR * MAXIMUM_SHARDS + shard


def claim(
    connection: psycopg.Connection[Any],
    *,
    shard: int,
    hour: datetime,
    run_id: str,
    host: str,
    pid: int,
    now: datetime,
) -> bool:
    """Take the lock of a shard and hour for the life of `connection` and write its row.

    Args:
        connection: an autocommit connection kept open as long as the collector lives.
        shard: 0 to 63.
        hour: start of the UTC hour.
        run_id: Dagster run.
        host: name of the machine that collects.
        pid: process that collects.
        now: collector's clock, aware UTC.

    Returns:
        False when another live session holds the lock; nothing was changed then.
    """
    row = connection.execute(
        "select pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, lock_key(shard=shard, hour=hour))
    ).fetchone()
    if row is None or not row[0]:
        return False
    connection.execute(
        load_query("raw", "claim_collector"),
        {"shard": shard, "hour": hour, "run_id": run_id, "host": host, "pid": pid, "now": now},
    )
    return True


def heartbeat(
    connection: psycopg.Connection[Any], *, shard: int, hour: datetime, now: datetime
) -> Orders:
    """Say that the collector lives, and learn what is wanted of it."""
    row = connection.execute(
        load_query("raw", "beat_collector"), {"shard": shard, "hour": hour, "now": now}
    ).fetchone()
    if row is None:
        return Orders(is_stop_requested=True, lease_renewed_at=now, is_successor_open=False)
    return Orders(
        is_stop_requested=row[0],
        lease_renewed_at=row[1],
        is_successor_open=row[2],
        is_predecessor_live=row[3],
    )


def mark_fleet_open(
    connection: psycopg.Connection[Any], *, shard: int, hour: datetime, now: datetime
) -> None:
    """Say that every server was opened or has failed once; the collector before hands over."""
    connection.execute(
        "update ops.collector set fleet_open_at = %s where shard = %s and hour = %s",
        (now, shard, hour),
    )


def mark_ended(
    connection: psycopg.Connection[Any], *, shard: int, hour: datetime, now: datetime, reason: str
) -> None:
    """Say that the collector ended, and why; then free its lock."""
    connection.execute(
        "update ops.collector set ended_at = %s, end_reason = %s where shard = %s and hour = %s",
        (now, reason, shard, hour),
    )
    connection.execute(
        "select pg_advisory_unlock(%s, %s)", (LOCK_CLASS, lock_key(shard=shard, hour=hour))
    )


def collectors_of(
    connection: psycopg.Connection[Any], *, hours: Sequence[datetime]
) -> list[CollectorRow]:
    """Rows of these hours, with the state of their locks."""
    rows = connection.execute(
        load_query("raw", "select_collectors"), {"hours": list(hours), "lock_class": LOCK_CLASS}
    ).fetchall()
    return [CollectorRow(*row) for row in rows]


def database_started_at(connection: psycopg.Connection[Any]) -> datetime:
    """When PostgreSQL was started, aware UTC; every session, and lock, of before is gone."""
    row = connection.execute("select pg_postmaster_start_time()").fetchone()
    if row is None:  # pragma: no cover - the function always returns a row
        msg = "pg_postmaster_start_time returned nothing."
        raise DatabaseError(msg)
    started_at: datetime = row[0]
    return started_at


def renew_lease(
    connection: psycopg.Connection[Any], *, shard: int, hour: datetime, now: datetime
) -> None:
    """Tell a live collector that its supervisor still wants it."""
    connection.execute(
        "update ops.collector set lease_renewed_at = %s where shard = %s and hour = %s",
        (now, shard, hour),
    )


def request_stop(
    connection: psycopg.Connection[Any], *, shard: int, hour: datetime, now: datetime
) -> None:
    """Ask a collector to flush and end; it looks every few seconds."""
    connection.execute(
        """
        update ops.collector set
            is_stop_requested = true,
            stop_requested_at = coalesce(stop_requested_at, %s)
        where shard = %s and hour = %s and ended_at is null
        """,
        (now, shard, hour),
    )


def request_stop_of_all(connection: psycopg.Connection[Any], *, now: datetime) -> int:
    """Ask every collector that has not ended to do so; returns how many."""
    return connection.execute(
        """
        update ops.collector set is_stop_requested = true, stop_requested_at = %s
        where ended_at is null
        """,
        (now,),
    ).rowcount


def fence(connection: psycopg.Connection[Any], *, shard: int, hour: datetime) -> bool:
    """End the Postgres session that holds the lock of a hung collector; True when there was one."""
    row = connection.execute(
        load_query("raw", "fence_collector"),
        {"lock_class": LOCK_CLASS, "lock_key": lock_key(shard=shard, hour=hour)},
    ).fetchone()
    return row is not None
