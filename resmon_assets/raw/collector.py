"""The collector: the loop that reads every server of a shard at its instants, for one UTC hour.

Belongs here: when a server is asked, what becomes of its answer, when a batch is committed, when
the loop ends. Connections (Fleet), storage (Storage) and the clock come in through seams; this
module opens nothing.

Life of an hour: the run is requested before its hour begins, opens the fleet, reads every server
once at its last instant before the hour without storing it (CPU and network are differences), says
that its fleet is open, and stores from the first instant of its hour on. At the end it goes on
until its successor's fleet is open, at most `OVERTIME`. Instants of two collectors may overlap: the
key of a sample makes that harmless.

While the database is away every batch goes to the spool, and so it does as long as the spool is not
empty: what is stored is stored in order. Coverage is folded from what is written, at the moment it
is written, so that a batch that was dropped shows as a gap.
"""

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Protocol

from resmon_assets.raw.coverage import OK, CoverageTracker
from resmon_assets.raw.difference import clock_skew_seconds, sample_between
from resmon_assets.raw.schedule import (
    count_instants_between,
    instant_at_or_before,
    next_instant,
)
from resmon_resources.collector_registry import Orders
from resmon_resources.errors import Cause, ProbeUnreadable
from resmon_resources.fleet import (
    Answered,
    ChannelState,
    Event,
    HostKeySeen,
    Lost,
    Opened,
    OpenFailed,
    Target,
)
from resmon_resources.host_keys import HostKey
from resmon_resources.inventory import Server
from resmon_resources.probe.reading import FileSystem, Reading, parse_answer
from resmon_resources.sample_store import Committed, Failure, FileSystemUsage, Sample, Stretch
from resmon_resources.session_choice import ModeChosen
from resmon_resources.spool import Spool
from resmon_resources.spool_records import Batch

logger = logging.getLogger(__name__)

HOUR = timedelta(hours=1)
OVERTIME = timedelta(minutes=3)
"""A collector goes on past its hour this long while its successor's fleet is not open."""
LEASE_LIMIT = timedelta(minutes=10)
"""Without its supervisor for this long a collector ends: the sensor switched off in the UI ends
collection."""
ANSWER_LIMIT = timedelta(seconds=25)
"""An instant without an answer for this long is a failure; above the fleet's own limit of 20 s."""
DRAIN_LIMIT = timedelta(seconds=15)
"""How long the end waits for answers that were asked for."""
END_LIMIT = timedelta(seconds=10)
"""How long the end waits for a database that is away: a restart of it takes less. What is in the
spool then is left for the next collector, so that more waiting would gain nothing."""
MEMORY_END_LIMIT = timedelta(minutes=10)
"""The same when samples are in memory only, because the disk refused them."""
PREDECESSOR_LIMIT = timedelta(minutes=15)
"""Coverage waits at most this long for a collector that lives and has not stored all of its own."""
COMMIT_ROWS = 500
COMMIT_AFTER = timedelta(seconds=1)
BEAT_EVERY = timedelta(seconds=5)
INVENTORY_EVERY = timedelta(seconds=10)
"""Changes of the inventory take effect within this time, that is within two ticks of 30 s."""
REPORT_EVERY = timedelta(minutes=5)
FILE_SYSTEMS_EVERY = timedelta(minutes=5)
"""Windows, aligned to the hour, of which each has one row per server and mount."""
DRAIN_TRANSACTIONS = 8
"""Transactions from the spool in one turn of the loop, and how long a turn spends on them at most:
ticks wait meanwhile."""
DRAIN_TURN = timedelta(seconds=0.2)
DRAIN_RETRY = timedelta(seconds=1)
LONGEST_WAIT_SECONDS = 0.25
UNKNOWN_INTERVAL = timedelta(seconds=30)
"""Taken for a server of an adopted spool that is not in the inventory any more."""
ASK_EVERY_SECONDS = 0.05
"""Instants that come due within this time are asked together; 10,000 servers have one
every 3 ms."""


