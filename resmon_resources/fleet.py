"""The fleet: one open channel per server, kept open, asked, and reopened when it breaks.

Belongs here: which connection is opened when, by whom and how often again; ticks in, events out;
and `open_once` for a single server. Knows nothing of what an answer says, of the inventory or of
the database. Imports channels, ssh and known_hosts.

Threads: the caller's; one loop that owns every open channel and every timer, and in which the SSH
transports run (ssh_hub.py); up to `workers` that log in and as many for name lookups, which may
wait; one closer. A member's state is changed
by the loop only. Callers hand work over through an inbox and read single fields. Connecting and the
wait for a greeting are the loop's, without waiting; from the key exchange on a server that hangs
costs a worker until its limit, and never the loop.
"""

import functools
import heapq
import logging
import math
import queue
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from resmon_resources.channels import (
    PRIMING_TICK,
    Attempt,
    Limits,
    LocalChannel,
    ProbeChannel,
    Step,
    Target,
)
from resmon_resources.errors import Cause, CollectionError, ResmonError
from resmon_resources.host_keys import HostKeySeen
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.framing import Answer
from resmon_resources.session_choice import ModeChosen
from resmon_resources.ssh import (
    Address,
    Dial,
    IdentityFiles,
    first_stop,
    is_numeric,
    no_thread,
    open_ssh,
    resolve,
    shake_hands,
)
from resmon_resources.ssh_hub import Hub

__all__ = [
    "Answered",
    "ChannelState",
    "Event",
    "Fleet",
    "HostKeySeen",
    "Limits",
    "Lost",
    "ModeChosen",
    "OpenFailed",
    "Opened",
    "RetryPolicy",
    "Target",
    "open_once",
]

_LOG = logging.getLogger(__name__)

HANDSHAKES_PER_SECOND = 125.0
"""Openings begun per second: 10,000 take 80 s and about half a core."""

CATCH_UP_SECONDS = 0.25
"""Openings that the loop came too late for are made up for, those of this time at most."""

MAXIMUM_DIALS = 512
"""Connections being made at the same time; each costs a file descriptor, none a thread."""

LINGER_FROM_MEMBERS = 200
LINGER_SECONDS = 0.01
"""With so many members and none being opened, the loop lets this much come before it looks again:
the two packets of an answer, and those of other servers, then cost one turn."""

_JOBS_PER_WORKER = 3

HUB_END_SECONDS = 2.0
"""How long transports that were cut may take to end when the fleet is closed."""

MISSES_UNTIL_LOST = 2
"""Ticks in a row without an answer after which a channel is given up."""

_POSTPONED_SECONDS = 0.05
"""When to look again at a channel that could not write or read to its end."""

_COARSE_FROM_SECONDS = 2.0
"""Waits from this length on end together, at quarter seconds. Each by itself woke the loop, at 0.15
CPU-ms a time, twice per tick and server (measured with 1,500 connections on 2 cores, EPYC)."""

_SLOW_CAUSES: frozenset[Cause] = frozenset({"auth_failed", "host_key_changed", "host_key_unknown"})

_HOST_KEY_CAUSES: frozenset[Cause] = frozenset({"host_key_changed", "host_key_unknown"})

HOST_KEYS_EVERY_SECONDS = 5
"""How often the known_hosts file is looked at: who has just added a key should not wait minutes."""

_DICE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to open again after a failure.

    Attributes:
        retries: quick retries; after them the failure is final and attempts go on ever more slowly.
        backoff_seconds: before the first retry; doubles with each.
        jitter: share by which a delay varies, so that a fleet does not come back in step.
        ceiling_seconds: longest delay.
        slow_seconds: first delay after a refused login or host key, which are final at once: five
            refused logins in ten minutes are a ban by fail2ban's defaults, and this makes three.
        reopen_seconds: before a channel that worked is opened again.
    """

    retries: int = 2
    backoff_seconds: float = 5
    jitter: float = 0.25
    ceiling_seconds: float = 600
    slow_seconds: float = 120
    reopen_seconds: float = 1

    def is_final(self, failures: int, cause: Cause) -> bool:
        """Whether the `failures`-th failure in a row counts as an error of the server."""
        return cause in _SLOW_CAUSES or failures > self.retries

    def delay(self, failures: int, cause: Cause) -> float:
        """Seconds until the next attempt after `failures` (1 or more) in a row, without jitter."""
        base = self.slow_seconds if cause in _SLOW_CAUSES else self.backoff_seconds
        doublings = min(failures - 1, 30)
        return min(self.ceiling_seconds, base * float(2**doublings))

    def spread(self, delay: float) -> float:
        """The delay with its jitter."""
        return delay * (1 + _DICE.uniform(-self.jitter, self.jitter))


@dataclass(frozen=True, slots=True)
class Opened:
    """A channel works: its priming answer came, and follows as `Answered` with tick 0.

    Attributes:
        server_id: which server.
        seconds: from the first step to the priming answer.
    """

    server_id: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer.

    Attributes:
        server_id: which server.
        tick: number that was asked; 0 is the priming one.
        answer: what the probe said.
        received_at: when, in seconds since the epoch.
    """

    server_id: int
    tick: int
    answer: Answer
    received_at: float


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """A channel could not be opened; another attempt is scheduled.

    Attributes:
        server_id: which server.
        cause: one of `Cause`.
        step: step that failed.
        detail: what happened and what to do.
        is_final: quick retries are used up; the server counts as failed until it opens.
    """

    server_id: int
    cause: Cause
    step: str
    detail: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """An open channel broke; opening it again is scheduled.

    Attributes:
        server_id: which server.
        cause: one of `Cause`.
        step: step that failed.
        detail: what happened and what to do.
    """

    server_id: int
    cause: Cause
    step: str
    detail: str


