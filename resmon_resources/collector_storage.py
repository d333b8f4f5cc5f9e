"""The collector's two connections: one holds its locks and beats, one commits; both come back.

Belongs here: opening, losing and reopening connections. The statements are in collector_registry
and sample_store.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg

from resmon_resources import collector_registry
from resmon_resources.collector_registry import Orders
from resmon_resources.errors import DatabaseError
from resmon_resources.host_key_store import pin_first_keys
from resmon_resources.host_keys import HostKeySeen
from resmon_resources.inventory import Server, list_servers
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import (
    Committed,
    Failure,
    FileSystemUsage,
    Sample,
    Status,
    Stretch,
    commit_batch,
    ensure_raw_partitions,
    latest_stretches,
)

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

RETRY_SECONDS = 2.0
"""Pause between two attempts to reconnect; the loop goes on ticking meanwhile."""
NOTICE_LOG_SECONDS = 60.0
"""Pause between two log lines about notices that fail; each of them is counted."""
LOST = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)
"""The connection is gone, or the server ended it while this process stood still in a commit."""


class CollectorStorage:
    """Storage of one collector; every method returns None (or False) while the database is away.

    Attributes:
        is_superseded: another session took the lock while ours was lost; the collector must end.
    """

    def __init__(
        self,
        postgres: PostgresResource,
        *,
        shards: Sequence[int],
        hour: datetime,
        run_id: str,
        select: Callable[[Server], int],
        status_of: Callable[[Sample], Status],
    ) -> None:
        """Prepare; opens nothing.

        Args:
            postgres: where to connect.
            shards: shards to collect; all their locks are claimed.
            hour: start of the UTC hour.
            run_id: Dagster run.
            select: shard of a server.
            status_of: rule that turns a sample into a status.
        """
        self._postgres = postgres
        self._shards = tuple(shards)
        self._hour = hour
        self._run_id = run_id
        self._select = select
        self._status_of = status_of
        self._stack = ExitStack()
        self._lock_connection: psycopg.Connection[Any] | None = None
        self._write_connection: psycopg.Connection[Any] | None = None
        self._next_try = 0.0
        self._next_notice_log = 0.0
        self.is_superseded = False

    def open(self, now: datetime) -> int | None:
        """Connect and claim the shards.

        Returns:
            None when all were claimed; else the first shard that another session holds.

        Raises:
            DatabaseError: no connection.
        """
        self.close()
        lock = self._stack.enter_context(self._postgres.connect(autocommit=True))
        for shard in self._shards:
            if not collector_registry.claim(
                lock,
                shard=shard,
                hour=self._hour,
                run_id=self._run_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                now=now,
            ):
                self.close()
                return shard
        write = self._stack.enter_context(self._postgres.connect(autocommit=True))
        ensure_raw_partitions(
            write, start=self._hour - timedelta(hours=1), end=self._hour + timedelta(hours=2)
        )
        self._lock_connection, self._write_connection = lock, write
        return None

    def close(self) -> None:
        """Close both connections; the locks go with the session."""
        self._lock_connection = self._write_connection = None
        self._stack.close()

    def mark_ended(self, now: datetime, reason: str) -> None:
        """Write how the collector ended and free its locks; silent when the database is away."""
        for shard in self._shards:
            self._on_lock(
                lambda connection, shard=shard: collector_registry.mark_ended(  # type: ignore[misc]
                    connection, shard=shard, hour=self._hour, now=now, reason=reason
                ),
                now=now,
            )

    def known_coverage(self, now: datetime) -> list[Stretch] | None:
        """Newest stretch of each server within the last day; None while the database is away."""
        return self._on_write(
            lambda connection: latest_stretches(connection, since=now - timedelta(days=1)), now=now
        )

    def servers(self, now: datetime) -> list[Server] | None:
        """Active servers of the shards; None while the database is away."""

        def read(connection: psycopg.Connection[Any]) -> list[Server]:
            return [
                server
                for server in list_servers(connection)
                if server.state == "active" and self._select(server) in self._shards
            ]

        return self._on_write(read, now=now)

    def pin_host_keys(self, seen: Sequence[HostKeySeen], *, now: datetime) -> list[int] | None:
        """Pin first keys; ids of the servers pinned now, None while the database is away."""
        return self._on_write(lambda connection: pin_first_keys(connection, seen, now=now), now=now)

    def beat(self, now: datetime) -> Orders | None:
        """Heartbeat and orders over all shards; None while the database is away."""

        def beat_all(connection: psycopg.Connection[Any]) -> Orders:
            orders = [
                collector_registry.heartbeat(connection, shard=shard, hour=self._hour, now=now)
                for shard in self._shards
            ]
            return Orders(
                is_stop_requested=any(order.is_stop_requested for order in orders),
                lease_renewed_at=max(order.lease_renewed_at for order in orders),
                is_successor_open=all(order.is_successor_open for order in orders),
                is_predecessor_live=any(order.is_predecessor_live for order in orders),
            )

        orders = self._on_lock(beat_all, now=now)
        if self.is_superseded:
            return Orders(is_stop_requested=True, lease_renewed_at=now, is_successor_open=False)
        return orders

    def mark_fleet_open(self, now: datetime) -> bool:
        """Say that the fleet is open; False while the database is away."""

        def mark_all(connection: psycopg.Connection[Any]) -> bool:
            for shard in self._shards:
                collector_registry.mark_fleet_open(
                    connection, shard=shard, hour=self._hour, now=now
                )
            return True

        return bool(self._on_lock(mark_all, now=now))

    def commit(
        self,
        samples: Sequence[Sample],
        failures: Sequence[Failure],
        stretches: Sequence[Stretch],
        *,
        now: datetime,
        file_systems: Sequence[FileSystemUsage] = (),
    ) -> Committed | None:
        """Write one batch; None while the database is away, nothing was written then."""

        def write(connection: psycopg.Connection[Any]) -> Committed:
            return commit_batch(
                connection,
                samples=samples,
                failures=failures,
                stretches=stretches,
                status_of=self._status_of,
                shard=self._shards[0],
                file_systems=file_systems,
            )

        committed = self._on_write(write, now=now)
        if committed is not None and committed.notify_error is not None:
            self._log_notice(committed.notify_error)
        return committed

    def _log_notice(self, error: str) -> None:
        """Say that a notice failed, once per minute at most."""
        if time.monotonic() < self._next_notice_log:
            return
        self._next_notice_log = time.monotonic() + NOTICE_LOG_SECONDS
        logger.warning(
            "stored, but live consumers could not be told: %s; they look by themselves", error
        )

    def _on_lock(
        self, act: Callable[[psycopg.Connection[Any]], Result], *, now: datetime
    ) -> Result | None:
        """Run `act` on the connection that holds the locks."""
        return self._attempt(lambda: self._lock_connection, act, now=now)

    def _on_write(
        self, act: Callable[[psycopg.Connection[Any]], Result], *, now: datetime
    ) -> Result | None:
        """Run `act` on the connection that commits."""
        return self._attempt(lambda: self._write_connection, act, now=now)

    def _attempt(
        self,
        connection_of: Callable[[], psycopg.Connection[Any] | None],
        act: Callable[[psycopg.Connection[Any]], Result],
        *,
        now: datetime,
    ) -> Result | None:
        """Run `act`; when the connection is lost, drop both and try again later."""
        if connection_of() is None and not self._reopen(now):
            return None
        connection = connection_of()
        if connection is None:
            return None
        try:
            return act(connection)
        except LOST as error:
            logger.warning("database away: %s; samples are kept meanwhile", error)
            self._next_try = time.monotonic() + RETRY_SECONDS
            self._discard()
            return None

    def _reopen(self, now: datetime) -> bool:
        """Connect again, not more often than every RETRY_SECONDS."""
        if time.monotonic() < self._next_try or (
            self.is_superseded and self._write_connection is not None
        ):
            return False
        self._next_try = time.monotonic() + RETRY_SECONDS
        try:
            taken = None if self.is_superseded else self.open(now)
            if self.is_superseded or taken is not None:
                # Without its locks it may still store what it has read: keys forbid a double.
                self._write_connection = self._stack.enter_context(
                    self._postgres.connect(autocommit=True)
                )
        except (DatabaseError, psycopg.OperationalError) as error:
            logger.warning("database still away: %s", error)
            self._discard()
            return False
        if taken is not None:
            logger.error("shard %d was taken over by another collector meanwhile", taken)
            self.is_superseded = True
            return True
        logger.info("database is back")
        return True

    def _discard(self) -> None:
        """Close what is left of broken connections."""
        self._lock_connection = self._write_connection = None
        try:
            self._stack.close()
        except LOST as error:
            logger.debug("closing a broken connection: %s", error)
