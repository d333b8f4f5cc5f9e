"""The fleet: many channels at once, kept open, and no failing server in the way of another."""

import contextlib
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from resmon_resources.channels import Attempt
from resmon_resources.fleet import (
    Answered,
    ChannelState,
    Event,
    Fleet,
    Lost,
    Opened,
    OpenFailed,
    RetryPolicy,
    Target,
)
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.reading import parse_answer
from resmon_resources.ssh import Address
from tests import fixtures_ssh as servers
from tests.fixtures_services import free_port
from tests.fixtures_ssh import (
    PATIENT,
    Endpoint,
    Keys,
    ServerFactory,
    children_of,
    command_line_of,
    poll_until,
)

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(
    backoff_seconds=0.05, slow_seconds=0.2, ceiling_seconds=0.2, reopen_seconds=0.05
)
LOCAL = Target(server_id=90, name="here", transport="local", host="localhost")


class Watch:
    """A fleet and the events it has reported so far."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.events: list[Event] = []

    def wait_for(self, condition: Callable[[], bool], *, seconds: float = 60) -> None:
        """Collect events until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.events
            self.events += self.fleet.events(0.05)

    def of(self, server_id: int, kind: type) -> list[Event]:
        """Events of a server and kind."""
        return [e for e in self.events if e.server_id == server_id and isinstance(e, kind)]

    def wait_open(self, *server_ids: int) -> None:
        """Until these servers are open and their openings are among the events.

        A channel is open an instant before its event can be read.
        """
        self.wait_for(lambda: all(map(self._is_open, server_ids)))

    def _is_open(self, server_id: int) -> bool:
        told = [e for e in self.events if e.server_id == server_id]
        turns = [e for e in told if isinstance(e, Opened | OpenFailed | Lost)]
        is_told = bool(turns) and isinstance(turns[-1], Opened)
        return is_told and self.fleet.failure_of(server_id).status == "open"

    def ask(self, server_id: int, tick: int) -> Answered:
        """Ask an open server and wait for the answer."""
        assert self.fleet.request(server_id, tick)
        self.wait_for(lambda: bool(self.answers(server_id, tick)))
        return self.answers(server_id, tick)[0]

    def answers(self, server_id: int, tick: int) -> list[Answered]:
        """Answers of a server to a tick."""
        return [
            e
            for e in self.events
            if isinstance(e, Answered) and e.server_id == server_id and e.tick == tick
        ]


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Iterator[Callable[..., Watch]]:
    """Makes fleets: `watch(known_hosts, **arguments of Fleet)`; closing them must be quick."""
    fleets: list[Fleet] = []

    def start(known_hosts: KnownHosts, **arguments: object) -> Watch:
        arguments = {"limits": PATIENT, "retry": QUICK} | arguments
        fleets.append(Fleet(known_hosts=known_hosts, **arguments))  # type: ignore[arg-type]
        return Watch(fleets[-1])

    yield start
    for fleet in fleets:
        began = time.monotonic()
        fleet.close(timeout_seconds=20)
        assert time.monotonic() - began < 15
        fleet.close()


def test_opens_asks_and_closes(ssh_server: Endpoint, watch: Callable[..., Watch]) -> None:
    """The whole line: priming answer, ticks, several channels, this machine among them."""
    w = watch(ssh_server.known_hosts)
    w.fleet.reconcile([*(ssh_server.target(i) for i in (1, 2, 3)), LOCAL])
    w.wait_open(1, 2, 3, 90)
    assert w.fleet.settled()
    w.wait_for(lambda: all(w.answers(i, 0) for i in (1, 2, 3, 90)))
    for server_id in (1, 2, 3, 90):
        kinds = [type(e) for e in w.events if e.server_id == server_id]
        assert kinds == [Opened, Answered], "the opening is told before its first answer"
    before = time.time()
    answered = w.ask(2, 58_000_000)
    assert parse_answer(answered.answer).memory_total_bytes
    assert before <= answered.received_at <= time.time()
    assert not w.fleet.request(4, 1), "a server that is not a target has no channel"