Event = Opened | Answered | OpenFailed | Lost | HostKeySeen | ModeChosen


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What is known of a server's channel.

    Attributes:
        status: `opening` also while the next attempt is waited for.
        cause: of the last failure since the channel was open last; None when there was none.
        step: step of that failure.
        detail: what happened and what to do.
        is_final: quick retries are used up.
    """

    status: Literal["opening", "open", "unknown"]
    cause: Cause | None = None
    step: str = ""
    detail: str = ""
    is_final: bool = False


@dataclass(slots=True)
class _Member:
    """One server of the fleet; `generation` tells its timers from those of an earlier target.

    The target has the pin in force: the inventory's, or the key of a first use on its way there.
    """

    target: Target
    generation: int
    inventory_host_key: str | None = None  # as reconcile told it last
    host_key: str | None = None  # of the present channel
    attempt: Attempt | None = None
    dial: Dial | None = None
    channel: ProbeChannel | None = None
    is_open: bool = False
    has_settled: bool = False
    failures: int = 0
    failure: CollectionError | None = None
    misses: int = 0
    is_proven: bool = (
        False  # has answered beyond the priming tick, so that breaking is not flapping
    )


_Timer = tuple[float, int, Callable[[], None]]
"""Monotonic time, a number that no other has, and what to do: tuples compare without Python."""


def open_once(
    target: Target,
    *,
    known_hosts: KnownHosts,
    limits: Limits | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_first_use: Callable[[HostKeySeen], None] | None = None,
) -> ProbeChannel:
    """Open one channel now and wait for its priming answer (`first_answer`).

    Args:
        target: server to reach.
        known_hosts: host keys to believe.
        limits: how long each step may take; default `Limits()`.
        on_step: called after each step that went well.
        on_first_use: takes the key of a server of which nothing is known, before the login, to pin
            it; None means that such a server is refused.

    Returns:
        A channel to `ask`; the caller closes it.

    Raises:
        CollectionError: cause, step, and what to do.
    """
    limits = limits or Limits()

    def pin(key: str) -> None:
        if on_first_use is not None:
            on_first_use(HostKeySeen(target.server_id, target.host, target.port, key))

    attempt = Attempt(limits, on_step, on_first_use=None if on_first_use is None else pin)
    channel: ProbeChannel
    if target.transport == "local":
        channel = _open_local(target, attempt)
    else:
        channel = open_ssh(
            target, known_hosts=known_hosts, identities=IdentityFiles(), attempt=attempt
        )
    began = attempt.begin("read")
    try:
        _prime(channel, attempt)
    except CollectionError:
        channel.close()
        raise
    attempt.end(began)
    return channel


def _prime(channel: ProbeChannel, attempt: Attempt) -> None:
    """Wait for the priming answer; after a silence, of a session of the other kind."""
    seconds = attempt.seconds_left(attempt.limits.first_answer)
    try:
        channel.ask(PRIMING_TICK, seconds)
    except CollectionError as error:
        if error.cause != "timeout" or not channel.try_otherwise(seconds):
            raise
        try:
            channel.ask(PRIMING_TICK, attempt.seconds_left(attempt.limits.first_answer))
        except CollectionError as second:
            raise error from second


def _open_local(target: Target, attempt: Attempt) -> LocalChannel:
    """Start the probe on this machine; its priming answer is still to come."""
    began = attempt.begin("shell")
    channel = LocalChannel(target, attempt.limits)
    attempt.hold(channel.abort)
    attempt.end(began)
    return channel


def _is_known_by_name(target: Target) -> bool:
    """Whether DNS is asked first; a jump host is looked up here, what is behind it is not."""
    try:
        return not is_numeric(first_stop(target).host)
    except CollectionError:
        return False  # the opening will say what is wrong


def _failed_for_its_host_key(member: _Member) -> bool:
    """Whether the last thing that happened to a server is that its key was not believed."""
    return member.failure is not None and member.failure.cause in _HOST_KEY_CAUSES


class Fleet:
    """Keeps a channel open to every target.

    Args:
        known_hosts: host keys to believe.
        trusts_first_use: accept the key of a server that has no pin and that known_hosts does not
            know, hold the server to it from then on, and tell it as `HostKeySeen`.
        limits: how long each step may take.
        retry: when to try again.
        workers: logins at the same time, each in a thread that waits, and as many name lookups.
        handshakes_per_second: openings begun per second.
        linger_seconds: how long `events` lets more come after the first, so that a large fleet
            does not wake its caller for each answer.
    """

    def __init__(
        self,
        *,
        known_hosts: KnownHosts,
        trusts_first_use: bool = False,
        limits: Limits | None = None,
        retry: RetryPolicy | None = None,
        workers: int = 16,
        handshakes_per_second: float = HANDSHAKES_PER_SECOND,
        linger_seconds: float = 0.0,
    ) -> None:
        self._known_hosts = known_hosts
        self._trusts_first_use = trusts_first_use
        self._limits = limits or Limits()
        self._retry = retry or RetryPolicy()
        self._identities = IdentityFiles()
        self._seconds_between_openings = 1 / handshakes_per_second
        self._linger_seconds = linger_seconds
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._inbox: deque[Callable[[], None]] = deque()
        self._members: dict[int, _Member] = {}
        self._timers: list[_Timer] = []
        self._timer_count = 0
        self._generation = 0
        # Server id and generation of those to be opened, in this order; names apart from addresses,
        # so that a name server that hangs delays no server that is known by its address.
        self._waiting: deque[tuple[int, int]] = deque()
        self._waiting_names: deque[tuple[int, int]] = deque()
        self._next_opening = 0.0
        self._dials_under_way = 0
        self._handshakes = _Pool("fleet-worker", workers)
        self._lookups = _Pool("fleet-resolver", workers)
        self._closings: queue.SimpleQueue[ProbeChannel | None] = queue.SimpleQueue()
        self._posted = 0
        self._done = 0
        self._is_closed = False
        self._is_wake_pending = False
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.settimeout(0.0)
        self._wake_sender.settimeout(0.0)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        self._closer = threading.Thread(
            target=self._close_channels, name="fleet-closer", daemon=True
        )
        self._loop = threading.Thread(target=self._run, name="fleet-loop", daemon=True)
        self._hub = Hub(self._post, self._selector)
        self._known_stamp = known_hosts.stamp()
        self._after(HOST_KEYS_EVERY_SECONDS, self._look_at_host_keys)
        self._closer.start()
        self._loop.start()

    # For callers, from any thread.

    def reconcile(self, targets: Iterable[Target]) -> None:
        """Make the fleet this set; returns at once.

        New targets are opened, missing ones closed, changed ones closed and opened again. Of a
        target that has only another pin, a connection to a machine with that key stays open.
        """
        wanted = {target.server_id: target for target in targets}
        self._posted += 1
        self._post(functools.partial(self._reconcile, wanted))

    def request(self, server_id: int, tick: int, *, with_inodes: bool = False) -> bool:
        """Ask a server for an answer to `tick`, 1 or more and never the same twice; never waits.

        Args:
            server_id: which server.
            tick: number of the answer.
            with_inodes: ask for inodes and types of the file systems too, a second df on the host.

        Returns:
            False when it has no open channel; `failure_of` says why. True means that `Answered`,
            `Lost`, or nothing within `Limits.answer` follows.
        """
        member = self._members.get(server_id)
        if member is None or not member.is_open:
            return False
        self._post(
            functools.partial(
                self._request, server_id, member.generation, tick, with_inodes=with_inodes
            )
        )
        return True

    def retry_pull(self, server_ids: Iterable[int]) -> None:
        """Have these servers try again to keep a session open, at their next tick."""
        self._post(functools.partial(self._retry_pull, frozenset(server_ids)))

    def events(self, timeout_seconds: float) -> list[Event]:
        """Events so far, in their order; waits up to `timeout_seconds` for the first, then lingers.

        Raises:
            ResmonError: the fleet's loop has ended by a defect.
        """
        found: list[Event] = []
        try:
            event = self._events.get(timeout=max(0.0, timeout_seconds))
            if self._linger_seconds and event is not None:
                time.sleep(self._linger_seconds)
            while True:
                if event is not None:
                    found.append(event)
                event = self._events.get_nowait()
        except queue.Empty:
            pass
        if not found and not self._loop.is_alive() and not self._is_closed:
            msg = "The loop of the fleet ended by a defect; nothing is collected. See the log."
            raise ResmonError(msg)
        return found

    def failure_of(self, server_id: int) -> ChannelState:
        """State of a server's channel, with the cause when it is not open.

        A change shows here an instant before `events` tells of it.
        """
        member = self._members.get(server_id)
        if member is None:
            return ChannelState("unknown")
        if member.is_open:
            return ChannelState("open")
        failure, failures = member.failure, member.failures
        if failure is None:
            return ChannelState("opening")
        return ChannelState(
            "opening",
            failure.cause,
            failure.step,
            str(failure),
            is_final=self._retry.is_final(failures, failure.cause),
        )

    def settled(self) -> bool:
        """Whether every target has been open or has failed at least once; `events` tells of it."""
        if self._posted != self._done:
            return False
        return all(member.has_settled for member in list(self._members.values()))

    def close(self, *, timeout_seconds: float = 5) -> None:
        """Close all channels and end all threads; waits at most `timeout_seconds`."""
        if self._is_closed:
            return
        self._is_closed = True
        deadline = time.monotonic() + timeout_seconds
        self._post(lambda: None)
        self._loop.join(timeout_seconds)
        for pool in (self._handshakes, self._lookups):
            pool.stop()
        workers = [*self._handshakes.threads, *self._lookups.threads]
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        if not self._loop.is_alive():
            self._drain_inbox()  # channels that a worker opened too late go to the closer
        self._closings.put(None)
        self._closer.join(max(0.0, deadline - time.monotonic()))
        threads = (self._loop, *workers, self._closer)
        busy = [thread.name for thread in threads if thread.is_alive()]
        if busy:
            _LOG.warning("Closing the fleet: busy after %s s: %s", timeout_seconds, ", ".join(busy))

    # The loop's thread from here on.

    def _post(self, action: Callable[[], None]) -> None:
        """Have the loop do something; from any thread."""
        self._inbox.append(action)
        if not self._is_wake_pending:
            self._is_wake_pending = True
            try:
                self._wake_sender.send(b"\0")
            except (BlockingIOError, OSError):
                return  # full: the loop is being woken; closed: there is no loop to wake

    def _run(self) -> None:
        """Until closed: what arrived, what was posted, what is due."""
        self._hub.adopt_loop()
        try:
            while not self._is_closed:
                ready = self._selector.select(self._seconds_until_due())
                self._is_wake_pending = True  # awake: what is posted from here on is seen below
                for key, _ in ready:
                    if key.data is None:
                        self._swallow_wakes()
                    else:
                        key.data()
                self._is_wake_pending = False
                self._drain_inbox()
                self._do_due()
                self._start_openings()
                if len(self._members) >= LINGER_FROM_MEMBERS and not self._is_opening():
                    time.sleep(LINGER_SECONDS)
        finally:
            for member in self._members.values():
                self._release(member)
            self._members = {}
            self._drain_inbox()
            self._hub.finish(timeout_seconds=HUB_END_SECONDS)
            self._drain_inbox()
            self._selector.close()
            self._wake_receiver.close()
            self._wake_sender.close()
            self._events.put(None)

    def _is_opening(self) -> bool:
        """Whether a connection is being made, in many short steps that should not wait."""
        return self._dials_under_way > 0 or not self._handshakes.is_idle()

    def _drain_inbox(self) -> None:
        """Do what was posted so far."""
        for _ in range(len(self._inbox)):
            self._inbox.popleft()()

    def _swallow_wakes(self) -> None:
        """Empty the socket that wakes the loop."""
        try:
            self._wake_receiver.recv(4096)
        except BlockingIOError:
            return

    def _seconds_until_due(self) -> float | None:
        """How long the loop may sleep."""
        if self._inbox:
            return 0.0
        times = []
        if self._timers:
            times.append(self._timers[0][0])
        if self._next_waiting() is not None:
            times.append(self._next_opening)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later; not earlier, and long waits up to a quarter of a second later."""
        due = time.monotonic() + seconds
        if seconds >= _COARSE_FROM_SECONDS:
            due = math.ceil(due * 4) / 4
        self._timer_count += 1
        heapq.heappush(self._timers, (due, self._timer_count, action))

    def _do_due(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _current(self, server_id: int, generation: int) -> _Member | None:
        """Member, unless it was removed or has moved on to another connection."""
        member = self._members.get(server_id)
        return member if member is not None and member.generation == generation else None

    def _reconcile(self, wanted: dict[int, Target]) -> None:
        """Add, remove, replace."""
        for server_id in [known for known in self._members if known not in wanted]:
            self._release(self._members.pop(server_id))
        for server_id, target in wanted.items():
            member = self._members.get(server_id)
            if member is not None and member.target == target:
                self._take_pin(member, target)
                continue
            if member is not None:
                self._release(member)
            self._generation += 1
            self._members[server_id] = _Member(target, self._generation, target.host_key)
            self._wait_for_opening(self._members[server_id])
        self._done += 1

    def _take_pin(self, member: _Member, target: Target) -> None:
        """Follow the inventory's pin of a server, unless it says what it said before."""
        if target.host_key == member.inventory_host_key:
            return  # a key of a first use may still be on its way there
        member.inventory_host_key = target.host_key
        if target.host_key == member.target.host_key:
            return
        member.target = replace(member.target, host_key=target.host_key)
        if member.is_open and member.host_key == target.host_key:
            return
        is_busy = member.attempt is not None or member.channel is not None
        if is_busy or _failed_for_its_host_key(member):
            self._open_at_once(member)

    def _pin(self, server_id: int, generation: int, key: str) -> None:
        """A worker has accepted the first key of a server; told to the caller, who stores it."""
        member = self._current(server_id, generation)
        if member is None or member.target.host_key == key:
            return
        if member.target.host_key is not None:
            self._open_at_once(member)  # an earlier opening was first: judged again by its key
            return
        member.target = replace(member.target, host_key=key)
        target = member.target
        self._events.put(HostKeySeen(server_id, target.host, target.port, key))

    def _open_at_once(self, member: _Member) -> None:
        """End what is open or under way, and open anew; a retry that was planned is off."""
        self._release(member)
        self._generation += 1
        member.generation = self._generation
        self._wait_for_opening(member)

    def _release(self, member: _Member) -> None:
        """End the attempt and the channel of a member."""
        member.is_open = False
        if member.attempt is not None:
            member.attempt.abort()
            member.attempt = None
        if member.dial is not None:
            self._stop_watching(member.dial)
            member.dial.close()
            member.dial = None
        if member.channel is not None:
            for fileno in member.channel.filenos():
                self._selector.unregister(fileno)
            member.channel.abort()
            self._closings.put(member.channel)
            member.channel = None

    def _wait_for_opening(self, member: _Member) -> None:
        """Put a member at the end of those to be opened."""
        is_name = member.target.transport == "ssh" and _is_known_by_name(member.target)
        waiting = self._waiting_names if is_name else self._waiting
        waiting.append((member.target.server_id, member.generation))

    def _next_waiting(self) -> deque[tuple[int, int]] | None:
        """Whose turn it is to be opened; None when there is nobody, or the workers are far behind.

        Openings whose time runs must not pile up behind workers that hanging servers hold;
        connecting holds none of them. Of names and addresses the longer line goes first.
        """
        if self._handshakes.is_far_behind() or self._dials_under_way >= MAXIMUM_DIALS:
            return None
        lines = [self._waiting]
        if not self._lookups.is_far_behind():
            lines.append(self._waiting_names)
        longest = max(lines, key=len)
        return longest or None

    def _start_openings(self) -> None:
        """Begin waiting openings at the pace allowed."""
        while (waiting := self._next_waiting()) is not None:
            now = time.monotonic()
            if now < self._next_opening:
                return
            member = self._current(*waiting.popleft())
            if member is None or member.attempt is not None or member.channel is not None:
                continue
            # From when it was due, not from now: a busy loop would open fewer than it may.
            due = max(self._next_opening, now - CATCH_UP_SECONDS)
            self._next_opening = due + self._seconds_between_openings
            server_id, generation = member.target.server_id, member.generation
            member.attempt = attempt = Attempt(self._limits)
            if self._trusts_first_use and member.target.host_key is None:
                attempt.on_first_use = functools.partial(self._post_pin, server_id, generation)
            overdue = functools.partial(self._attempt_overdue, server_id, generation, attempt)
            self._after(self._limits.total, overdue)
            if waiting is self._waiting_names:
                stop = first_stop(member.target, attempt)
                lookup = functools.partial(resolve, stop, attempt)
                self._submit(self._lookups, member, lookup)
            elif member.target.transport == "local":
                start = functools.partial(_open_local, member.target, attempt)
                self._submit(self._handshakes, member, start)
            else:
                self._dial(member, None)

    def _dial(self, member: _Member, addresses: list[Address] | None) -> None:
        """Begin to connect; without addresses the host is one itself, and DNS is not asked."""
        if member.attempt is None:
            return
        try:
            stop = first_stop(member.target, member.attempt)
            if addresses is None:
                addresses = resolve(stop, member.attempt)
            member.dial = Dial(stop, addresses, member.attempt)
        except CollectionError as error:
            self._open_failed(member, error)
            return
        self._watch(member, member.dial)

    def _watch(self, member: _Member, dial: Dial) -> None:
        """Wait, without waiting, for the next thing to happen to a dial."""
        self._dials_under_way += 1
        event = selectors.EVENT_READ if dial.is_connected else selectors.EVENT_WRITE
        step = functools.partial(self._drive, member, dial, dial.proceed)
        self._selector.register(dial.fileno, event, step)
        deadline = dial.deadline

        def look() -> None:
            if member.dial is dial and dial.deadline == deadline and not dial.is_greeted:
                self._drive(member, dial, dial.overdue)

        self._after(deadline - time.monotonic(), look)

    def _stop_watching(self, dial: Dial) -> None:
        """The counterpart of `_watch`."""
        self._dials_under_way -= 1
        self._selector.unregister(dial.fileno)

    def _drive(self, member: _Member, dial: Dial, step: Callable[[], None]) -> None:
        """Let a dial do its next step; a greeted socket goes to a worker."""
        if member.dial is not dial or member.attempt is None:
            return
        self._stop_watching(dial)
        try:
            step()
        except CollectionError as error:
            member.dial = None
            self._open_failed(member, error)
            return
        if not dial.is_greeted:
            self._watch(member, dial)
            return
        member.dial = None
        target, attempt, sock = member.target, member.attempt, dial.detach()
        is_taken = self._submit(
            self._handshakes,
            member,
            lambda: shake_hands(
                target,
                sock,
                known_hosts=self._known_hosts,
                identities=self._identities,
                attempt=attempt,
                hub=self._hub,
            ),
        )
        if not is_taken:
            sock.close()

    def _submit(
        self, pool: "_Pool", member: _Member, work: Callable[[], ProbeChannel | list[Address]]
    ) -> bool:
        """Have a worker do a part of an opening that may wait; False when it has failed instead."""
        attempt = member.attempt
        if attempt is None:
            return False
        job = functools.partial(
            self._carry_out, pool, member.target, member.generation, attempt, work
        )
        try:
            pool.submit(job)
        except RuntimeError as error:
            self._open_failed(member, no_thread(member.target, error, attempt))
            return False
        return True

    def _attempt_overdue(self, server_id: int, generation: int, attempt: Attempt) -> None:
        """The limit of a whole opening has passed: fail it, whatever its worker waits for."""
        member = self._current(server_id, generation)
        if member is None or member.attempt is not attempt:
            return
        where = f" of its jump host {attempt.jump_host}" if attempt.jump_host else ""
        msg = (
            f"{member.target.title} could not be opened in {self._limits.total:g} s; "
            f"it hung at the step {attempt.step}{where}."
        )
        self._open_failed(member, CollectionError(msg, cause="timeout", step=attempt.step))

    def _attempt_failed(
        self, server_id: int, generation: int, attempt: Attempt, error: CollectionError
    ) -> None:
        """A worker could not open a channel."""
        member = self._current(server_id, generation)
        if member is not None and member.attempt is attempt:
            self._open_failed(member, error)

    def _part_is_done(
        self,
        target: Target,
        generation: int,
        attempt: Attempt,
        result: ProbeChannel | list[Address],
    ) -> None:
        """A worker has resolved a name, or has started a probe."""
        server_id = target.server_id
        member = self._current(server_id, generation)
        is_wanted = member is not None and member.attempt is attempt
        if isinstance(result, ProbeChannel):
            if member is not None and is_wanted:
                self._prime(member, attempt, result)
            else:
                result.abort()
                self._closings.put(result)
        elif member is not None and is_wanted:
            self._dial(member, result)

    def _prime(self, member: _Member, attempt: Attempt, channel: ProbeChannel) -> None:
        """Watch a started probe and ask for the priming answer."""
        server_id, generation = member.target.server_id, member.generation
        attempt.begin("read")
        member.host_key = attempt.host_key
        member.channel = channel
        member.misses = 0
        member.is_proven = False
        serve = functools.partial(self._serve, server_id, generation, channel)
        for fileno in channel.filenos():
            self._selector.register(fileno, selectors.EVENT_READ, serve)
        self._ask(
            server_id, generation, PRIMING_TICK, attempt.seconds_left(self._limits.first_answer)
        )
        channel.notify(_OncePosted(self._post, serve))

    def _retry_pull(self, server_ids: frozenset[int]) -> None:
        """Somebody says that these servers were repaired."""
        for server_id in server_ids:
            member = self._members.get(server_id)
            if member is None:
                continue
            member.target = replace(member.target, exec_since=None)
            if member.channel is not None:
                member.channel.retry_pull()

    def _request(self, server_id: int, generation: int, tick: int, *, with_inodes: bool) -> None:
        """A caller asks for an answer."""
        member = self._current(server_id, generation)
        if member is not None and member.is_open:
            self._ask(server_id, generation, tick, self._limits.answer, with_inodes=with_inodes)

    def _ask(
        self,
        server_id: int,
        generation: int,
        tick: int,
        seconds: float,
        *,
        with_inodes: bool = False,
    ) -> None:
        """Write a tick, and look later whether its answer came."""
        channel = self._members[server_id].channel
        if channel is None:
            return
        channel.request(tick, with_inodes=with_inodes)
        self._look_again_if_postponed(server_id, generation, channel)
        take_core = functools.partial(self._take_core, server_id, generation, channel, tick)
        give_up = functools.partial(self._give_up, server_id, generation, channel, tick)
        self._after(min(seconds, self._limits.disk_answer), take_core)
        self._after(seconds, give_up)

    def _serve(self, server_id: int, generation: int, channel: ProbeChannel) -> None:
        """Read what a channel has to say."""
        member = self._current(server_id, generation)
        if member is None or member.channel is not channel:
            return
        try:
            answers = channel.read()
        except CollectionError as error:
            self._break(member, error)
            return
        for answer in answers:
            self._deliver(member, answer)
        self._look_again_if_postponed(server_id, generation, channel)
        if channel.mode_change is not None:
            self._tell_mode(member, channel)
        if channel.is_worn_out and channel.is_idle:
            self._replace(member)

    def _tell_mode(self, member: _Member, channel: ProbeChannel) -> None:
        """Report how a server is read from now on, and remember it for its next connection."""
        change, channel.mode_change = channel.mode_change, None
        if change is None:
            return
        now = datetime.now(UTC)
        since = now if change.mode == "exec" else None
        member.target = replace(member.target, exec_since=since)
        server_id = member.target.server_id
        self._events.put(ModeChosen(server_id, change.mode, change.reason, now))

    def _replace(self, member: _Member) -> None:
        """Open a new connection in the place of one that has had its number of sessions."""
        self._release(member)
        self._wait_for_opening(member)

    def _look_again_if_postponed(
        self, server_id: int, generation: int, channel: ProbeChannel
    ) -> None:
        """Come back to a channel that could not write or read to its end."""
        if channel.is_postponed:
            serve = functools.partial(self._serve, server_id, generation, channel)
            self._after(_POSTPONED_SECONDS, serve)

    def _take_core(self, server_id: int, generation: int, channel: ProbeChannel, tick: int) -> None:
        """The disk part is late: deliver the core without it, if that is here."""
        member = self._current(server_id, generation)
        if member is None or member.channel is not channel:
            return
        answer = channel.take_core(tick)
        if answer is not None:
            self._deliver(member, answer)

    def _give_up(self, server_id: int, generation: int, channel: ProbeChannel, tick: int) -> None:
        """The limit of a tick has passed."""
        member = self._current(server_id, generation)
        if member is None or member.channel is not channel or not channel.awaits(tick):
            return
        answer = channel.give_up(tick)
        if answer is not None:
            self._deliver(member, answer)
            return
        member.misses += 1
        if not member.is_open:
            error = channel.silence(self._limits.first_answer)
            # Not at the first attempt: a machine that is busy, ours too, is silent for once.
            if (
                member.failures
                and member.attempt
                and channel.try_otherwise(self._limits.first_answer)
            ):
                left = member.attempt.seconds_left(self._limits.first_answer)
                self._ask(server_id, generation, tick, left)
            else:
                self._open_failed(member, error)
        elif member.misses >= MISSES_UNTIL_LOST:
            self._break(member, channel.silence(self._limits.answer))

    def _deliver(self, member: _Member, answer: Answer) -> None:
        """Report an answer; the priming one opens the channel."""
        received_at = time.time()
        server_id = member.target.server_id
        member.misses = 0
        if answer.tick != PRIMING_TICK:
            member.is_proven = True
            member.failures = 0
        elif member.attempt is not None:
            seconds = time.monotonic() - member.attempt.started
            member.attempt = None
            member.failure = None
            member.is_open = True
            self._events.put(Opened(server_id, seconds))
            member.has_settled = True
        self._events.put(Answered(server_id, answer.tick, answer, received_at))

    def _break(self, member: _Member, error: CollectionError) -> None:
        """A channel ended: before its priming answer this is a failed opening, later a loss."""
        if not member.is_open:
            self._open_failed(member, error)
            return
        member.failure = error
        self._release(member)
        self._events.put(Lost(member.target.server_id, error.cause, error.step, str(error)))
        if member.is_proven:
            self._open_again(member, self._retry.reopen_seconds)
        else:
            member.failures += 1
            self._open_again(member, self._retry.delay(member.failures, error.cause))

    def _open_failed(self, member: _Member, error: CollectionError) -> None:
        """Report a failed opening and schedule the next."""
        self._release(member)
        member.failures += 1
        member.failure = error
        is_final = self._retry.is_final(member.failures, error.cause)
        self._events.put(
            OpenFailed(member.target.server_id, error.cause, error.step, str(error), is_final)
        )
        member.has_settled = True
        self._open_again(member, self._retry.delay(member.failures, error.cause))

    def _open_again(self, member: _Member, delay: float) -> None:
        """Queue the next opening of a member."""
        wait = functools.partial(self._wait_for_opening, member)
        self._after(self._retry.spread(delay), wait)

    def _look_at_host_keys(self) -> None:
        """Open at once what failed for its host key, when the known_hosts file has changed."""
        stamp = self._known_hosts.stamp()
        if stamp != self._known_stamp:
            self._known_stamp = stamp
            for member in self._members.values():
                is_busy = member.attempt is not None or member.channel is not None
                if not is_busy and _failed_for_its_host_key(member):
                    self._open_at_once(member)
        self._after(HOST_KEYS_EVERY_SECONDS, self._look_at_host_keys)

    # Of the workers and the closer.

    def _post_pin(self, server_id: int, generation: int, key: str) -> None:
        """Called in the middle of an opening, so that the loop knows the key before its outcome."""
        self._post(functools.partial(self._pin, server_id, generation, key))

    def _carry_out(
        self,
        pool: "_Pool",
        target: Target,
        generation: int,
        attempt: Attempt,
        work: Callable[[], ProbeChannel | list[Address]],
    ) -> None:
        """Do a part of an opening and hand what came of it to the loop."""
        failed = functools.partial(self._attempt_failed, target.server_id, generation, attempt)
        # What is posted when an error comes that nobody foresaw: its traceback goes to the log with
        # the end of this thread, its server tries again like any other, and a new worker follows.
        msg = f"Opening {target.title} ended by a defect of Resmon; see the log."
        outcome = functools.partial(
            failed, CollectionError(msg, cause="unsupported", step=attempt.step)
        )
        try:
            result = work()
            outcome = functools.partial(self._part_is_done, target, generation, attempt, result)
        except CollectionError as error:
            outcome = functools.partial(failed, error)
        finally:
            self._post(outcome)
            self._post(pool.note_done)

    def _close_channels(self) -> None:
        """Close channels, which may wait for a thread or a process to end."""
        while (channel := self._closings.get()) is not None:
            channel.close()


class _Pool:
    """Threads for the parts of openings that may wait; the loop's, and close() joins them."""

    def __init__(self, name: str, size: int) -> None:
        self.threads: list[threading.Thread] = []
        self._name = name
        self._size = size
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._under_way = 0

    def is_far_behind(self) -> bool:
        """Whether what was submitted will take several rounds."""
        return self._under_way >= _JOBS_PER_WORKER * self._size

    def is_idle(self) -> bool:
        """Whether nothing is being done."""
        return self._under_way == 0

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done, by a new thread unless there are enough.

        Raises:
            RuntimeError: there is none, and the machine has no thread left. The job is not done.
        """
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        if len(self.threads) < min(self._under_way + 1, self._size):
            name = f"{self._name}-{len(self.threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self.threads:
                    raise
            else:
                self.threads.append(thread)
        self._under_way += 1
        self._jobs.put(job)

    def note_done(self) -> None:
        """A job has ended, well or not."""
        self._under_way -= 1

    def stop(self) -> None:
        """Let the threads end when they have done what was submitted."""
        for _ in self.threads:
            self._jobs.put(None)

    def _work(self) -> None:
        """Do jobs until told to end."""
        while (job := self._jobs.get()) is not None:
            job()


class _OncePosted:
    """Posts an action once until it is done, however often it is called."""

    __slots__ = ("_action", "_is_posted", "_post")

    def __init__(
        self, post: Callable[[Callable[[], None]], None], action: Callable[[], None]
    ) -> None:
        self._post = post
        self._action = action
        self._is_posted = False

    def __call__(self) -> None:
        """Called by any thread."""
        if not self._is_posted:
            self._is_posted = True
            self._post(self._run)

    def _run(self) -> None:
        """Called by the loop; what comes from here on posts again."""
        self._is_posted = False
        self._action()