class Channels(Protocol):
    """What the collector needs of resmon_resources.fleet.Fleet."""

    def reconcile(self, targets: Iterable[Target]) -> None:
        """Make the set of connections equal to `targets`."""

    def request(self, server_id: int, tick: int, *, with_inodes: bool = False) -> bool:
        """Ask a server for an answer to `tick`; False without an open channel."""

    def retry_pull(self, server_ids: Iterable[int]) -> None:
        """Have servers try again to keep a session open."""

    def events(self, timeout_seconds: float) -> list[Event]:
        """Wait for at least one event, at most `timeout_seconds`."""

    def failure_of(self, server_id: int) -> ChannelState:
        """State and cause of a server without an open channel."""

    def settled(self) -> bool:
        """Whether every target is open or has failed once."""

    def close(self, *, timeout_seconds: float = 5) -> None:
        """Close all connections."""


class Storage(Protocol):
    """What the collector needs of PostgreSQL; see resmon_resources.collector_storage."""

    def servers(self, now: datetime) -> list[Server] | None:
        """Active servers of the shard, the same list when nothing changed; None when away."""

    def remember_modes(self, chosen: Sequence[ModeChosen], *, now: datetime) -> bool:
        """Remember how servers are read; False while the database is away."""

    def pin_host_keys(self, seen: Sequence[HostKeySeen], *, now: datetime) -> list[int] | None:
        """Pin first keys; ids of the servers pinned now, None while the database is away."""

    def beat(self, now: datetime) -> Orders | None:
        """Heartbeat and orders; None while the database is away."""

    def mark_fleet_open(self, now: datetime) -> bool:
        """Say that the fleet is open; False while the database is away."""

    def known_coverage(self, now: datetime) -> list[Stretch] | None:
        """Newest stretch of each server as stored; None while the database is away."""

    def commit(
        self,
        samples: Sequence[Sample],
        failures: Sequence[Failure],
        stretches: Sequence[Stretch],
        *,
        now: datetime,
        file_systems: Sequence[FileSystemUsage] = (),
    ) -> Committed | None:
        """Write one batch; None while the database is away, it is to be written again then."""


@dataclass
class Figures:
    """What a stretch of collecting did; one materialization event shows one of these.

    Attributes:
        started_at: start of the stretch.
        samples: samples committed.
        duplicates: samples that were stored already.
        failures: scheduled instants without a sample, by cause.
        not_asked: scheduled instants (count) at which a server was not asked, by reason: `opening`
            its connection, or the loop was `held_up` for longer than an interval.
        lateness_ms: milliseconds from each scheduled instant to its answer.
        lost: samples dropped because spool and memory were full while Postgres was away.
        spooled: samples that went to the spool.
        recovered: samples committed from the spool, of this collector or of a dead one; in
            `samples` as well.
        refused: rows that the database refused by themselves and that are kept in a file.
        too_late: rows of days that retention dropped, kept apart until these are restored.
        file_systems: rows of raw.filesystem_usage committed.
        file_system_servers: servers whose file systems were read.
        notify_failures: commits of which live consumers could not be told.
    """

    started_at: datetime
    samples: int = 0
    duplicates: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    not_asked: Counter[str] = field(default_factory=Counter)
    lateness_ms: list[float] = field(default_factory=list)
    servers: set[int] = field(default_factory=set)
    lost: int = 0
    spooled: int = 0
    recovered: int = 0
    refused: int = 0
    too_late: int = 0
    file_systems: int = 0
    file_system_servers: set[int] = field(default_factory=set)
    notify_failures: int = 0

    def add(self, other: "Figures") -> None:
        """Add another stretch to this one."""
        self.samples += other.samples
        self.duplicates += other.duplicates
        self.failures.update(other.failures)
        self.not_asked.update(other.not_asked)
        self.lateness_ms += other.lateness_ms
        self.servers |= other.servers
        self.lost += other.lost
        self.spooled += other.spooled
        self.recovered += other.recovered
        self.refused += other.refused
        self.too_late += other.too_late
        self.file_systems += other.file_systems
        self.file_system_servers |= other.file_system_servers
        self.notify_failures += other.notify_failures