def test_what_settles_a_server_can_be_read_by_then(
    tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    """Who waits until all are settled, and then reads events, missed the last of them."""
    w = watch(KnownHosts(tmp_path / "none"))
    was_settled: list[bool] = []

    class Told(queue.SimpleQueue[Event | None]):
        def put(self, item: Event | None, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
            was_settled.append(w.fleet.settled())
            super().put(item)

    w.fleet._events = Told()
    refusing = replace(LOCAL, transport="ssh", host="127.0.0.1", port=free_port())
    for targets in ([LOCAL], [LOCAL, replace(refusing, server_id=1)]):
        was_settled.clear()
        w.fleet.reconcile(targets)
        poll_until(w.fleet.settled, seconds=60)
        assert was_settled[0] is False
    assert [type(e) for e in w.fleet.events(0)][:1] == [Opened]


def test_open_servers_have_no_thread_and_do_not_wake_the_loop(
    ssh_server: Endpoint, watch: Callable[..., Watch]
) -> None:
    """Ten thousand threads came to a standstill over Python's lock when the machine hesitated."""
    w = watch(ssh_server.known_hosts)
    w.fleet.reconcile(ssh_server.target(i) for i in range(1, 13))
    w.wait_open(*range(1, 13))
    w.wait_for(lambda: all(w.answers(i, 0) for i in range(1, 13)))
    assert not [t for t in threading.enumerate() if isinstance(t, paramiko.Transport)]
    loop = next(thread for thread in threading.enumerate() if thread.name == "fleet-loop")
    status = Path(f"/proc/self/task/{loop.native_id}/status")

    def switches() -> int:
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["voluntary_ctxt_switches"])

    before = switches()
    time.sleep(2)  # what is measured is a rate
    assert switches() - before <= 10, "a poll of each transport would make it 240"


def test_inodes_are_asked_for_through_the_fleet(
    ssh_server: Endpoint, watch: Callable[..., Watch]
) -> None:
    """A flag lost on its way to the host would leave the table of file systems empty."""
    w = watch(ssh_server.known_hosts)
    w.fleet.reconcile([ssh_server.target(1), LOCAL])
    w.wait_open(1, 90)
    for server_id in (1, 90):
        types: set[str | None] = {None}
        for tick in range(1, 1000):
            # A df that is still ending answers df-busy: then the next tick is asked.
            assert w.fleet.request(server_id, tick, with_inodes=True)
            w.wait_for(lambda: bool(w.answers(server_id, tick)))  # noqa: B023
            reading = parse_answer(w.answers(server_id, tick)[0].answer)
            if reading.file_systems is not None:
                types = {fs.type for fs in reading.file_systems}
                break
        assert None not in types


def test_failing_servers_end_with_their_cause_and_disturb_nobody(
    scripted_server: ServerFactory,
    tcp_server: Callable[[Callable[[socket.socket], None]], int],
    ssh_keys: Keys,
    watch: Callable[..., Watch],
) -> None:
    """One hanging, flooding or lying server must not cost any other a single sample."""
    _, good = scripted_server()
    endpoints = {
        "timeout": [scripted_server(servers.silent)[1]],
        "unreadable": [
            scripted_server(servers.flood)[1],
            scripted_server(servers.garbage)[1],
            scripted_server(servers.truncated)[1],
        ],
        "no_shell": [scripted_server(servers.no_shell)[1]],
        "unsupported": [scripted_server(servers.unsupported)[1]],
    }
    hang = replace(good, port=tcp_server(servers.wait_for_hangup))
    closed = replace(good, port=free_port())
    stranger = str(ssh_keys.private("stranger"))
    bad = [(cause, e.target()) for cause, some in endpoints.items() for e in some]
    bad += [
        ("timeout", hang.target()),
        ("refused", closed.target()),
        ("auth_failed", good.target(identity_file=stranger)),
        ("host_key_unknown", good.target(host="localhost")),
    ]
    targets = {
        100 + n: (cause, replace(target, server_id=100 + n))
        for n, (cause, target) in enumerate(bad)
    }
    # Long enough that a busy machine answers some ticks of the good ones before all have failed.
    limits = replace(PATIENT, banner=1, first_answer=8)
    w = watch(good.known_hosts, limits=limits, retry=RetryPolicy())
    w.fleet.reconcile([good.target(1), good.target(2), *(t for _, t in targets.values())])
    w.wait_open(1, 2)
    tick = 0
    while tick < 4 or not w.fleet.settled():
        tick += 1
        for server_id in (1, 2):
            w.ask(server_id, tick)
    w.events += w.fleet.events(0)
    for server_id, (cause, target) in targets.items():
        failures = w.of(server_id, OpenFailed)
        assert failures, target
        assert isinstance(failures[0], OpenFailed)
        assert failures[0].cause == cause, failures[0]
        assert failures[0].is_final == (cause in {"auth_failed", "host_key_unknown"})
        state = w.fleet.failure_of(server_id)
        assert (state.status, state.cause) == ("opening", cause)
        assert state.detail == failures[0].detail
        assert not w.fleet.request(server_id, 1)
    assert not w.of(1, Lost) + w.of(2, Lost)


@pytest.mark.parametrize(
    ("session", "cause"),
    [
        (servers.drops, "unreachable"),
        (servers.dies_for_good, "no_shell"),
        (servers.floods_later, "unreadable"),
    ],
)
def test_a_broken_channel_is_reported_and_opened_again(
    scripted_server: ServerFactory,
    watch: Callable[..., Watch],
    session: servers.Session,
    cause: str,
) -> None:
    """A server that was restarted must come back by itself."""
    server, endpoint = scripted_server(session)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    assert w.fleet.request(1, 1)
    w.wait_for(lambda: bool(w.of(1, Lost)))
    lost = w.of(1, Lost)[0]
    assert isinstance(lost, Lost)
    assert (lost.cause, lost.step) == (cause, "read")
    server.session = servers.canned
    w.wait_for(lambda: len(w.of(1, Opened)) >= 2)
    assert w.ask(1, 5).answer.core


def test_a_lost_server_has_its_cause_from_the_first_instant_on(
    scripted_server: ServerFactory, watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instant that came due in between had neither a sample nor a cause."""
    server, endpoint = scripted_server()
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    release = w.fleet._release
    states: list[ChannelState] = []

    def released(member: Any) -> None:
        release(member)
        states.append(w.fleet.failure_of(1))

    monkeypatch.setattr(w.fleet, "_release", released)
    server.cut()
    w.wait_for(lambda: bool(w.of(1, Lost)))
    assert (states[0].status, states[0].cause) == ("opening", "unreachable")


def test_a_channel_that_worked_is_opened_again_at_once(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """A restart of sshd must cost one tick, not the back-off of a dead server."""
    server, endpoint = scripted_server()
    retry = replace(QUICK, backoff_seconds=600, ceiling_seconds=600)
    w = watch(endpoint.known_hosts, retry=retry)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    for opened in (2, 3):
        w.ask(1, opened)
        server.cut()
        w.wait_for(lambda n=opened: len(w.of(1, Opened)) >= n)  # type: ignore[misc]
    assert [e.cause for e in w.events if isinstance(e, Lost)] == ["unreachable"] * 2


def test_a_name_server_that_hangs_ends_within_the_limit_of_an_opening(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    """getaddrinfo takes no limit: its servers must fail in time, and the others not wait."""
    released = threading.Event()

    def hang(target: Target, attempt: Attempt) -> list[Address]:
        released.wait(60)
        return []

    monkeypatch.setattr("resmon_resources.fleet.resolve", hang)
    w = watch(KnownHosts(tmp_path / "none"), limits=replace(PATIENT, total=3), workers=1)
    named = replace(LOCAL, transport="ssh", host="some.name")
    w.fleet.reconcile([*(replace(named, server_id=i) for i in range(1, 10)), LOCAL])
    w.wait_open(LOCAL.server_id)
    w.wait_for(lambda: bool(w.of(1, OpenFailed)), seconds=45)
    failed = w.of(1, OpenFailed)[0]
    assert isinstance(failed, OpenFailed)
    assert failed.cause == "timeout"
    w.fleet.reconcile([])
    released.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_in_an_opening_costs_neither_the_server_nor_a_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    """An error nobody foresaw must not leave a server opening for ever."""

    def break_down(target: Target, attempt: Attempt) -> list[Address]:
        raise ZeroDivisionError

    monkeypatch.setattr("resmon_resources.fleet.resolve", break_down)
    w = watch(KnownHosts(tmp_path / "none"), workers=1)
    w.fleet.reconcile([replace(LOCAL, server_id=1, transport="ssh", host="some.name"), LOCAL])
    w.wait_for(lambda: len(w.of(1, OpenFailed)) >= 2)
    w.wait_open(LOCAL.server_id)
    assert "defect" in w.fleet.failure_of(1).detail


def test_two_ticks_without_an_answer_are_a_lost_channel(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """A connection whose server vanished without a word stays open for ever in TCP's eyes."""
    _, endpoint = scripted_server(servers.answers_once)
    w = watch(endpoint.known_hosts, limits=replace(PATIENT, answer=0.3))
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    assert w.fleet.request(1, 1)
    w.events += w.fleet.events(1)
    assert not w.of(1, Lost), "one missed tick is not yet a lost channel"
    assert w.fleet.request(1, 2)
    w.wait_for(lambda: bool(w.of(1, Lost)))
    lost = w.of(1, Lost)[0]
    assert isinstance(lost, Lost)
    assert lost.cause == "timeout"


def test_a_late_disk_part_is_done_without(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """A hung mount must not blank CPU and memory, nor count as a missed tick."""
    _, endpoint = scripted_server(servers.core_only)
    w = watch(endpoint.known_hosts, limits=replace(PATIENT, disk_answer=0.2))
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    for tick in (1, 2, 3):
        answer = w.ask(1, tick).answer
        assert (answer.disk, answer.disk_reason) == (None, "disk-late")
    assert not w.of(1, Lost)


def test_quick_retries_end_and_slow_ones_go_on_until_the_server_is_back(
    scripted_server: ServerFactory, ssh_keys: Keys, tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    """A server that is down for an hour must not stay an error until the next restart."""
    server, endpoint = scripted_server(servers.no_shell)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_for(lambda: len(w.of(1, OpenFailed)) >= 4)
    finals = [e.is_final for e in w.events if isinstance(e, OpenFailed)]
    assert finals[:4] == [False, False, True, True]
    assert w.fleet.failure_of(1).is_final
    server.session = servers.canned
    w.wait_open(1)
    assert w.fleet.failure_of(1) == ChannelState("open")


def test_a_refused_login_is_not_repeated_quickly(
    scripted_server: ServerFactory, ssh_keys: Keys, watch: Callable[..., Watch]
) -> None:
    """Quick retries of a refused login get this machine banned (fail2ban)."""
    server, endpoint = scripted_server()
    retry = replace(QUICK, slow_seconds=600, ceiling_seconds=600)
    w = watch(endpoint.known_hosts, retry=retry)
    w.fleet.reconcile([endpoint.target(1, identity_file=str(ssh_keys.private("stranger")))])
    w.wait_for(lambda: bool(w.of(1, OpenFailed)))
    w.events += w.fleet.events(0.5)
    assert server.login_attempts == 1
    failed = w.of(1, OpenFailed)
    assert len(failed) == 1
    assert isinstance(failed[0], OpenFailed)
    assert failed[0].is_final


def test_a_host_key_added_to_the_file_is_tried_at_once(
    scripted_server: ServerFactory, tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    """Who has just added the key should not wait for the slow retry of two minutes."""
    _, endpoint = scripted_server()
    known = tmp_path / "other_known_hosts"
    w = watch(KnownHosts(known), retry=RetryPolicy())
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_for(lambda: bool(w.of(1, OpenFailed)))
    assert w.fleet.failure_of(1).cause == "host_key_unknown"
    written = known.with_name("written")
    written.write_text(endpoint.known_hosts_file.read_text())
    written.rename(known)  # at once: a file that is still empty would be tried as well
    w.wait_open(1)
    assert len(w.of(1, OpenFailed)) == 1


def test_reconcile_removes_adds_and_reopens_what_changed(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """A server that was removed must not be read, one that moved must be read at its new place."""
    first, endpoint = scripted_server()
    second, moved = scripted_server()
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1), endpoint.target(2)])
    w.wait_open(1, 2)
    w.fleet.reconcile([endpoint.target(1), endpoint.target(2)])
    w.wait_for(w.fleet.settled)
    assert first.sessions == 2, "an unchanged target keeps its connection"
    w.fleet.reconcile([moved.target(2), moved.target(3)])
    w.wait_for(w.fleet.settled)
    w.wait_open(2, 3)
    assert w.ask(2, 1).answer.core
    assert second.sessions == 2
    assert not w.fleet.request(1, 1)
    assert w.fleet.failure_of(1) == ChannelState("unknown")
    assert not w.of(1, Lost), "removing is not losing"


def test_an_opening_that_hangs_is_overtaken_by_removal_and_close(
    tcp_server: Callable[[Callable[[socket.socket], None]], int],
    ssh_keys: Keys,
    tmp_path: Path,
    watch: Callable[..., Watch],
) -> None:
    """Stopping the collector must not wait for the limits of servers that hang."""
    port = tcp_server(servers.wait_for_hangup)
    endpoint = Endpoint(port, "somebody", ssh_keys.private("client"), tmp_path / "known")
    w = watch(endpoint.known_hosts, limits=replace(PATIENT, banner=600, total=600), workers=4)
    w.fleet.reconcile([endpoint.target(i) for i in range(1, 5)])
    w.events += w.fleet.events(0.2)
    assert not w.fleet.settled()
    w.fleet.reconcile([endpoint.target(4), LOCAL])
    w.wait_open(LOCAL.server_id)  # the workers of the removed ones are free again
    assert [e for e in w.events if e.server_id != LOCAL.server_id] == []


def test_hosts_that_never_greet_hold_no_worker(
    scripted_server: ServerFactory,
    tcp_server: Callable[[Callable[[socket.socket], None]], int],
    watch: Callable[..., Watch],
) -> None:
    """Dead hosts that queue for the workers made a fleet of good ones wait for minutes."""
    _, good = scripted_server()
    dead = replace(good, port=tcp_server(servers.wait_for_hangup))
    w = watch(good.known_hosts, workers=1, limits=replace(PATIENT, banner=600, total=600))
    w.fleet.reconcile([*(dead.target(i) for i in range(100, 130)), good.target(1)])
    w.wait_open(1)
    assert w.ask(1, 1).answer.core
    assert not w.fleet.settled()


def test_a_name_is_resolved_and_its_addresses_tried_in_turn(
    scripted_server: ServerFactory, ssh_keys: Keys, watch: Callable[..., Watch]
) -> None:
    """A host whose first address does not answer (IPv6 without a route) must be reached."""
    server, endpoint = scripted_server()
    with endpoint.known_hosts_file.open("a") as file:
        file.write(f"[localhost]:{server.port} {ssh_keys.public_line('host')}\n")
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1, host="localhost"), endpoint.target(2, host="a..b")])
    w.wait_open(1)
    w.wait_for(lambda: bool(w.of(2, OpenFailed)))
    assert w.fleet.failure_of(2).step == "resolve"


