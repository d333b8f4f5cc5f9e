"""One channel, opened step by step, against OpenSSH and against servers that misbehave."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from resmon_resources.channels import Step
from resmon_resources.errors import CollectionError
from resmon_resources.fleet import Limits, Target, open_once
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.reading import parse_answer
from resmon_resources.ssh import SshChannel
from tests import fixtures_ssh as servers
from tests.fixtures_services import free_port
from tests.fixtures_ssh import PATIENT, Endpoint, Keys, ServerFactory, poll_until

pytestmark = pytest.mark.integration

PASSPHRASE = "correct horse"  # noqa: S105

TcpFactory = Callable[[Callable[[socket.socket], None]], int]


def failure_of(
    target: Target, known_hosts: KnownHosts, limits: Limits = PATIENT
) -> CollectionError:
    """The error of an opening that must fail."""
    with pytest.raises(CollectionError) as caught:
        open_once(target, known_hosts=known_hosts, limits=limits).close()
    return caught.value


def test_steps_are_reported_in_order_and_ticks_are_answered(ssh_server: Endpoint) -> None:
    """A step that is not timed leaves `resmon server test` silent where it matters."""
    steps: list[Step] = []
    channel = open_once(
        ssh_server.target(), known_hosts=ssh_server.known_hosts, on_step=steps.append
    )
    try:
        assert [step.name for step in steps] == [
            *("resolve", "connect", "banner", "handshake", "host_key", "auth", "shell", "read"),
        ]
        assert all(step.seconds >= 0 for step in steps)
        assert "SHA256:" in steps[4].detail
        assert parse_answer(channel.first_answer).memory_total_bytes
        assert [channel.ask(tick, 20).tick for tick in (1, 2, 1_750_000_000)] == [
            *(1, 2, 1_750_000_000),
        ]
    finally:
        channel.close()


def test_an_idle_connection_wakes_up_rarely(ssh_server: Endpoint) -> None:
    """paramiko polls ten times a second: 1,000 idle connections burn a quarter of a core."""
    channel = open_once(ssh_server.target(), known_hosts=ssh_server.known_hosts)
    assert isinstance(channel, SshChannel)
    try:
        status = Path(f"/proc/self/task/{channel.transport_thread.native_id}/status")

        def switches() -> int:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            return int(fields["voluntary_ctxt_switches"])

        time.sleep(0.3)  # the poll that was under way when the timeout was raised
        before = switches()
        time.sleep(2)  # what is measured is a rate
        assert switches() - before <= 5, "the default would be 20"
    finally:
        channel.close()


def test_closing_ends_the_remote_shell(sshd: Endpoint) -> None:
    """A probe that outlives its client fills the server with shells."""
    before = set(servers.children_of(os.getpid()))
    channel = open_once(sshd.target(), known_hosts=sshd.known_hosts)
    assert set(servers.children_of(os.getpid())) - before
    channel.close()
    poll_until(lambda: not set(servers.children_of(os.getpid())) - before, what="remote shells")


@pytest.mark.parametrize(
    ("session", "cause", "words"),
    [
        (servers.garbage, "unreadable", "Your choice"),
        (servers.truncated, "unreadable", "broke off"),
        (servers.flood, "unreadable", "1048576 bytes"),
        (servers.silent, "timeout", "in 1 s"),
        (servers.no_shell, "no_shell", "exit status 127, after: rbash: exec: restricted"),
        (servers.unsupported, "unsupported", "FreeBSD"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_session_that_is_no_probe(
    scripted_server: ServerFactory, session: servers.Session, cause: str, words: str
) -> None:
    """Each foreign output has its own cause, and its first words are quoted."""
    _, endpoint = scripted_server(session)
    limits = replace(PATIENT, first_answer=1) if session is servers.silent else PATIENT
    error = failure_of(endpoint.target(), endpoint.known_hosts, limits)
    assert error.cause == cause
    assert words in str(error)
    assert "server-1" in str(error)


@pytest.mark.parametrize("session", [servers.noisy, servers.trickle, servers.canned])
def test_noise_and_pieces_do_not_spoil_an_answer(
    scripted_server: ServerFactory, session: servers.Session
) -> None:
    """A greeting in another encoding, a forged frame, or small pieces must not lose a sample."""
    _, endpoint = scripted_server(session)
    channel = open_once(endpoint.target(), known_hosts=endpoint.known_hosts)
    try:
        reading = parse_answer(channel.ask(5, 20))
        assert reading.cpu is not None
        assert "net eth0 7000 3500" in channel.ask(6, 20).core[-1]
    finally:
        channel.close()


def test_a_hanging_df_costs_only_the_disk_part(scripted_server: ServerFactory) -> None:
    """A hung mount must not blank CPU and memory."""
    _, endpoint = scripted_server(servers.core_only)
    limits = replace(PATIENT, disk_answer=0.3)
    channel = open_once(endpoint.target(), known_hosts=endpoint.known_hosts, limits=limits)
    try:
        answer = channel.ask(1, 20)
        assert answer.core
        assert answer.disk is None
        assert answer.disk_reason == "disk-late"
    finally:
        channel.close()


def test_a_probe_that_dies_later_is_reported_with_its_status(
    scripted_server: ServerFactory,
) -> None:
    """The end of the shell must not look like a network failure."""
    _, endpoint = scripted_server(servers.dies_for_good)
    channel = open_once(endpoint.target(), known_hosts=endpoint.known_hosts)
    try:
        with pytest.raises(CollectionError, match="exit status 137") as caught:
            channel.ask(1, 20)
        assert caught.value.cause == "no_shell"
        assert caught.value.step == "read"
    finally:
        channel.close()


# Host keys.


def test_an_unknown_host_key_is_refused_before_any_login(
    scripted_server: ServerFactory, tmp_path: Path
) -> None:
    """Logging in first would hand a signature to whoever answers."""
    server, endpoint = scripted_server()
    empty = tmp_path / "empty"
    error = failure_of(endpoint.target(), KnownHosts(empty))
    assert error.cause == "host_key_unknown"
    assert error.step == "host_key"
    assert "SHA256:" in str(error)
    assert f"ssh-keyscan -p {endpoint.port} 127.0.0.1 >> {empty}" in str(error)
    assert server.login_attempts == 0


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path
) -> None:
    """A person in the middle shows exactly this."""
    known = tmp_path / "changed"
    known.write_text(f"[127.0.0.1]:{ssh_server.port} {ssh_keys.public_line('stranger')}\n")
    error = failure_of(ssh_server.target(), KnownHosts(known), PATIENT)
    assert error.cause == "host_key_changed"
    assert str(error).count("SHA256:") == 2
    assert "ssh-keygen -R" in str(error)


def test_a_host_known_by_one_of_its_keys_is_asked_for_that_one(
    scripted_server: ServerFactory, ssh_keys: Keys, tmp_path: Path
) -> None:
    """Without the preference a host known by ecdsa that also has ed25519 would seem changed."""
    other = ssh_keys.private("host-ecdsa", "ecdsa-sha2-nistp256")
    options = {"server_host_keys": [str(ssh_keys.private("host")), str(other)]}
    _, endpoint = scripted_server(options=options)
    known = tmp_path / "ecdsa-only"
    known.write_text(f"[127.0.0.1]:{endpoint.port} {ssh_keys.public_line('host-ecdsa')}\n")
    steps: list[Step] = []
    channel = open_once(endpoint.target(), known_hosts=KnownHosts(known), on_step=steps.append)
    channel.close()
    assert steps[4].detail.startswith("ecdsa-sha2-nistp256 ")


# Logins.


def test_a_refused_login_names_the_user_and_the_keys(ssh_server: Endpoint, ssh_keys: Keys) -> None:
    """`Authentication failed` alone does not say which key to add where."""
    stranger = ssh_keys.private("stranger")
    target = ssh_server.target(identity_file=str(stranger))
    error = failure_of(target, ssh_server.known_hosts, PATIENT)
    assert error.cause == "auth_failed"
    assert error.step == "auth"
    assert str(stranger) in str(error)
    assert f"authorized_keys of {ssh_server.user_name}" in str(error)
    assert "--identity-file" in str(error)
    assert "PRIVATE KEY" not in str(error)


def test_keys_in_the_home_folder_are_tried(sshd: Endpoint, ssh_keys: Keys) -> None:
    """Without an identity file the usual keys must do, the refused ones first."""
    # OpenSSH only: paramiko asks for the service again with each key, which asyncssh takes amiss.
    folder = Path("~/.ssh").expanduser()
    folder.mkdir(parents=True)
    (folder / "id_ed25519").write_bytes(ssh_keys.private("stranger").read_bytes())
    (folder / "id_rsa").write_bytes(ssh_keys.private("client").read_bytes())
    steps: list[Step] = []
    open_once(
        sshd.target(identity_file=None),
        known_hosts=sshd.known_hosts,
        on_step=steps.append,
    ).close()
    assert steps[5].detail == f"{sshd.user_name}, {folder / 'id_rsa'}"


def test_the_agent_is_asked(sshd: Endpoint, ssh_keys: Keys, tmp_path: Path) -> None:
    """People with a passphrase on their key have it in the agent only."""
    sock = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        poll_until(sock.exists, what="the agent's socket")
        os.environ["SSH_AUTH_SOCK"] = str(sock)
        subprocess.run(["ssh-add", "-q", str(ssh_keys.private("client"))], check=True)
        steps: list[Step] = []
        target = sshd.target(identity_file=None)
        open_once(target, known_hosts=sshd.known_hosts, on_step=steps.append).close()
        assert "agent: " in steps[5].detail

        encrypted = tmp_path / "encrypted"
        key = asyncssh.read_private_key(ssh_keys.private("client"))
        key.write_private_key(encrypted, passphrase=PASSPHRASE)
        key.write_public_key(f"{encrypted}.pub")
        target = sshd.target(identity_file=str(encrypted))
        open_once(target, known_hosts=sshd.known_hosts, on_step=steps.append).close()
        assert f"{encrypted} (by the agent)" in steps[-3].detail
    finally:
        os.environ.pop("SSH_AUTH_SOCK", None)
        agent.terminate()
        agent.wait()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"not a key", "not a private key"),
        ("encrypted", "ssh-add"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_named_with_the_reason(
    scripted_server: ServerFactory,
    ssh_keys: Keys,
    tmp_path: Path,
    content: bytes | str | None,
    words: str,
) -> None:
    """`No authentication methods available` hides a typing error in a path."""
    _, endpoint = scripted_server()
    path = tmp_path / "identity"
    if content == "encrypted":
        key = asyncssh.read_private_key(ssh_keys.private("client"))
        key.write_private_key(path, passphrase=PASSPHRASE)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    error = failure_of(endpoint.target(identity_file=str(path)), endpoint.known_hosts, PATIENT)
    assert error.cause == "auth_failed"
    assert str(path) in str(error)
    assert words in str(error)


def test_no_key_at_all(scripted_server: ServerFactory) -> None:
    """A machine without keys must be told so, not that its keys were refused."""
    _, endpoint = scripted_server()
    error = failure_of(endpoint.target(identity_file=None), endpoint.known_hosts, PATIENT)
    assert error.cause == "auth_failed"
    assert "no key was found" in str(error)


def test_a_server_that_takes_passwords_only(scripted_server: ServerFactory) -> None:
    """Trying further keys there would only fill its log."""
    _, endpoint = scripted_server(accepts_keys=False)
    error = failure_of(endpoint.target(), endpoint.known_hosts, PATIENT)
    assert error.cause == "auth_failed"
    assert "password" in str(error)


def test_a_certificate_beside_the_key_is_used(
    sshd: Endpoint, ssh_keys: Keys, tmp_path: Path
) -> None:
    """Fleets with a certificate authority have no authorized_keys; a stale one locks nobody out."""
    authority = asyncssh.read_private_key(ssh_keys.private("ca"))
    for name, principal in (("stranger", sshd.user_name), ("client", "somebody-else")):
        path = tmp_path / name
        path.write_bytes(ssh_keys.private(name).read_bytes())
        public = asyncssh.read_public_key(f"{ssh_keys.private(name)}.pub")
        certificate = authority.generate_user_certificate(public, name, principals=[principal])
        certificate.write_certificate(f"{path}-cert.pub")
    steps: list[Step] = []
    for name in ("stranger", "client"):
        target = sshd.target(identity_file=str(tmp_path / name))
        open_once(target, known_hosts=sshd.known_hosts, on_step=steps.append).close()
    logins = [step.detail.split(", ")[1] for step in steps if step.name == "auth"]
    assert logins == [f"{tmp_path / 'stranger'}-cert.pub", str(tmp_path / "client")]


def test_an_agent_that_is_gone_does_no_harm(
    scripted_server: ServerFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A service started from a login session keeps the variable of an agent that ended."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    _, endpoint = scripted_server()
    open_once(endpoint.target(), known_hosts=endpoint.known_hosts).close()


@pytest.mark.parametrize(
    ("place", "limits", "step"),
    [
        ("login", replace(PATIENT, auth=1), "auth"),
        ("session", replace(PATIENT, first_answer=1), "shell"),
        ("command", replace(PATIENT, first_answer=1), "shell"),
    ],
)
def test_a_server_that_hangs_after_the_key_exchange(
    scripted_server: ServerFactory, place: str, limits: Limits, step: str
) -> None:
    """paramiko waits for the word on a command without any limit; no worker may wait for ever."""
    _, endpoint = scripted_server(hangs_in=place)
    error = failure_of(endpoint.target(), endpoint.known_hosts, limits)
    assert (error.cause, error.step) == ("timeout", step)


def test_a_server_that_opens_no_session(scripted_server: ServerFactory) -> None:
    """An account for files only lets us in and runs nothing."""
    _, endpoint = scripted_server(opens_sessions=False)
    error = failure_of(endpoint.target(), endpoint.known_hosts, PATIENT)
    assert (error.cause, error.step) == ("no_shell", "shell")


def test_a_server_without_a_common_algorithm(scripted_server: ServerFactory) -> None:
    """Trying again does not help; the person has to change the server."""
    options = {"encryption_algs": ["chacha20-poly1305@openssh.com"]}
    _, endpoint = scripted_server(options=options)
    error = failure_of(endpoint.target(), endpoint.known_hosts, PATIENT)
    assert (error.cause, error.step) == ("unsupported", "handshake")


# Before SSH begins.


def greet_and_hang(connection: socket.socket) -> None:
    """An sshd that cannot go on after its greeting."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    servers.wait_for_hangup(connection)