@dataclass(frozen=True, slots=True)
class _Pending:
    """A server that was asked and has not answered yet."""

    instant: datetime
    asked_at: datetime
    is_stored: bool
    has_file_systems: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """How a collector ended: `reason`, `at`, and the figures of its whole life."""

    reason: str
    at: datetime
    figures: Figures


class Collector:
    """One collector of one shard and hour. `run()` returns when it is over."""

    def __init__(
        self,
        *,
        hour: datetime,
        fleet: Channels,
        storage: Storage,
        clock: Callable[[], datetime],
        report: Callable[[Figures, datetime], None],
        unwanted: Callable[[], str | None],
        on_fleet_open: Callable[[], None] = lambda: None,
        window: timedelta = HOUR,
        spool: Spool | None = None,
    ) -> None:
        """Prepare; nothing is opened before `run()`.

        Args:
            hour: start of the UTC hour (partition) to collect.
            fleet: connections.
            storage: database.
            clock: returns the present moment, aware UTC.
            report: called every five minutes with the figures since the last call, and once at the
                end.
            unwanted: a reason to end that the database does not know (run cancelled, code server
                gone), or None.
            on_fleet_open: called once, when every server is open or has failed once.
            window: how long is collected from `hour` on; benchmarks shorten it to see a handover.
            spool: where batches wait while the database is away; None keeps them in memory.
        """
        self._hour = hour
        self._end = hour + window
        self._fleet = fleet
        self._storage = storage
        self._clock = clock
        self._report = report
        self._unwanted = unwanted
        self._on_fleet_open = on_fleet_open
        self._spool = Spool(None) if spool is None else spool
        self._coverage: CoverageTracker | None = None
        # Server, instant and cause of what was committed before coverage could begin.
        self._notes: list[tuple[int, datetime, str]] = []
        self._servers: dict[int, Server] = {}
        self._loaded: list[Server] | None = None
        # Servers that were removed or paused meanwhile as well: the spool may hold samples of them.
        self._known: dict[int, Server] = {}
        self._previous: dict[int, Reading] = {}
        self._pending: dict[tuple[int, int], _Pending] = {}
        self._due: list[tuple[datetime, int]] = []
        self._scheduled: dict[int, datetime] = {}
        # Server -> the first instant at which it was not asked, until coverage knows of the server.
        self._passed_over: dict[int, datetime] = {}
        self._samples: list[Sample] = []
        self._file_systems: list[FileSystemUsage] = []
        # Server -> the five minutes of which it has told its file systems.
        self._measured: dict[int, datetime] = {}
        self._failures: list[Failure] = []
        self._first_keys: list[HostKeySeen] = []
        self._chosen: list[ModeChosen] = []
        # Servers that the inventory remembers as those that keep no session open.
        self._remembered: set[int] = set()
        self._stretches: dict[tuple[int, datetime], Stretch] = {}
        self._batch_since: datetime | None = None
        self._is_fleet_open = False
        self._is_successor_open = False
        started = clock()
        self._overtime_end = self._end + OVERTIME
        self._coverage_limit = max(started, hour) + PREDECESSOR_LIMIT
        self._next_beat = started
        self._next_inventory = started
        self._next_report = started + REPORT_EVERY
        self._next_expiry = started
        self._lost_before = 0
        self._next_drain = started
        # Nothing of the spool is written before a beat tells whose turn it is to write coverage.
        self._is_beating = False
        self._figures = Figures(started_at=started)
        self._total = Figures(started_at=started)

    def run(self) -> Ended:
        """Collect until the hour is over and handed on, or the collector is unwanted.

        Whatever ends it, an interruption of the run included, answers that arrived are committed
        and connections are closed.
        """
        reason = "interrupted"
        try:
            self._spool.open()
            while True:
                now = self._clock()
                ended = self._step(now)
                if ended is not None:
                    reason = ended
                    break
            self._drain()
            self._await_database()
        finally:
            at = self._clock()
            self._finish(at)
        return Ended(reason=reason, at=at, figures=self._total)

    def _step(self, now: datetime) -> str | None:
        """One turn of the loop; the reason to end, or None."""
        if now >= self._next_inventory:
            self._reload(now)
        if now >= self._next_beat:
            ended = self._beat(now)
            if ended is not None:
                return ended
        if now >= self._overtime_end or (now >= self._end and self._is_successor_open):
            # The successor stores from the end on; what came due since the last turn is still ours.
            self._ask_due(now, before=self._end)
            return "hour over"
        self._ask_due(now)
        for event in self._fleet.events(self._wait_seconds(now)):
            self._handle(event)
        self._keep_up(self._clock())
        return None

    def _keep_up(self, now: datetime) -> None:
        """What is done when its time has come: pins, expiry, fleet open, commit, report."""
        if self._first_keys:
            self._pin_first_keys(now)
        if self._chosen and self._storage.remember_modes(self._chosen, now=now):
            self._chosen = []
        if now >= self._next_expiry:
            self._expire(now)
            self._next_expiry = now + timedelta(seconds=1)
        if not self._is_fleet_open and self._fleet.settled():
            self._is_fleet_open = self._storage.mark_fleet_open(now)
            if self._is_fleet_open:
                logger.info("fleet open: %d servers", len(self._servers))
                self._on_fleet_open()
        if self._batch_since is not None and (
            len(self._samples) >= COMMIT_ROWS or now - self._batch_since >= COMMIT_AFTER
        ):
            self._commit(now)
        if not self._spool.is_empty:
            self._drain_spool(now)
        if now >= self._next_report:
            self._flush_report(now)

    def _wait_seconds(self, now: datetime) -> float:
        """Until the next instant, but never long enough to miss a heartbeat or a commit."""
        if not self._due:
            return LONGEST_WAIT_SECONDS
        wait = (self._due[0][0] - now).total_seconds()
        return min(max(wait, ASK_EVERY_SECONDS), LONGEST_WAIT_SECONDS)

    # Inventory and orders

    def _reload(self, now: datetime) -> None:
        """Take over changes of the inventory, and spools whose collector has died."""
        self._next_inventory = now + INVENTORY_EVERY
        if self._coverage is not None:
            self._spool.adopt()
        servers = self._storage.servers(now)
        if servers is None or servers is self._loaded:
            return
        self._loaded = servers
        before = self._servers
        self._servers = {server.server_id: server for server in servers}
        self._follow_modes(servers)
        if before == self._servers:
            return
        self._known |= self._servers
        self._fleet.reconcile(target_of(server) for server in servers)
        for server in servers:
            known = before.get(server.server_id)
            if known is None or known.interval_seconds != server.interval_seconds:
                self._schedule(server, after=max(now, self._hour - _interval(server)))
        for server_id in before.keys() - self._servers.keys():
            self._scheduled.pop(server_id, None)
            self._previous.pop(server_id, None)
            self._passed_over.pop(server_id, None)
            self._measured.pop(server_id, None)
        logger.info("inventory: %d active servers (%d before)", len(self._servers), len(before))

    def _follow_modes(self, servers: Iterable[Server]) -> None:
        """Try a kept session again where somebody has made the inventory forget."""
        remembered = {server.server_id for server in servers if server.exec_since is not None}
        forgotten, self._remembered = self._remembered - remembered, remembered
        if forgotten:
            self._fleet.retry_pull(forgotten)

    def _schedule(self, server: Server, *, after: datetime) -> None:
        """Queue the server's next instant after `after`."""
        instant = next_instant(
            after, server_id=server.server_id, interval_seconds=server.interval_seconds
        )
        self._scheduled[server.server_id] = instant
        heapq.heappush(self._due, (instant, server.server_id))

    def _beat(self, now: datetime) -> str | None:
        """Heartbeat; the reason to end, or None."""
        orders = self._hear_orders(now)
        unwanted = self._unwanted()
        if unwanted is not None:
            return unwanted
        if orders is None:
            # A successor cannot be started now; who collects goes on until it can.
            self._overtime_end = max(self._overtime_end, now + OVERTIME)
            return None
        if orders.is_stop_requested:
            return "stop requested"
        if now - orders.lease_renewed_at > LEASE_LIMIT:
            return "lease expired: the sensor collect_raw_sensor has not renewed it for 10 minutes"
        return None

    def _hear_orders(self, now: datetime) -> Orders | None:
        """Beat; what is told about the collectors before and after; None: the database is away."""
        self._next_beat = now + BEAT_EVERY
        orders = self._storage.beat(now)
        self._is_beating = orders is not None
        if orders is not None:
            self._is_successor_open = orders.is_successor_open
            if not orders.is_predecessor_live:
                self._begin_coverage(now)
        return orders

    # Asking and answers

    def _ask_due(self, now: datetime, *, before: datetime | None = None) -> None:
        """Ask every server whose instant has come, and lies before `before` when that is given."""
        held_up = 0
        while self._due and self._due[0][0] <= now:
            if before is not None and self._due[0][0] >= before:
                break
            instant, server_id = heapq.heappop(self._due)
            server = self._servers.get(server_id)
            if server is None or self._scheduled.get(server_id) != instant:
                continue  # removed, or rescheduled with another interval
            self._schedule(server, after=max(instant, now - _interval(server)))
            held_up += self._skip(server, after=instant, before=before)
            is_stored = instant >= self._hour
            tick = int(instant.timestamp()) // server.interval_seconds
            # Until the window has its rows: an answer may be lost, or a hung mount hide them all.
            with_inodes = is_stored and self._measured.get(server_id) != _window_of(instant)
            obstacle = self._ask(server_id, tick, with_inodes=with_inodes)
            if obstacle is None:
                self._pending[server_id, tick] = _Pending(instant, now, is_stored, with_inodes)
            elif is_stored and obstacle.cause is not None:
                self._fail(
                    server, instant, obstacle.cause, obstacle.detail, is_final=obstacle.is_final
                )
            elif is_stored:
                self._pass_over(server, instant, 1, reason="opening")
        if held_up:
            logger.warning("held up: %d instants passed before they could be asked for", held_up)

    def _ask(self, server_id: int, tick: int, *, with_inodes: bool) -> ChannelState | None:
        """Ask a server; None when it is asked, else the state that kept it from being."""
        while not self._fleet.request(server_id, tick, with_inodes=with_inodes):
            state = self._fleet.failure_of(server_id)
            if state.status != "open":
                return state
            # It opened between the two questions: an instant without a word would be lost.
        return None

    def _skip(self, server: Server, *, after: datetime, before: datetime | None) -> int:
        """Count the instants between one that is asked now and the next that will be."""
        upcoming = self._scheduled[server.server_id]
        if before is not None:
            upcoming = min(upcoming, before)
        if upcoming - after <= _interval(server):
            return 0
        first = max(after + _interval(server), self._hour)
        count = count_instants_between(
            first, upcoming, server_id=server.server_id, interval_seconds=server.interval_seconds
        )
        if count:
            self._pass_over(server, first, count, reason="held_up")
        return count

    def _pass_over(self, server: Server, first: datetime, count: int, *, reason: str) -> None:
        """A server was not asked at `count` instants from `first` on; coverage shows the gap."""
        self._figures.not_asked[reason] += count
        self._passed_over.setdefault(server.server_id, first)

    def _handle(self, event: Event) -> None:
        """Turn one event of the fleet into a sample, a failure or a log line."""
        if isinstance(event, Answered):
            self._answer(event)
        elif isinstance(event, HostKeySeen):
            self._first_keys.append(event)
            logger.warning(
                "server %s: host key accepted at first use, to be pinned: %s",
                self._name(event.server_id),
                HostKey.parse(event.key),
            )
        elif isinstance(event, ModeChosen):
            self._chosen.append(event)
            how = "a session per tick" if event.mode == "exec" else "one session that is kept open"
            name = self._name(event.server_id)
            logger.warning("server %s is read by %s: %s", name, how, event.reason)
        elif isinstance(event, Opened):
            logger.debug("server %s open after %.2f s", self._name(event.server_id), event.seconds)
        elif isinstance(event, OpenFailed):
            if event.is_final:
                logger.warning(
                    "server %s: %s at %s: %s",
                    self._name(event.server_id),
                    event.cause,
                    event.step,
                    event.detail,
                )
        elif isinstance(event, Lost):
            logger.warning(
                "server %s: connection lost (%s): %s",
                self._name(event.server_id),
                event.cause,
                event.detail,
            )
            for key in [key for key in self._pending if key[0] == event.server_id]:
                pending = self._pending.pop(key)
                self._fail_pending(key[0], pending, event.cause, event.detail)

    def _pin_first_keys(self, now: datetime) -> None:
        """Store the keys of first uses; until that is done the fleet alone holds to them."""
        if self._storage.pin_host_keys(self._first_keys, now=now) is not None:
            self._first_keys = []

    def _answer(self, event: Answered) -> None:
        """A server answered: make a sample of it, or a failure when it cannot be read."""
        pending = self._pending.pop((event.server_id, event.tick), None)
        server = self._servers.get(event.server_id)
        if server is None:
            return
        try:
            reading = parse_answer(event.answer)
        except ProbeUnreadable as error:
            if pending is not None:
                cause: Cause = "unsupported" if event.answer.unsupported else "unreadable"
                self._fail_pending(event.server_id, pending, cause, str(error), is_final=True)
            return
        previous = self._previous.get(event.server_id)
        self._previous[event.server_id] = reading
        if pending is None or not pending.is_stored:
            return
        self._samples.append(
            sample_between(
                previous,
                reading,
                server_id=server.server_id,
                organization_id=server.organization_id,
                collected_at=pending.instant,
                clock_skew_seconds=clock_skew_seconds(reading, event.received_at),
            )
        )
        if pending.has_file_systems and reading.file_systems:
            self._keep_file_systems(server, pending.instant, reading.file_systems)
        self._figures.lateness_ms.append((event.received_at - pending.instant.timestamp()) * 1000.0)
        self._note(server)

    def _keep_file_systems(
        self, server: Server, instant: datetime, found: Iterable[FileSystem]
    ) -> None:
        """Queue the file systems of an instant; the window has its rows then."""
        self._measured[server.server_id] = _window_of(instant)
        self._figures.file_system_servers.add(server.server_id)
        self._file_systems += usages_of(server, instant, found)

    def _fail_pending(
        self,
        server_id: int,
        pending: _Pending,
        cause: Cause,
        detail: str,
        *,
        is_final: bool = False,
    ) -> None:
        """An instant that was asked for came to nothing."""
        server = self._servers.get(server_id)
        if server is not None and pending.is_stored:
            self._fail(server, pending.instant, cause, detail, is_final=is_final)

    def _fail(
        self, server: Server, instant: datetime, cause: Cause, detail: str, *, is_final: bool
    ) -> None:
        """Record a scheduled instant without a sample."""
        self._failures.append(
            Failure(server.server_id, server.organization_id, instant, cause, detail, is_final)
        )
        self._figures.failures[cause] += 1
        self._note(server)

    def _note(self, server: Server) -> None:
        """Figures of one instant; starts the clock of the batch."""
        self._figures.servers.add(server.server_id)
        if self._batch_since is None:
            self._batch_since = self._clock()

    def _expire(self, now: datetime) -> None:
        """Instants that were asked for too long ago become failures."""
        late = [
            key for key, pending in self._pending.items() if now - pending.asked_at > ANSWER_LIMIT
        ]
        for key in late:
            detail = f"no answer within {ANSWER_LIMIT.seconds} s; the connection is still open"
            self._fail_pending(key[0], self._pending.pop(key), "timeout", detail)

    def _name(self, server_id: int) -> str:
        """Name, host and organization of a server for the log."""
        server = self._servers.get(server_id)
        if server is None:
            return f"#{server_id} (removed)"
        return f"{server.name} ({server.host}:{server.port}, {server.organization_name})"

    # Storing and ending

    def _begin_coverage(self, now: datetime) -> None:
        """Go on from the stored coverage, once the collector before has stored all of its own.

        What a dead one left in its spool is adopted first: it is folded before anything else.
        """
        if self._coverage is not None:
            return
        if now < self._coverage_limit and self._spool.has_live_predecessor():
            return
        known = self._storage.known_coverage(now)
        if known is not None:
            self._coverage = CoverageTracker(known)
            notes, self._notes = self._notes, []
            self._fold(notes)
            self._spool.adopt()

    def _fold(self, notes: Iterable[tuple[int, datetime, str]]) -> None:
        """Fold instants into coverage, or keep them until it has begun."""
        if self._coverage is None:
            self._notes += notes
            return
        for server_id, instant, cause in sorted(notes, key=itemgetter(1)):
            server = self._servers.get(server_id) or self._known.get(server_id)
            self._coverage.record(
                server_id,
                instant,
                cause=cause,
                interval=UNKNOWN_INTERVAL if server is None else _interval(server),
                active_since=instant if server is None else server.changed_at,
                passed_over_since=self._passed_over.pop(server_id, None),
            )

    def _keep_stretches(self, *, with_grown: bool) -> list[Stretch]:
        """Stretches that are to be stored: those that turned, and when asked those that grew."""
        if self._coverage is not None:
            changed = self._coverage.drain_turned()
            if with_grown:
                changed += self._coverage.drain_grown()
            self._stretches |= {(item.server_id, item.started_at): item for item in changed}
        return list(self._stretches.values())

    def _commit(self, now: datetime, *, with_grown: bool = False) -> None:
        """Write what has come; into the spool while the database is away or older ones wait."""
        batch = Batch(self._samples, self._failures, self._file_systems)
        self._samples, self._failures, self._file_systems = [], [], []
        self._batch_since = None
        if not self._spool.is_empty or not self._write(batch, now, with_grown=with_grown):
            self._spool.append(batch)
            self._figures.spooled += len(batch.samples)
            self._count_lost()
            if with_grown:
                self._write(Batch(), now, with_grown=True)

    def _write(self, batch: Batch, now: datetime, *, with_grown: bool = False) -> bool:
        """Write a batch and what coverage makes of it; False while the database is away."""
        notes = notes_of(batch)
        if self._coverage is not None:
            self._fold(notes)
        committed = self._storage.commit(
            batch.samples,
            batch.failures,
            self._keep_stretches(with_grown=with_grown),
            now=now,
            file_systems=batch.file_systems,
        )
        if committed is None:
            return False
        if self._coverage is None:
            self._fold(notes)
        self._stretches = {}
        self._figures.samples += committed.inserted
        self._figures.duplicates += committed.duplicates
        self._figures.file_systems += committed.file_systems
        self._figures.notify_failures += committed.notify_error is not None
        self._figures.refused += committed.refused
        self._figures.too_late += committed.too_late
        return True

    def _drain_spool(self, now: datetime) -> bool:
        """Write the oldest batches of the spool; a few, so that ticks do not wait.

        Returns:
            False while the database is away, and for DRAIN_RETRY after that.
        """
        if now < self._next_drain or not self._is_beating:
            return False
        until = now + DRAIN_TURN
        for _ in range(DRAIN_TRANSACTIONS):
            batch = self._spool.head(rows=COMMIT_ROWS)
            if batch is None:
                break
            before = self._figures.samples
            if not self._write(batch, now):
                self._next_drain = now + DRAIN_RETRY
                return False
            self._spool.remove_head()
            self._figures.recovered += self._figures.samples - before
            if self._clock() >= until:
                break
        return True

    def _count_lost(self) -> None:
        """Take over what the spool has dropped."""
        lost = self._spool.lost_samples - self._lost_before
        self._lost_before = self._spool.lost_samples
        self._figures.lost += lost

    def _flush_report(self, now: datetime) -> None:
        """Store open stretches, hand the figures out and start new ones."""
        self._begin_coverage(now)
        self._commit(now, with_grown=True)
        self._next_report = now + REPORT_EVERY
        figures, self._figures = self._figures, Figures(started_at=now)
        self._total.add(figures)
        self._report(figures, now)

    def _drain(self) -> None:
        """Wait for the answers that were asked for; those that do not come are failures."""
        deadline = self._clock() + DRAIN_LIMIT
        while self._pending and self._clock() < deadline:
            for event in self._fleet.events(LONGEST_WAIT_SECONDS):
                self._handle(event)
        detail = f"no answer within {DRAIN_LIMIT.seconds} s when the collector ended"
        while self._pending:
            (server_id, _), pending = self._pending.popitem()
            self._fail_pending(server_id, pending, "timeout", detail)

    def _await_database(self) -> None:
        """Commit what has come; while older batches wait, write them until END_LIMIT."""
        begun = self._clock()
        self._commit(begun)
        while not self._spool.is_empty:
            now = self._clock()
            limit = MEMORY_END_LIMIT if self._spool.memory_samples else END_LIMIT
            if now >= begun + limit:
                return
            if now >= self._next_beat:
                self._hear_orders(now)
            if not self._drain_spool(now):
                for event in self._fleet.events(LONGEST_WAIT_SECONDS):
                    self._handle(event)
                self._commit(self._clock())

    def _finish(self, now: datetime) -> None:
        """Commit, report, close; in every case. What stays in the spool, or is lost, is said."""
        try:
            if self._first_keys:
                self._pin_first_keys(now)
            if self._chosen:
                self._storage.remember_modes(self._chosen, now=now)
            self._commit(now, with_grown=True)
            if not self._spool.is_empty:
                logger.warning("samples stay in the spool for the next collector")
            lost = self._spool.close()
            if lost:
                logger.error("%d samples are lost: neither database nor disk took them", lost)
            self._count_lost()
            self._flush_report(now)
        finally:
            self._fleet.close()


