"""Hosts that keep no session open: read by a session per tick, on the same connection."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncssh
import paramiko
import pytest

from resmon_resources import ssh
from resmon_resources.errors import CollectionError
from resmon_resources.fleet import Lost, ModeChosen, Opened, OpenFailed, Target, open_once
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.reading import parse_answer
from resmon_resources.ssh import SshChannel
from tests import fixtures_ssh as servers
from tests.fixtures_ssh import PATIENT, Endpoint, Keys, ServerFactory, poll_until
from tests.integration.ssh.test_fleet import Watch, watch

pytestmark = pytest.mark.integration

__all__ = ["watch"]


def modes(w: Watch) -> list[str]:
    """The choices that were told, in their order."""
    return [e.mode for e in w.events if isinstance(e, ModeChosen)]


def opened(endpoint: Endpoint, target: Target | None = None) -> SshChannel:
    """A primed channel."""
    channel = open_once(target or endpoint.target(), known_hosts=endpoint.known_hosts)
    assert isinstance(channel, SshChannel)
    return channel


def test_a_host_that_closes_standard_input_is_read_per_tick(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: no samples of hosts that run one command and no more, or a login for each."""
    server, endpoint = scripted_server(servers.per_tick)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    for tick in range(1, 6):
        assert w.ask(1, tick).answer.disk is not None
    assert modes(w) == ["exec"]
    (chosen,) = w.of(1, ModeChosen)
    assert isinstance(chosen, ModeChosen)
    assert "exit status 0 without an answer" in chosen.reason
    assert server.login_attempts == 1
    assert server.sessions == 1 + 6
    assert not w.of(1, Lost) + w.of(1, OpenFailed)