def greet_and_babble(connection: socket.socket) -> None:
    """Something that pretends to be SSH."""
    connection.sendall(b"SSH-2.0-Nonsense\r\n" + b"\x00\x00\x00\x0cbabble babble babble\r\n" * 40)
    servers.wait_for_hangup(connection)


def greet_and_go(connection: socket.socket) -> None:
    """An sshd that is killed during the key exchange."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    connection.recv(10)
    connection.shutdown(socket.SHUT_RDWR)


def trickle(connection: socket.socket) -> None:
    """A tarpit (endlessh): an endless greeting, a few bytes at a time."""
    while True:
        connection.sendall(b"x\r\n")
        time.sleep(0.05)


def speak_http(connection: socket.socket) -> None:
    """A web server."""
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"<p>" * 4000)
    servers.wait_for_hangup(connection)


def refuse_politely(connection: socket.socket) -> None:
    """sshd beyond its MaxStartups."""
    connection.sendall(b"Exceeded MaxStartups\r\n")


@pytest.mark.parametrize(
    ("play", "cause", "step", "limits"),
    [
        (servers.wait_for_hangup, "timeout", "banner", replace(PATIENT, banner=1)),
        (trickle, "timeout", "banner", replace(PATIENT, banner=1)),
        (speak_http, "unreadable", "banner", PATIENT),
        (refuse_politely, "unreachable", "banner", PATIENT),
        (greet_and_hang, "timeout", "handshake", replace(PATIENT, handshake=1)),
        (greet_and_babble, "unreadable", "handshake", PATIENT),
        (greet_and_go, "unreachable", "handshake", PATIENT),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_listens_there_is_no_ssh_server(
    tcp_server: TcpFactory,
    ssh_keys: Keys,
    tmp_path: Path,
    play: Callable[[socket.socket], None],
    cause: str,
    step: str,
    limits: Limits,
) -> None:
    """Each hang and each foreign protocol ends at its own step, within its limit."""
    port = tcp_server(play)
    endpoint = Endpoint(port, "somebody", ssh_keys.private("client"), tmp_path / "known")
    began = time.monotonic()
    error = failure_of(endpoint.target(), endpoint.known_hosts, limits)
    assert (error.cause, error.step) == (cause, step)
    assert time.monotonic() - began < 10


def test_a_closed_port_is_refused(tmp_path: Path, ssh_keys: Keys) -> None:
    """Refused and unreachable need different hands."""
    endpoint = Endpoint(free_port(), "somebody", ssh_keys.private("client"), tmp_path / "known")
    error = failure_of(endpoint.target(), endpoint.known_hosts)
    assert (error.cause, error.step) == ("refused", "connect")


def test_a_black_hole_times_out(tmp_path: Path, ssh_keys: Keys) -> None:
    """A firewall that drops packets must cost the connect limit, not the system's two minutes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]  # Linux then drops what comes
        for filler in fillers:
            filler.settimeout(0.0)
            filler.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        endpoint = Endpoint(port, "somebody", ssh_keys.private("client"), tmp_path / "known")
        error = failure_of(endpoint.target(), endpoint.known_hosts, replace(PATIENT, connect=0.5))
        for filler in fillers:
            filler.close()
    assert (error.cause, error.step) == ("timeout", "connect")


def test_a_name_that_cannot_be_one(tmp_path: Path, ssh_keys: Keys) -> None:
    """A typing error in a host name must not look like a machine that is down."""
    endpoint = Endpoint(22, "somebody", ssh_keys.private("client"), tmp_path / "known", host="a..b")
    error = failure_of(endpoint.target(), endpoint.known_hosts)
    assert (error.cause, error.step) == ("unreachable", "resolve")
    assert "a..b" in str(error)