def test_key_re_exchange_loses_no_answer(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Servers with a RekeyLimit exchange keys in the middle of answers."""
    _, endpoint = scripted_server(options={"rekey_bytes": 3000})
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    for tick in range(1, 31):
        assert w.ask(1, tick).answer.disk
    assert not w.of(1, Lost)


def test_the_whole_opening_has_a_limit(
    tcp_server: Callable[[Callable[[socket.socket], None]], int],
    ssh_keys: Keys,
    tmp_path: Path,
    watch: Callable[..., Watch],
) -> None:
    """Steps that each stay below their own limit must not add up to minutes."""
    port = tcp_server(servers.wait_for_hangup)
    endpoint = Endpoint(port, "somebody", ssh_keys.private("client"), tmp_path / "known")
    w = watch(endpoint.known_hosts, limits=replace(PATIENT, banner=600, total=0.5))
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_for(lambda: bool(w.of(1, OpenFailed)), seconds=20)
    failed = w.of(1, OpenFailed)[0]
    assert isinstance(failed, OpenFailed)
    assert failed.cause == "timeout"


def leads_a_group(process_id: int) -> bool:
    """Whether a process lives and is the first of its process group."""
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(process_id) == process_id
    return False


def test_a_killed_local_probe_is_started_again(tmp_path: Path, watch: Callable[..., Watch]) -> None:
    """The OOM killer may take the probe of this machine."""
    w = watch(KnownHosts(tmp_path / "none"))
    before = set(children_of(os.getpid()))
    w.fleet.reconcile([LOCAL])
    w.wait_open(LOCAL.server_id)
    (probe,) = [
        child
        for child in set(children_of(os.getpid())) - before
        if b"RESMON" in command_line_of(child) and leads_a_group(child)
    ]
    os.kill(probe, signal.SIGKILL)
    w.wait_for(lambda: bool(w.of(LOCAL.server_id, Lost)))
    lost = w.of(LOCAL.server_id, Lost)[0]
    assert isinstance(lost, Lost)
    assert lost.cause == "no_shell"
    assert "137" in lost.detail
    w.wait_for(lambda: len(w.of(LOCAL.server_id, Opened)) >= 2)
    poll_until(lambda: not Path(f"/proc/{probe}").exists(), what="the killed probe reaped")


def test_events_wait_no_longer_than_asked_and_stop_with_the_fleet(
    tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    """A collector that waits in events() for ever misses its own end."""
    w = watch(KnownHosts(tmp_path / "none"))
    assert w.fleet.events(0) == []
    assert w.fleet.settled(), "no targets, nothing to wait for"
    w.fleet.close()
    assert w.fleet.events(10) == []
    assert not w.fleet.request(1, 1)