def test_what_is_remembered_spares_the_first_session(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: every new collector asking every such host in vain first."""
    server, endpoint = scripted_server(servers.per_tick)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1, exec_since=datetime.now(UTC))])
    w.wait_open(1)
    w.ask(1, 1)
    assert server.sessions == 2
    assert modes(w) == []


def test_a_host_that_was_repaired_is_found_out_after_a_day(
    scripted_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a mended host that costs a shell per tick for ever."""
    monkeypatch.setattr("resmon_resources.session_choice.SHORT_LIFE_SECONDS", 0.0)
    server, endpoint = scripted_server(servers.canned)
    channel = opened(endpoint, endpoint.target(exec_since=datetime.now(UTC) - timedelta(hours=27)))
    try:
        assert channel.ask(1, 20).core
        assert channel.mode == "pull"
        assert channel.mode_change is not None
        assert channel.mode_change.mode == "pull"
        assert server.sessions == 1
    finally:
        channel.close()


def test_somebody_who_repaired_a_host_need_not_wait_a_day(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: `resmon server test` that says it works, and a day of the other mode."""
    server, endpoint = scripted_server(servers.per_tick)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    w.ask(1, 1)
    server.session = servers.canned
    w.fleet.retry_pull([1, 2])
    before = server.sessions
    for tick in (2, 3, 4):
        w.ask(1, tick)
    assert server.sessions == before + 1, "one session that is kept answers all"
    assert server.login_attempts == 1


def test_sessions_that_are_ended_cost_neither_a_tick_nor_a_login(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a host that flaps between the kinds, with two logins a minute."""
    server, endpoint = scripted_server(servers.ends_soon)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    for tick in range(1, 30):
        w.ask(1, tick)
        if tick == 15:
            w.fleet.retry_pull([1])
    assert modes(w) == ["exec", "exec"], "once found out, once confirmed"
    assert server.login_attempts == 1
    assert server.sessions <= 3 + 1 + 29
    assert not w.of(1, Lost) + w.of(1, OpenFailed)


def test_a_wrapper_that_collects_output_is_found_out_at_the_second_attempt(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a host that is silent because it waits for the end of the command."""
    server, endpoint = scripted_server(servers.collects_output)
    w = watch(endpoint.known_hosts, limits=replace(PATIENT, first_answer=2))
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    w.ask(1, 1)
    assert [e.cause for e in w.events if isinstance(e, OpenFailed)] == ["timeout"]
    assert modes(w) == ["exec"]
    assert server.login_attempts == 2


def test_a_host_on_which_nothing_runs_has_the_usual_pauses(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a second kind of session that doubles the logins of a broken host."""
    server, endpoint = scripted_server(servers.no_shell)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_for(lambda: len(w.of(1, OpenFailed)) >= 3)
    failed = w.of(1, OpenFailed)
    assert isinstance(failed[0], OpenFailed)
    assert failed[0].cause == "no_shell"
    assert "rbash: exec: restricted" in failed[0].detail
    assert server.login_attempts <= len(failed) + 1
    assert server.sessions <= 2 * server.login_attempts
    assert modes(w) == []


def test_a_silent_session_per_tick_never_piles_up(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a session more at each tick on a host that hangs."""
    server, endpoint = scripted_server(servers.per_tick)
    w = watch(endpoint.known_hosts, limits=replace(PATIENT, answer=3))
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    w.ask(1, 1)
    server.session = servers.silent
    before = server.sessions
    for tick in range(2, 30):
        assert w.fleet.request(1, tick)
    poll_until(lambda: server.sessions > before)
    w.wait_for(lambda: bool(w.of(1, Lost)))
    assert server.sessions <= before + 2
    lost = w.of(1, Lost)[0]
    assert isinstance(lost, Lost)
    assert lost.cause == "timeout"


def is_worn_out(w: Watch) -> bool:
    """Whether the connection of server 1 is going to be replaced."""
    member = w.fleet._members.get(1)
    channel = None if member is None else member.channel
    return channel is not None and channel.is_worn_out


def test_a_connection_is_replaced_after_its_number_of_sessions(
    scripted_server: ServerFactory, watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: memory that grows with each tick until the collector ends."""
    monkeypatch.setattr(ssh, "SESSIONS_PER_CONNECTION", 6)
    monkeypatch.setattr(ssh, "SESSIONS_SPREAD", 2)
    server, endpoint = scripted_server(servers.per_tick)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    for tick in range(1, 13):
        # An answer can be read an instant before its connection is taken out of use.
        w.wait_for(lambda: not is_worn_out(w))
        w.wait_open(1)
        w.ask(1, tick)
    w.wait_for(lambda: server.login_attempts == len(w.of(1, Opened)))
    assert 3 <= server.login_attempts <= 4
    assert not w.of(1, Lost) + w.of(1, OpenFailed)
    assert modes(w) == ["exec"], "the new connection knows"


def test_a_df_that_hangs_is_not_started_at_every_tick(scripted_server: ServerFactory) -> None:
    """Would let back: a hung process more at each tick, where no probe remembers the last."""
    options: list[list[str]] = []

    async def hung(process: asyncssh.SSHServerProcess[bytes]) -> None:
        nonce, *words = servers.words_of(process)
        if not words:
            process.exit(0)
            return
        options.append(words[1:])
        frames = servers.frames(nonce, int(words[0]), has_disk=False)
        if "c" in words:
            frames += f"@@RESMON1 {nonce} X {words[0]} no-disk\n".encode()
        process.stdout.write(frames)
        await process.stdin.read()
        await asyncio.sleep(60)

    _, endpoint = scripted_server(hung)
    limits = replace(PATIENT, disk_answer=0.3)
    channel = open_once(endpoint.target(), known_hosts=endpoint.known_hosts, limits=limits)
    try:
        for tick in range(1, 12):
            assert channel.ask(tick, 20).core
    finally:
        channel.close()
    assert [not option for option in options] == [
        *(True, False, False),
        *(True, False, False, False, False),
        *(True, False, False, False),
    ]


# A real sshd.


@pytest.fixture
def wrapped(sshd: Endpoint, ssh_keys: Keys) -> object:
    """A server whose forced command runs what is asked through a wrapper."""
    before = sshd.authorized_keys_file.read_text()

    def start(wrapper: str) -> Target:
        quoted = wrapper.replace('"', '\\"')
        line = f'restrict,command="{quoted}" {ssh_keys.public_line("forced")}'
        sshd.authorized_keys_file.write_text(f"{before}{line}\n")
        return sshd.target(identity_file=str(ssh_keys.private("forced")))

    yield start
    sshd.authorized_keys_file.write_text(before)


@pytest.mark.parametrize(
    "wrapper",
    [
        'sh -c "$SSH_ORIGINAL_COMMAND" </dev/null',
        'x=$(sh -c "$SSH_ORIGINAL_COMMAND" </dev/null); echo "$x"',
        'sh -c "$SSH_ORIGINAL_COMMAND" </dev/null | cat',
        'timeout 5 sh -c "$SSH_ORIGINAL_COMMAND" </dev/null',
    ],
)
def test_wrappers_of_a_real_sshd(
    sshd: Endpoint, wrapped: Callable[[str], Target], wrapper: str
) -> None:
    """Would let back: hosts that a bastion's or a security product's wrapper shuts out."""
    channel = opened(sshd, wrapped(wrapper))
    try:
        assert channel.mode == "exec"
        for tick in (1, 2, 3):
            reading = parse_answer(channel.ask(tick, 20, with_inodes=tick == 2))
            assert reading.cpu is not None
            assert reading.disk_total_bytes is not None
            assert reading.file_systems is not None
            types = {fs.type is not None for fs in reading.file_systems}
            assert types == {tick == 2}
    finally:
        channel.close()


def test_a_limit_of_time_on_sessions_of_a_real_sshd(
    sshd: Endpoint, wrapped: Callable[[str], Target], watch: Callable[..., Watch]
) -> None:
    """Would let back: a sample lost each time that the limit strikes."""
    target = wrapped('exec timeout 2 sh -c "$SSH_ORIGINAL_COMMAND"')
    w = watch(sshd.known_hosts)
    w.fleet.reconcile([target])
    w.wait_open(target.server_id)
    tick = 0
    while modes(w) != ["exec"]:
        tick += 1
        w.ask(target.server_id, tick)
    assert tick > 2
    for later in range(tick + 1, tick + 4):
        w.ask(target.server_id, later)
    assert len(w.of(target.server_id, Opened)) == 1
    assert not w.of(target.server_id, Lost)


def test_no_process_and_no_session_stays_behind_a_tick(
    sshd: Endpoint, wrapped: Callable[[str], Target]
) -> None:
    """Would let back: a shell more on the host with each tick."""
    channel = opened(sshd, wrapped('sh -c "$SSH_ORIGINAL_COMMAND" </dev/null'))
    try:
        before = len(servers.children_of(os.getpid()))
        for tick in range(1, 20):
            channel.ask(tick, 20)
        poll_until(lambda: len(servers.children_of(os.getpid())) <= before, what="shells left")
        transport = channel.transport_thread
        assert isinstance(transport, paramiko.Transport)
        poll_until(lambda: not transport._channels.values(), what="sessions left")
        assert not transport.channel_events
    finally:
        channel.close()


def test_a_lost_connection_is_no_choice(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: every server remembered as one that keeps no session, after a restart."""
    server, endpoint = scripted_server(servers.canned)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    for count in range(1, 5):
        w.wait_for(lambda n=count: len(w.of(1, Opened)) >= n)  # type: ignore[misc]
        w.ask(1, count)
        server.cut()
        w.wait_for(lambda n=count: len(w.of(1, Lost)) >= n)  # type: ignore[misc]
    assert modes(w) == []
    assert [e.cause for e in w.events if isinstance(e, Lost)] == ["unreachable"] * 4


def test_a_connection_lost_between_ticks_of_single_sessions_is_told(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: a dead connection that is found out two ticks late."""
    server, endpoint = scripted_server(servers.per_tick)
    w = watch(endpoint.known_hosts)
    w.fleet.reconcile([endpoint.target(1)])
    w.wait_open(1)
    w.ask(1, 1)
    server.cut()
    began = time.monotonic()
    w.wait_for(lambda: bool(w.of(1, Lost)))
    assert time.monotonic() - began < 10, "without a tick that finds out"
    w.wait_for(lambda: len(w.of(1, Opened)) >= 2)
    w.ask(1, 3)


def test_both_kinds_failing_tell_of_the_first(
    scripted_server: ServerFactory, tmp_path: object
) -> None:
    """Would let back: the words of a host hidden by those of the second try."""
    _, endpoint = scripted_server(servers.garbage)
    with pytest.raises(CollectionError, match="Your choice") as caught:
        open_once(endpoint.target(), known_hosts=KnownHosts(endpoint.known_hosts_file)).close()
    assert caught.value.cause == "unreadable"


def test_behind_a_jump_host_too(
    scripted_server: ServerFactory, watch: Callable[..., Watch]
) -> None:
    """Would let back: no session per tick through a tunnel, or an end that nobody tells."""
    hop, outer = scripted_server(forwards=True)
    server, endpoint = scripted_server(servers.per_tick)
    w = watch(endpoint.known_hosts)
    jump = f"{outer.user_name}@{outer.host}:{outer.port}"
    w.fleet.reconcile([endpoint.target(1, proxy_jump=jump)])
    w.wait_open(1)
    for tick in range(1, 6):
        assert w.ask(1, tick).answer.disk is not None
    assert modes(w) == ["exec"]
    assert (hop.login_attempts, server.login_attempts) == (1, 1)
    hop.cut()
    w.wait_for(lambda: bool(w.of(1, Lost)))
    (lost,) = w.of(1, Lost)
    assert isinstance(lost, Lost)
    assert f"the jump host {outer.host}:{outer.port} is gone" in lost.detail
