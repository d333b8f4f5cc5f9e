"""Pins: the fleet and `open_once` with servers that show the pinned key, another, or a first."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resmon_resources.channels import Attempt, Target
from resmon_resources.errors import CollectionError
from resmon_resources.fleet import HostKeySeen, Lost, Opened, OpenFailed, RetryPolicy, open_once
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.ssh import IdentityFiles, fetch_host_key
from tests import fixtures_ssh as servers
from tests.fixtures_services import free_port
from tests.fixtures_ssh import PATIENT, Endpoint, Keys, ServerFactory
from tests.integration.ssh.test_fleet import Watch, watch

pytestmark = pytest.mark.integration

__all__ = ["watch"]

WatchFactory = Callable[..., Watch]


def fetch(target: Target, known_hosts: KnownHosts) -> str:
    """The key that a server shows now, as it is pinned."""
    return fetch_host_key(
        target, known_hosts=known_hosts, identities=IdentityFiles(), attempt=Attempt(PATIENT)
    ).text


def test_a_first_key_is_told_before_the_login_and_holds(
    ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path, watch: WatchFactory
) -> None:
    """Would let back: a key that is pinned only when all went well: whoever answers next is new."""
    nothing = KnownHosts(tmp_path / "nothing")
    w = watch(nothing, trusts_first_use=True)
    stranger = str(ssh_keys.private("stranger"))
    w.fleet.reconcile([ssh_server.target(1), ssh_server.target(2, identity_file=stranger)])
    w.wait_open(1)
    w.wait_for(lambda: bool(w.of(2, OpenFailed)))
    seen = HostKeySeen(1, "127.0.0.1", ssh_server.port, ssh_keys.public_line("host"))
    assert w.of(1, HostKeySeen) == [seen]
    assert w.of(2, HostKeySeen) == [replace(seen, server_id=2)]
    assert w.fleet.failure_of(2).cause == "auth_failed"
    assert w.ask(1, 5).answer.core


def test_without_the_mode_nothing_is_accepted(
    ssh_server: Endpoint, tmp_path: Path, watch: WatchFactory
) -> None:
    """Would let back: first use by default."""
    w = watch(KnownHosts(tmp_path / "nothing"))
    w.fleet.reconcile([ssh_server.target(1)])
    w.wait_for(lambda: bool(w.of(1, OpenFailed)))
    assert w.fleet.failure_of(1).cause == "host_key_unknown"
    assert not w.of(1, HostKeySeen)


def test_a_pin_that_reaches_the_inventory_leaves_the_connection_alone(
    scripted_server: ServerFactory, ssh_keys: Keys, tmp_path: Path, watch: WatchFactory
) -> None:
    """Would let back: every server of a new fleet opened twice."""
    server, endpoint = scripted_server()
    w = watch(KnownHosts(tmp_path / "nothing"), trusts_first_use=True)
    key = ssh_keys.public_line("host")
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    for pin in (None, key, key):  # not stored yet, stored, and read again
        w.fleet.reconcile([endpoint.target(1, host_key=pin)])
        assert w.ask(1, 1 if pin is None else 2 + len(w.events)).answer.core
    assert server.sessions == 1
    assert not w.of(1, Lost)


def test_a_pin_of_the_key_that_is_shown_already_leaves_the_connection_alone(
    scripted_server: ServerFactory, ssh_keys: Keys, watch: WatchFactory
) -> None:
    """Would let back: a login more, and a tick less, for each server that somebody pins."""
    server, endpoint = scripted_server()
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    w.fleet.reconcile([endpoint.target(1, host_key=ssh_keys.public_line("host"))])
    assert w.ask(1, 1).answer.core
    assert server.sessions == 1


def test_a_first_key_holds_while_it_is_not_stored(
    ssh_keys: Keys, tmp_path: Path, watch: WatchFactory
) -> None:
    """Would let back: a database that is away makes each reconnection a first use."""
    client = [ssh_keys.public_line("client")]
    first = servers.ScriptedServer(servers.canned, ssh_keys.private("host"), client)
    first.start(port=free_port())
    endpoint = Endpoint(first.port, "me", ssh_keys.private("client"), tmp_path / "nothing")
    w = watch(endpoint.known_hosts, trusts_first_use=True)
    try:
        w.fleet.reconcile([endpoint.target(1)])
        w.wait_open(1)
    finally:
        first.stop()
    impostor = servers.ScriptedServer(servers.canned, ssh_keys.private("other-host"), client)
    impostor.start(port=first.port)
    try:
        w.fleet.reconcile([endpoint.target(1)])
        w.wait_for(lambda: w.fleet.failure_of(1).cause == "host_key_changed")
        assert len(w.of(1, HostKeySeen)) == 1
        assert impostor.login_attempts == 0
    finally:
        impostor.stop()


def test_a_key_that_is_trusted_is_tried_at_once(
    ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path, watch: WatchFactory
) -> None:
    """Would let back: minutes without samples after the operator has trusted the key."""
    stale = KnownHosts(tmp_path / "nothing")
    ssh_keys.private("other-host")
    w = watch(stale, retry=RetryPolicy(slow_seconds=600))
    w.fleet.reconcile([ssh_server.target(1, host_key=ssh_keys.public_line("other-host"))])
    w.wait_for(lambda: bool(w.of(1, OpenFailed)))
    assert w.fleet.failure_of(1).cause == "host_key_changed"
    w.fleet.reconcile([ssh_server.target(1, host_key=ssh_keys.public_line("host"))])
    w.wait_open(1)
    assert len(w.of(1, OpenFailed)) == 1


def test_another_pin_ends_the_connection_and_the_key_is_judged_again(
    ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path, watch: WatchFactory
) -> None:
    """Would let back: of two collectors that saw two keys, both go on; or a key that is trusted no
    more is read until its connection breaks by itself."""
    ssh_keys.private("other-host")
    w = watch(KnownHosts(tmp_path / "nothing"), trusts_first_use=True)
    w.fleet.reconcile([ssh_server.target(1)])
    w.wait_open(1)
    w.fleet.reconcile([ssh_server.target(1, host_key=ssh_keys.public_line("other-host"))])
    w.wait_for(lambda: w.fleet.failure_of(1).cause == "host_key_changed")
    assert not w.fleet.request(1, 1)


def test_a_forgotten_pin_leaves_it_to_known_hosts(
    ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path, watch: WatchFactory
) -> None:
    """Would let back: a pin that lives on in the collector when the inventory has none."""
    ssh_keys.private("other-host")
    w = watch(ssh_server.known_hosts, retry=RetryPolicy(slow_seconds=600))
    w.fleet.reconcile([ssh_server.target(1, host_key=ssh_keys.public_line("other-host"))])
    w.wait_for(lambda: w.fleet.failure_of(1).cause == "host_key_changed")
    w.fleet.reconcile([ssh_server.target(1)])
    w.wait_open(1)
    assert len(w.of(1, Opened)) == 1


def test_the_pinned_type_is_asked_for(
    scripted_server: ServerFactory, ssh_keys: Keys, tmp_path: Path
) -> None:
    """Would let back: a server with several keys that seems to have changed its key."""
    other = ssh_keys.private("host-ecdsa", "ecdsa-sha2-nistp256")
    options = {"server_host_keys": [str(ssh_keys.private("host")), str(other)]}
    _, endpoint = scripted_server(options=options)
    nothing = KnownHosts(tmp_path / "nothing")
    for name in ("host-ecdsa", "host"):
        pinned = endpoint.target(host_key=ssh_keys.public_line(name))
        open_once(pinned, known_hosts=nothing).close()
        assert fetch(pinned, nothing) == ssh_keys.public_line(name)


@pytest.mark.parametrize(
    ("name", "algorithm"), [("host-rsa", "ssh-rsa"), ("host-p384", "ecdsa-sha2-nistp384")]
)
def test_a_pin_of_each_type_is_recognized(
    scripted_server: ServerFactory, ssh_keys: Keys, tmp_path: Path, name: str, algorithm: str
) -> None:
    """Would let back: a type whose name in the file is not that of the negotiation (RSA)."""
    _, endpoint = scripted_server(host_key=ssh_keys.private(name, algorithm))
    nothing = KnownHosts(tmp_path / "nothing")
    seen: list[HostKeySeen] = []
    open_once(endpoint.target(), known_hosts=nothing, on_first_use=seen.append).close()
    assert [item.key for item in seen] == [ssh_keys.public_line(name)]
    open_once(endpoint.target(host_key=seen[0].key), known_hosts=nothing).close()


def test_a_key_is_fetched_without_a_login(ssh_server: Endpoint, ssh_keys: Keys) -> None:
    """Would let back: a login, with our keys, at a machine that nobody vouches for."""
    stranger = ssh_server.target(identity_file=str(ssh_keys.private("stranger")))
    nothing = KnownHosts(ssh_server.known_hosts_file.with_name("nothing"))
    assert fetch(stranger, nothing) == ssh_keys.public_line("host")


def test_behind_a_jump_host_the_server_is_pinned_and_the_jump_host_is_not(
    scripted_server: ServerFactory, ssh_keys: Keys, tmp_path: Path
) -> None:
    """Would let back: first use of a bastion, which opens the way to all behind it; or the pin of
    the server held against the bastion."""
    _, hop = scripted_server(host_key=ssh_keys.private("hop-host"), forwards=True)
    _, end = scripted_server()
    target = end.target(proxy_jump=f"{hop.user_name}@127.0.0.1:{hop.port}")
    nothing = KnownHosts(tmp_path / "nothing")
    seen: list[HostKeySeen] = []
    with pytest.raises(CollectionError, match="jump host") as caught:
        open_once(target, known_hosts=nothing, on_first_use=seen.append).close()
    assert (caught.value.cause, seen) == ("host_key_unknown", [])
    assert "resmon server trust" not in str(caught.value)
    with pytest.raises(CollectionError, match="jump host"):
        fetch(target, nothing)

    path = tmp_path / "hop_only"
    path.write_text(f"[127.0.0.1]:{hop.port} {ssh_keys.public_line('hop-host')}\n")
    hop_only = KnownHosts(path)
    assert fetch(target, hop_only) == ssh_keys.public_line("host")
    open_once(target, known_hosts=hop_only, on_first_use=seen.append).close()
    assert [(item.port, item.key) for item in seen] == [(end.port, ssh_keys.public_line("host"))]
    open_once(replace(target, host_key=seen[0].key), known_hosts=hop_only).close()


def test_fetching_from_nobody_says_so(tmp_path: Path, ssh_keys: Keys) -> None:
    """Would let back: a traceback where the machine is off."""
    gone = Endpoint(1, "somebody", ssh_keys.private("client"), tmp_path / "nothing")
    with pytest.raises(CollectionError, match="refused") as caught:
        fetch(gone.target(), gone.known_hosts)
    assert caught.value.cause == "refused"