def notes_of(batch: Batch) -> list[tuple[int, datetime, str]]:
    """Server, scheduled instant and cause (`ok` or of the failure) of all instants of a batch."""
    return [
        *((sample.server_id, sample.collected_at, OK) for sample in batch.samples),
        *((item.server_id, item.attempted_at, item.cause) for item in batch.failures),
    ]


def target_of(server: Server) -> Target:
    """What a connection to a server depends on; another target means another connection."""
    return Target(
        server_id=server.server_id,
        name=server.name,
        transport=server.transport,
        host=server.host,
        port=server.port,
        user_name=server.user_name,
        identity_file=server.identity_file,
        proxy_jump=server.proxy_jump,
        host_key=server.host_key,
        exec_since=server.exec_since,
    )


def usages_of(
    server: Server, instant: datetime, found: Iterable[FileSystem]
) -> list[FileSystemUsage]:
    """Rows of the file systems that a server told at an instant."""
    return [
        FileSystemUsage(
            server_id=server.server_id,
            organization_id=server.organization_id,
            collected_at=instant,
            mount=fs.mount,
            device=fs.device,
            type=fs.type,
            total_bytes=fs.total_bytes,
            used_bytes=fs.used_bytes,
            available_bytes=fs.available_bytes,
            inodes_total=fs.inodes_total,
            inodes_used=fs.inodes_used,
        )
        for fs in found
    ]


def latest_instant(server: Server, now: datetime) -> datetime:
    """The server's scheduled instant at or before `now`, aware UTC."""
    return instant_at_or_before(
        now, server_id=server.server_id, interval_seconds=server.interval_seconds
    )


def _window_of(instant: datetime) -> datetime:
    """Start of the five minutes of UTC in which an instant lies."""
    return instant - (instant - datetime(1970, 1, 1, tzinfo=UTC)) % FILE_SYSTEMS_EVERY


def _interval(server: Server) -> timedelta:
    """Time between two scheduled instants."""
    return timedelta(seconds=server.interval_seconds)
