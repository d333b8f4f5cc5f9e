"""Servers behind jump hosts: reached through one and two, and each way in which that fails."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resmon_resources.channels import Step
from resmon_resources.errors import CollectionError
from resmon_resources.fleet import Limits, Lost, OpenFailed, Target, open_once
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.reading import parse_answer
from tests import fixtures_ssh as servers
from tests.fixtures_services import free_port
from tests.fixtures_ssh import PATIENT, Endpoint, Keys, ServerFactory
from tests.integration.ssh.test_fleet import QUICK, Watch, watch

__all__ = ["watch"]

pytestmark = pytest.mark.integration

TcpFactory = Callable[[Callable[[socket.socket], None]], int]


def hop(endpoint: Endpoint, user_name: str | None = None) -> str:
    """The jump host that an endpoint is."""
    return f"{user_name or endpoint.user_name}@{endpoint.host}:{endpoint.port}"


def failure_of(
    target: Target, known_hosts: KnownHosts, limits: Limits = PATIENT
) -> CollectionError:
    """The error of an opening that must fail."""
    with pytest.raises(CollectionError) as caught:
        open_once(target, known_hosts=known_hosts, limits=limits).close()
    return caught.value


@pytest.mark.parametrize("count", [1, 2])
def test_openssh_is_reached_through_itself(sshd: Endpoint, count: int) -> None:
    """Would let back: a tunnel that stalls, or steps that do not say with which hop they were."""
    steps: list[Step] = []
    target = sshd.target(proxy_jump=",".join([hop(sshd)] * count))
    channel = open_once(target, known_hosts=sshd.known_hosts, on_step=steps.append)
    try:
        for tick in (1, 2, 3):
            assert parse_answer(channel.ask(tick, 20)).memory_total_bytes
    finally:
        channel.close()
    one = ["connect", "banner", "handshake", "host_key", "auth"]
    assert [step.name for step in steps] == ["resolve", *one * (count + 1), "shell", "read"]
    of_hops = [step for step in steps if step.detail.startswith("jump host 127.0.0.1:")]
    assert len(of_hops) == 1 + 5 * count
    assert steps[-7].detail == f"through 127.0.0.1:{sshd.port}"


def test_hops_are_passed_in_their_order(scripted_server: ServerFactory) -> None:
    """Would let back: a second hop asked first, or names looked up here and not there."""
    first, outer = scripted_server(forwards=True)
    second, inner = scripted_server(forwards=True)
    last, end = scripted_server()
    target = end.target(host="localhost", proxy_jump=f"{hop(outer)},{hop(inner)}")
    known = end.known_hosts_file
    with known.open("a") as file:
        file.write(known.read_text().splitlines()[-1].replace("127.0.0.1", "localhost") + "\n")
    open_once(target, known_hosts=end.known_hosts).close()
    assert first.forwarded == [("127.0.0.1", second.port)]
    assert second.forwarded == [("localhost", last.port)]
    assert (first.sessions, second.sessions, last.sessions) == (0, 0, 1)


def test_the_host_key_of_a_hop_is_checked(scripted_server: ServerFactory, tmp_path: Path) -> None:
    """Would let back: a login handed to whoever answers at the address of the jump host."""
    jump, outer = scripted_server(forwards=True)
    _, end = scripted_server()
    known = tmp_path / "only_the_end"
    known.write_text(end.known_hosts_file.read_text().splitlines()[-1] + "\n")
    error = failure_of(end.target(proxy_jump=hop(outer)), KnownHosts(known))
    assert (error.cause, error.step) == ("host_key_unknown", "host_key")
    assert f"[127.0.0.1]:{outer.port}" in str(error)
    assert "jump host of server-1" in str(error)
    assert jump.login_attempts == 0


def test_the_host_key_behind_a_hop_is_checked(
    scripted_server: ServerFactory, tmp_path: Path
) -> None:
    """Would let back: a jump host that may put any machine in the server's place."""
    _, outer = scripted_server(forwards=True)
    server, end = scripted_server()
    known = tmp_path / "only_the_hop"
    known.write_text(end.known_hosts_file.read_text().splitlines()[0] + "\n")
    error = failure_of(end.target(proxy_jump=hop(outer)), KnownHosts(known))
    assert error.cause == "host_key_unknown"
    assert "run ssh-keyscan there" in str(error)
    assert server.login_attempts == 0


def test_each_refusal_of_a_hop_has_its_cause_and_names_it(
    scripted_server: ServerFactory, ssh_keys: Keys
) -> None:
    """Would let back: a server called unreachable while its jump host is what fails."""
    jump, outer = scripted_server(forwards=True)
    stubborn, closed = scripted_server(forwards=False)
    _, end = scripted_server()
    stranger = ssh_keys.public_line("stranger")
    target = end.target(proxy_jump=hop(outer))

    error = failure_of(replace(target, proxy_jump=hop(closed)), end.known_hosts)
    assert (error.cause, error.step) == ("refused", "connect")
    assert f"through the jump host 127.0.0.1:{closed.port}: the jump host does not" in str(error)

    error = failure_of(replace(target, port=free_port()), end.known_hosts)
    assert error.step == "connect"
    assert error.cause == "unreachable"
    assert f"through the jump host 127.0.0.1:{outer.port}" in str(error)

    jump.authorized = [stranger]
    error = failure_of(target, end.known_hosts)
    assert (error.cause, error.step) == ("auth_failed", "auth")
    assert f"the jump host of server-1 (127.0.0.1:{outer.port})" in str(error)

    nobody = f"127.0.0.1:{free_port()}"
    error = failure_of(replace(target, proxy_jump=nobody), end.known_hosts)
    assert (error.cause, error.step) == ("refused", "connect")
    assert f"the jump host of server-1 ({nobody})" in str(error)
    assert stubborn.forwarded == []


