"""The collector's two connections: one holds its locks and beats, one commits; both come back.

Belongs here: opening, losing and reopening connections, and what an error of the database means:
it is away (try again later), or it refuses a row (keep that apart, store the others). The
statements are in collector_registry and sample_store.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

import psycopg

from resmon_resources import collector_registry
from resmon_resources.channel_store import remember_modes
from resmon_resources.collector_registry import Orders
from resmon_resources.database import Database
from resmon_resources.errors import DatabaseError
from resmon_resources.host_key_store import pin_first_keys
from resmon_resources.host_keys import HostKeySeen
from resmon_resources.inventory import Server, inventory_fingerprint, list_servers
from resmon_resources.sample_store import (
    Committed,
    Failure,
    FileSystemUsage,
    Judge,
    NewRows,
    Sample,
    Status,
    Stretch,
    commit_batch,
    ensure_raw_partitions,
    latest_stretches,
)
from resmon_resources.session_choice import ModeChosen
from resmon_resources.spool import RefusedRows, Row
from resmon_resources.too_late import ensure_unless_pruned, keep_too_late, pruned_days

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

RETRY_SECONDS = 2.0
"""Pause between two attempts to reconnect; the loop goes on ticking meanwhile."""
NOTICE_LOG_SECONDS = 60.0
"""Pause between two log lines about notices that fail; each of them is counted."""
SAY_AGAIN_SECONDS = 60.0
"""While the database is away the log has one line in this time."""
SESSION_LIMITS = "set lock_timeout = '5s'; set statement_timeout = '30s'"
"""A batch waits in the spool rather than in a statement: the loop that ticks waits with it."""

REFUSED = (psycopg.DataError, psycopg.IntegrityError, UnicodeError)
"""Errors that a row causes: it is refused at every attempt. All others of psycopg mean that the
database is away: stopped, full, read-only, without a table; the same rows may be stored later."""


class Watch(Protocol):
    """What the storage needs of who judges samples: resmon_assets.alert_watch.AlertWatch."""

    def follow(
        self, connection: psycopg.Connection[Any], servers: Sequence[Server], *, now: datetime
    ) -> None:
        """Take over rules and conditions; `servers` is the same list when nothing changed."""

    def judge(
        self,
        connection: psycopg.Connection[Any],
        new: NewRows,
        *,
        now: datetime,
        is_part: bool = False,
    ) -> Callable[[], None]:
        """Judge rows in their transaction; returns what to call after the commit."""


class CollectorStorage:
    """Storage of one collector; every method returns None (or False) while the database is away.

    Attributes:
        is_superseded: another session took the lock while ours was lost; the collector must end.
        is_away: the last attempt found the database away.
    """

    def __init__(
        self,
        postgres: Database,
        *,
        shards: Sequence[int],
        hour: datetime,
        run_id: str,
        select: Callable[[Server], int],
        status_of: Callable[[Sample], Status],
        refused: RefusedRows | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Prepare; opens nothing.

        Args:
            postgres: where to connect.
            shards: shards to collect; all their locks are claimed.
            hour: start of the UTC hour.
            run_id: Dagster run.
            select: shard of a server.
            status_of: rule that turns a sample into a status.
            refused: keeps rows that the database refuses; None only counts them.
            watch: judges what is stored; None: nobody does.
        """
        self._postgres = postgres
        self._shards = tuple(shards)
        self._hour = hour
        self._run_id = run_id
        self._select = select
        self._status_of = status_of
        self._refused = refused or RefusedRows(None)
        self._watch = watch
        self._is_following = False
        self._days: set[date] = set()
        self._stack = ExitStack()
        self._lock_connection: psycopg.Connection[Any] | None = None
        self._write_connection: psycopg.Connection[Any] | None = None
        self._fingerprint: tuple[int, int] | None = None
        self._active: list[Server] = []
        self._servers: list[Server] = []
        self._next_try = 0.0
        self._next_notice_log = 0.0
        self._next_say = 0.0
        self._has_said_away = False
        self.is_superseded = False
        self.is_away = False

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
        write.execute(SESSION_LIMITS)
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
        """Active servers of the shards; None while the database is away.

        The same list again, as long as nothing has changed. Alert rules are followed with it.
        """
        return self._on_write(lambda connection: self._read_servers(connection, now), now=now)

    def _read_servers(self, connection: psycopg.Connection[Any], now: datetime) -> list[Server]:
        """Active servers of the shards; who judges learns of all of them."""
        # Before the servers: what changes in between shows as another fingerprint next time.
        fingerprint = inventory_fingerprint(connection)
        if fingerprint != self._fingerprint:
            self._active = [one for one in list_servers(connection) if one.state == "active"]
            self._servers = [one for one in self._active if self._select(one) in self._shards]
            self._fingerprint = fingerprint
        if self._watch is not None:
            self._watch.follow(connection, self._active, now=now)
            self._is_following = True
        return self._servers

    def pin_host_keys(self, seen: Sequence[HostKeySeen], *, now: datetime) -> list[int] | None:
        """Pin first keys; ids of the servers pinned now, None while the database is away."""
        return self._on_write(lambda connection: pin_first_keys(connection, seen, now=now), now=now)

    def remember_modes(self, chosen: Sequence[ModeChosen], *, now: datetime) -> bool:
        """Remember how servers are read; False while the database is away."""

        def remember(connection: psycopg.Connection[Any]) -> bool:
            remember_modes(connection, chosen)
            return True

        return bool(self._on_write(remember, now=now))

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
        """Write one batch; None while the database is away, it is to be written again then.

        A row that the database refuses by itself is kept apart (see RefusedRows) and counted; the
        others of its batch are stored. Partitions of days long past are made when they are missing;
        rows of a day that retention dropped are kept apart until it is restored (too_late.py).
        """
        refused: list[tuple[Row, Exception]] = []
        instants = [
            *(sample.collected_at for sample in samples),
            *(item.collected_at for item in file_systems),
        ]

        def write(connection: psycopg.Connection[Any]) -> Committed:
            if self._watch is not None and not self._is_following:
                self._read_servers(connection, now)
            gone = pruned_days(connection, instants, now=now)
            timely = [row for row in samples if row.collected_at.date() not in gone]
            timely_systems = [row for row in file_systems if row.collected_at.date() not in gone]
            self._ensure_days(connection, [*timely, *timely_systems], now=now)
            try:
                committed = commit_batch(
                    connection,
                    samples=timely,
                    failures=failures,
                    stretches=stretches,
                    status_of=self._status_of,
                    shard=self._shards[0],
                    file_systems=timely_systems,
                    judge=self._judge(now),
                )
            except REFUSED:
                if pruned_days(connection, instants, now=now) != gone:
                    # Retention has dropped a day since it was asked for.
                    return write(connection)
                refused.clear()
                rows: list[Row] = [*timely, *failures, *stretches, *timely_systems]
                rows.sort(key=_instant_of)
                committed = self._write_apart(connection, rows, refused, now=now)
            if not gone:
                return committed
            late: list[Sample | FileSystemUsage] = [
                *(row for row in samples if row.collected_at.date() in gone),
                *(row for row in file_systems if row.collected_at.date() in gone),
            ]
            known = len(refused)
            too_late = _keep_too_late(connection, late, refused, now=now)
            committed = replace(committed, refused=committed.refused + len(refused) - known)
            return replace(committed, too_late=too_late)

        committed = self._on_write(write, now=now)
        if committed is not None and refused:
            self._refused.keep(refused, now=now)
        if committed is not None and committed.notify_error is not None:
            self._log_notice(committed.notify_error)
        return committed

    def _judge(self, now: datetime, *, is_part: bool = False) -> Judge | None:
        """Who judges the rows of a transaction; None: nobody."""
        if self._watch is None:
            return None
        return partial(self._watch.judge, now=now, is_part=is_part)

    def _log_notice(self, error: str) -> None:
        """Say that a notice failed, once per minute at most."""
        if time.monotonic() < self._next_notice_log:
            return
        self._next_notice_log = time.monotonic() + NOTICE_LOG_SECONDS
        logger.warning(
            "stored, but live consumers could not be told: %s; they look by themselves", error
        )

    def _write_apart(
        self,
        connection: psycopg.Connection[Any],
        rows: Sequence[Row],
        refused: list[tuple[Row, Exception]],
        *,
        now: datetime,
    ) -> Committed:
        """Write rows of which some are refused: halves, each in its transaction, and so on.

        They are in the order of their instants, so that what they mean is judged in that order.
        """
        middle = (len(rows) + 1) // 2
        done = Committed(inserted=0, duplicates=0)
        for part in (rows[:middle], rows[middle:]):
            try:
                written = commit_batch(
                    connection,
                    samples=[row for row in part if isinstance(row, Sample)],
                    failures=[row for row in part if isinstance(row, Failure)],
                    stretches=[row for row in part if isinstance(row, Stretch)],
                    status_of=self._status_of,
                    shard=self._shards[0],
                    file_systems=[row for row in part if isinstance(row, FileSystemUsage)],
                    judge=self._judge(now, is_part=True),
                )
            except REFUSED as error:
                if len(part) == 1:
                    refused.append((part[0], error))
                    written = Committed(inserted=0, duplicates=0, refused=1)
                else:
                    written = self._write_apart(connection, part, refused, now=now)
            done = Committed(
                inserted=done.inserted + written.inserted,
                duplicates=done.duplicates + written.duplicates,
                file_systems=done.file_systems + written.file_systems,
                refused=done.refused + written.refused,
                notify_error=done.notify_error or written.notify_error,
            )
        return done

    def _ensure_days(
        self,
        connection: psycopg.Connection[Any],
        rows: Sequence[Sample | FileSystemUsage],
        *,
        now: datetime,
    ) -> None:
        """Make day partitions that `open` has not made: a spool may be days old."""
        for day in sorted({row.collected_at.date() for row in rows} - self._days):
            try:
                ensure_unless_pruned(connection, day, now=now)
            except REFUSED as error:
                logger.warning("no partition of raw could be made for %s: %s", day, error)
            self._days.add(day)

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
        """Run `act`; when the database is away, say so and try again later.

        A connection that broke takes the other with it; one that lives (a full disk, a database
        that is read-only) is kept, and with it the collector's locks.
        """
        if time.monotonic() < self._next_try:
            return None
        if connection_of() is None and not self._reopen(now):
            return None
        connection = connection_of()
        if connection is None:
            return None
        try:
            result = act(connection)
        except (DatabaseError, psycopg.Error) as error:
            self._say("database away: %s; samples are spooled meanwhile", error)
            self._next_try = time.monotonic() + RETRY_SECONDS
            if connection.closed:
                self._discard()
            return None
        self.is_away = False
        if self._has_said_away:
            self._has_said_away = False
            logger.info("database is back")
        return result

    def _reopen(self, now: datetime) -> bool:
        """Connect again, not more often than every RETRY_SECONDS."""
        if self.is_superseded and self._write_connection is not None:
            return False
        self._next_try = time.monotonic() + RETRY_SECONDS
        try:
            taken = None if self.is_superseded else self.open(now)
            if taken is not None and self._end_own_session(taken):
                return False
            if self.is_superseded or taken is not None:
                # Without its locks it may still store what it has read: keys forbid a double.
                self._write_connection = self._stack.enter_context(
                    self._postgres.connect(autocommit=True)
                )
        except (DatabaseError, psycopg.Error) as error:
            self._say("database still away: %s", error)
            self._discard()
            return False
        self._next_try = 0.0
        if taken is not None:
            logger.error("shard %d was taken over by another collector meanwhile", taken)
            self.is_superseded = True
        return True

    def _end_own_session(self, shard: int) -> bool:
        """Whether who holds the shard is this run's own broken session; ends that session.

        The server may not have noticed yet that the network dropped it.
        """
        with self._postgres.connect(autocommit=True) as connection:
            rows = collector_registry.collectors_of(connection, hours=[self._hour])
            is_own = any(row.shard == shard and row.run_id == self._run_id for row in rows)
            if is_own:
                collector_registry.fence(connection, shard=shard, hour=self._hour)
        return is_own

    def _say(self, message: str, error: Exception) -> None:
        """The database is away: a line in the log at first, then one a minute."""
        self.is_away = True
        now = time.monotonic()
        if now >= self._next_say:
            self._next_say = now + SAY_AGAIN_SECONDS
            self._has_said_away = True
            logger.warning(message, error)

    def _discard(self) -> None:
        """Close what is left of broken connections."""
        self._lock_connection = self._write_connection = None
        try:
            self._stack.close()
        except psycopg.Error as error:
            logger.debug("closing a broken connection: %s", error)


def _instant_of(row: Row) -> datetime:
    """When a row, or what it tells of, came to its end."""
    if isinstance(row, Stretch):
        return row.ended_at
    return row.attempted_at if isinstance(row, Failure) else row.collected_at


def _keep_too_late(
    connection: psycopg.Connection[Any],
    rows: Sequence[Sample | FileSystemUsage],
    refused: list[tuple[Row, Exception]],
    *,
    now: datetime,
) -> int:
    """Keep rows of pruned days, one by one when some are refused; how many were new."""
    try:
        return keep_too_late(connection, rows, now=now)
    except REFUSED as error:
        if len(rows) == 1:
            refused.append((rows[0], error))
            return 0
        return sum(_keep_too_late(connection, [row], refused, now=now) for row in rows)