def test_openssh_tells_that_it_could_not_connect(sshd: Endpoint) -> None:
    """Would let back: a wait for the limit, or a jump host that seems broken itself."""
    error = failure_of(sshd.target(port=free_port(), proxy_jump=hop(sshd)), sshd.known_hosts)
    assert (error.cause, error.step) == ("unreachable", "connect")
    assert "try it on the jump host" in str(error)


def test_what_is_behind_a_hop_may_be_no_ssh_server(
    scripted_server: ServerFactory, tcp_server: TcpFactory
) -> None:
    """Would let back: a wait for ever, or a failure of the key exchange without a reason."""

    def speaks_http(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 400)
        servers.wait_for_hangup(connection)

    _, outer = scripted_server(forwards=True)
    target = outer.target(proxy_jump=hop(outer))
    limits = replace(PATIENT, banner=0.5)
    cases = [
        (servers.wait_for_hangup, "timeout", "did not say which SSH"),
        (lambda connection: None, "unreachable", "closed the connection before"),
        (speaks_http, "unreadable", "HTTP/1.1 400"),
    ]
    for play, cause, words in cases:
        error = failure_of(replace(target, port=tcp_server(play)), outer.known_hosts, limits)
        assert (error.cause, error.step) == (cause, "banner"), error
        assert words in str(error)


def test_jump_hosts_that_cannot_be_read_are_a_failure_of_that_server_only(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a row edited by hand that ends the collector."""
    _, end = scripted_server()
    w = watch(end.known_hosts)
    w.fleet.reconcile([end.target(1, proxy_jump="a b"), end.target(2)])
    w.wait_open(2)
    w.wait_for(lambda: bool(w.of(1, OpenFailed)))
    assert "--proxy-jump" in w.fleet.failure_of(1).detail


def test_a_hop_that_dies_is_a_loss_with_its_cause_and_the_server_comes_back(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a restarted jump host that blames, or ends, every server behind it."""
    jump, outer = scripted_server(forwards=True)
    _, end = scripted_server()
    w = watch(end.known_hosts)
    w.fleet.reconcile([end.target(i, proxy_jump=hop(outer)) for i in (1, 2)])
    w.wait_open(1, 2)
    for server_id in (1, 2):
        w.ask(server_id, 1)
    jump.cut()
    w.wait_for(lambda: bool(w.of(1, Lost)) and bool(w.of(2, Lost)))
    lost = w.of(1, Lost)[0]
    assert isinstance(lost, Lost)
    assert (lost.cause, lost.step) == ("unreachable", "read")
    assert f"the jump host 127.0.0.1:{outer.port} is gone" in lost.detail
    w.wait_open(1, 2)
    assert w.ask(1, 2).answer.core


def test_a_server_that_dies_behind_its_hop_is_not_blamed_on_the_hop(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a search for the fault on the wrong machine."""
    _, outer = scripted_server(forwards=True)
    server, end = scripted_server()
    w = watch(end.known_hosts)
    w.fleet.reconcile([end.target(1, proxy_jump=hop(outer))])
    w.wait_open(1)
    w.ask(1, 1)
    server.cut()
    w.wait_for(lambda: bool(w.of(1, Lost)))
    lost = w.of(1, Lost)[0]
    assert isinstance(lost, Lost)
    assert "jump host" not in lost.detail
    w.wait_open(1)


def test_a_hop_that_never_greets_holds_no_worker(
    scripted_server: ServerFactory, tcp_server: TcpFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: servers behind a dead jump host that keep the living from being opened."""
    _, end = scripted_server()
    dead = f"127.0.0.1:{tcp_server(servers.wait_for_hangup)}"
    w = watch(end.known_hosts, workers=1, limits=replace(PATIENT, banner=600, total=600))
    behind = [end.target(i, proxy_jump=dead) for i in range(1, 9)]
    w.fleet.reconcile([*behind, end.target(20)])
    w.wait_open(20)
    assert not [event for event in w.events if event.server_id < 20]


def test_a_hang_behind_a_hop_ends_with_the_limit_of_the_opening(
    scripted_server: ServerFactory, tcp_server: TcpFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a worker lost for ever to a tunnel that nothing comes out of."""
    reached = threading.Event()

    def hang(connection: socket.socket) -> None:
        reached.set()
        servers.wait_for_hangup(connection)

    _, outer = scripted_server(forwards=True)
    inside = f"127.0.0.1:{tcp_server(hang)}"
    target = outer.target(1, proxy_jump=f"{hop(outer)},{inside}")
    w = watch(
        outer.known_hosts,
        workers=1,
        limits=replace(PATIENT, banner=600, total=3),
        retry=replace(QUICK, backoff_seconds=600, ceiling_seconds=600),
    )
    w.fleet.reconcile([target])
    assert reached.wait(60)
    w.wait_for(lambda: bool(w.of(1, OpenFailed)))
    failed = w.of(1, OpenFailed)[0]
    assert isinstance(failed, OpenFailed)
    assert failed.cause == "timeout"
    assert inside in failed.detail
    w.fleet.reconcile([outer.target(2, host="127.0.0.1")])
    w.wait_open(2)
