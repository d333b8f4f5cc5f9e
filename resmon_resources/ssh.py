"""SSH: from a target to a probe channel, step by step, over paramiko.

Belongs here: resolving, connecting, reading the banner, key exchange, the check of the host key,
authentication by keys, the way through jump hosts, starting the probe, and the channel itself.
paramiko is used here, in ssh_hub.py and ssh_session.py, nowhere else; its exceptions end here.
Knows nothing of retries, schedules or fleets.

Every server has connections of its own to its jump hosts: a shared one would end the channels of
all servers behind it when one of them floods it, and paramiko keeps something for ever of each
channel that a transport has had. The cost is a login at the jump host, and a thread, per server.

Traps of paramiko 5.1 that this module lives around (measured before the design was fixed):

* The transport's thread polls its socket every 0.1 s: 1,000 idle connections burn 26 % of a core.
  In a fleet a transport has no thread (ssh_hub.py); elsewhere, and behind a jump host, the timeout
  of its socket is raised once the probe is started (`IDLE_POLL_SECONDS`).
* `start_client(timeout=...)` returns silently when time is up, so an event and our own limit are
  used.
* `Channel.exec_command` waits for the server's word without any limit; a timer cuts the socket.
* Writes wait during a key re-exchange and when the peer does not read. Both are looked at before a
  write.
* A transport that is closed while its thread still sends may send on another connection's
  descriptor: shut down, join the thread, then close, from one place.
* `Packetizer.start_handshake` leaves a timer thread behind when the handshake fails.
"""

import contextlib
import getpass
import ipaddress
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from resmon_resources.channels import Attempt, Limits, ProbeChannel, Target, new_nonce, quote_output
from resmon_resources.errors import Cause, CollectionError, ConfigurationInvalid
from resmon_resources.host_keys import HostKey, verify_host_key
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.framing import Answer
from resmon_resources.probe.program import probe_command, single_shot_command
from resmon_resources.proxy_jump import SSH_PORT, parse_proxy_jump
from resmon_resources.session_choice import REMEMBER_SECONDS, Mode, SessionChoice
from resmon_resources.ssh_hub import Hub, HubTransport
from resmon_resources.ssh_session import SessionTransport

IDLE_POLL_SECONDS = 15.0
"""Socket timeout of an open connection. At 15 s 10,000 idle ones took 2.5 % of a core (EPYC)."""

USER_TIMEOUT_MILLISECONDS = 60_000
"""TCP gives up on a peer that acknowledges nothing for this long (TCP_USER_TIMEOUT)."""

WINDOW_BYTES = 256 * 1024
"""What a server may send before we read on; bounds the memory that a flood takes."""

KEY_EXCHANGE_WAIT_SECONDS = 2.0
"""Longest that a write may wait when a key re-exchange begins between our look and the write."""

SESSIONS_PER_CONNECTION = 1_000
"""Sessions after which a connection is replaced: paramiko 5.1 keeps the number of each for ever, 71
KB per 1,000 (tracemalloc), as much as the connection itself. A server of 30 s that is read by a
session per tick has 2,880 a day, so that this makes three or four logins."""

SESSIONS_SPREAD = 250
"""How far the number of a server goes below that, so that a fleet does not log in at once."""

MAXIMUM_DISK_PAUSE = 1_024
"""Most ticks in a row that go without disk after a df has hung: eight hours at 30 s."""

DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
"""Private keys looked for in ~/.ssh, in this order."""

_BANNER_BYTES = 8 * 1024
_SHORT_WRITE_BYTES = 4 * 1024
_READ_BYTES = 64 * 1024
_FORBIDDEN = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 section 5.1
_QUOTED_STDERR_BYTES = 500

# paramiko logs a traceback for each host that fails; we report the failure as a CollectionError.
_PARAMIKO_LOG = logging.getLogger("paramiko")


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key to try.

    Attributes:
        label: file name or "agent: comment", for messages.
        key: the key, never shown.
    """

    label: str
    key: paramiko.PKey


class IdentityFiles:
    """Private keys loaded from files, kept until a file changes; safe for use by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[Path, tuple[tuple[int, int], list[paramiko.PKey]]] = {}

    def load(self, path: Path) -> list[paramiko.PKey]:
        """Keys of a file: with its certificate `<file>-cert.pub` first, then alone.

        Raises:
            OSError: the file cannot be read.
            paramiko.SSHException, ValueError, TypeError, UnsupportedAlgorithm: it holds no key that
                can be used; TypeError means that it is encrypted.
        """
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        with self._lock:
            found = self._loaded.get(path)
        if found is not None and found[0] == stamp:
            return found[1]
        key = paramiko.PKey.from_path(path)
        keys = [key]
        if key.public_blob is not None:
            # An expired certificate must not stand in the way of the key, as it does not with ssh.
            keys.append(type(key).from_private_key_file(str(path)))
        with self._lock:
            self._loaded[path] = (stamp, keys)
        return keys


def public_key_of(target: Target) -> tuple[str, str]:
    """Public key that a server is logged in to with, and where it was found.

    It is the first that collection tries: the named file's (its .pub when the private key is
    encrypted), else the agent's, else that of the usual files in ~/.ssh.

    Returns:
        Type and base64 as in a .pub file; a label for messages.

    Raises:
        ConfigurationInvalid: there is no key; says where it was looked for.
    """
    problems: list[str] = []
    with _agent_keys() as agent:
        for identity in _identities(target, IdentityFiles(), agent, problems):
            return f"{identity.key.get_name()} {identity.key.get_base64()}", identity.label
    if target.identity_file is not None:
        public = Path(f"{target.identity_file}.pub").expanduser()
        with contextlib.suppress(OSError, UnicodeDecodeError):
            words = public.read_text(encoding="utf-8").split()
            if len(words) > 1:
                return f"{words[0]} {words[1]}", str(public)
    where = target.identity_file or "the SSH agent and the usual files in ~/.ssh"
    seen = f" ({'; '.join(problems)})" if problems else ""
    msg = (
        f"There is no key to log in to {target.name} with: looked at {where}{seen}. Make one with "
        f"ssh-keygen -t ed25519, and name it: resmon server edit {target.name} --identity-file PATH"
    )
    raise ConfigurationInvalid(msg)


def quiet_paramiko() -> None:
    """Keep paramiko from printing tracebacks of hosts that fail, unless somebody set its level."""
    if _PARAMIKO_LOG.level == logging.NOTSET:
        _PARAMIKO_LOG.setLevel(logging.CRITICAL + 1)


def open_ssh(
    target: Target, *, known_hosts: KnownHosts, identities: IdentityFiles, attempt: Attempt
) -> "SshChannel":
    """Open a connection and start the probe; its priming answer is still to come. Waits.

    Raises:
        CollectionError: a step failed; names the step and what to do. Nothing is left open.
    """
    return shake_hands(
        target,
        _greeted_socket(target, attempt),
        known_hosts=known_hosts,
        identities=identities,
        attempt=attempt,
    )


def fetch_host_key(
    target: Target, *, known_hosts: KnownHosts, identities: IdentityFiles, attempt: Attempt
) -> HostKey:
    """The host key that a server shows now, proven by a key exchange; does not log in. Waits.

    It is the key of the type that collection would ask for. Nothing is judged but the jump hosts,
    which are passed as always: their keys are checked, and they are logged in to.

    Raises:
        CollectionError: a step failed; names the step and what to do. Nothing is left open.
    """
    quiet_paramiko()
    route = Route(_greeted_socket(target, attempt))
    attempt.hold(route.shut_down)
    try:
        _travel(target, route, known_hosts, identities, attempt)
        return _shown_key(target, route.transport)
    finally:
        route.close(timeout_seconds=2)


def _greeted_socket(target: Target, attempt: Attempt) -> socket.socket:
    """Look up and connect to the first stop, and wait for its greeting."""
    stop = first_stop(target, attempt)
    dial = Dial(stop, resolve(stop, attempt), attempt)
    with contextlib.closing(dial):
        while not dial.is_greeted:
            poll = select.poll()
            poll.register(dial.fileno, select.POLLIN if dial.is_connected else select.POLLOUT)
            if poll.poll(max(0.0, dial.deadline - time.monotonic()) * 1000):
                dial.proceed()
            else:
                dial.overdue()
        return dial.detach()


def shake_hands(
    target: Target,
    sock: socket.socket,
    *,
    known_hosts: KnownHosts,
    identities: IdentityFiles,
    attempt: Attempt,
    hub: Hub | None = None,
) -> "SshChannel":
    """From a greeted socket to a started probe: key exchange, host key, login, shell. Waits.

    The socket is that of the first jump host when there are any; the same checks, keys and limits
    hold for each of them, and through the last one the server itself is reached. With a hub the
    transport on the socket runs there; without one, and behind a jump host, it is a thread.

    Raises:
        CollectionError: a step failed; names the step and what to do. The socket is closed then.
    """
    quiet_paramiko()
    route = Route(sock, hub)
    attempt.hold(route.shut_down)
    channel = None
    try:
        _travel(target, route, known_hosts, identities, attempt)
        _check_host_key(target, target, route.transport, known_hosts, attempt)
        _authenticate(target, route.transport, identities, attempt)
        channel = _start_probe(target, route, attempt)
    finally:
        if channel is None:
            route.close(timeout_seconds=2)
    return channel


def _travel(
    target: Target,
    route: "Route",
    known_hosts: KnownHosts,
    identities: IdentityFiles,
    attempt: Attempt,
) -> None:
    """Pass the jump hosts and exchange keys with the server; its own key is not judged yet."""
    for stop in stops_of(target):
        attempt.jump_host = "" if stop is target else stop.place
        if route.length:
            route.tunnel_to(stop, attempt)
        transport = route.add_transport(stop)
        _exchange_keys(stop, transport, known_hosts, attempt)
        if stop is not target:
            _check_host_key(target, stop, transport, known_hosts, attempt)
            _authenticate(stop, transport, identities, attempt)


def stops_of(target: Target) -> list[Target]:
    """The jump hosts of a server in their order, as targets, and the server itself at the end.

    Raises:
        CollectionError: what the inventory holds as jump hosts cannot be read.
    """
    if target.proxy_jump is None:
        return [target]
    try:
        hops = parse_proxy_jump(target.proxy_jump)
    except ValueError as error:
        msg = f"The jump hosts of {target.name} cannot be used: {error}. Change --proxy-jump."
        raise CollectionError(msg, cause="unsupported", step="resolve") from error
    return [
        *(
            replace(
                target,
                name=f"the jump host of {target.name}",
                host=hop.host,
                port=hop.port or SSH_PORT,
                user_name=hop.user_name,
                proxy_jump=None,
                host_key=None,
            )
            for hop in hops
        ),
        target,
    ]


def first_stop(target: Target, attempt: Attempt | None = None) -> Target:
    """What is connected to by TCP: the first jump host, or the server itself.

    Raises:
        CollectionError: what the inventory holds as jump hosts cannot be read.
    """
    stop = stops_of(target)[0]
    if attempt is not None:
        attempt.jump_host = "" if stop is target else stop.place
    return stop


class Tunnel:
    """A channel through a jump host, in the place of the socket of the next transport."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._seen = b""

    def recv(self, size: int) -> bytes:
        """Bytes, first those of the greeting; b"" at the end. TimeoutError as a socket."""
        if self._seen:
            piece, self._seen = self._seen[:size], self._seen[size:]
            return piece
        return self._channel.recv(size)

    def send(self, piece: bytes) -> int:
        """Send some of these bytes; TimeoutError when the jump host takes none."""
        return self._channel.send(piece)

    def settimeout(self, seconds: float | None) -> None:
        """Longest wait of `recv` and `send`."""
        self._channel.settimeout(seconds)

    def close(self) -> None:
        """End the channel."""
        _close_quietly(self._channel)

    @property
    def has_room(self) -> bool:
        """Whether a short write would not wait for the other end."""
        return self._channel.out_window_size >= _SHORT_WRITE_BYTES

    @property
    def was_torn(self) -> bool:
        """Whether it ended without the server having ended it."""
        return self._channel.closed and not self._channel.eof_received

    def read_greeting(self, target: Target, attempt: Attempt) -> str:
        """Wait for the line in which the server says which SSH it speaks; it stays to be read.

        Raises:
            CollectionError: it does not come in time, or something else does.
        """
        deadline = time.monotonic() + attempt.seconds_left(attempt.limits.banner)
        while True:
            for line in self._seen.split(b"\n")[:-1]:
                if line.startswith(b"SSH-"):
                    return quote_output(line)
            if len(self._seen) >= _BANNER_BYTES:
                raise _no_ssh(target, self._seen)
            self._channel.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                piece = self._channel.recv(_BANNER_BYTES)
            except TimeoutError as error:
                raise _no_greeting(target, attempt.limits.banner) from error
            if not piece:
                raise _closed_early(target, self._seen)
            self._seen += piece


@dataclass(slots=True)
class _Stage:
    """One transport of a route, what it runs on, and for a jump host the tunnel behind it."""

    stop: Target
    transport: SessionTransport
    base: "socket.socket | Tunnel"
    tunnel: Tunnel | None = None


class Route:
    """The way to a server: one socket, the transports of its jump hosts, and its own.

    Cutting the socket ends them one after another, each by the end of what it runs on.
    """

    def __init__(self, sock: socket.socket, hub: Hub | None = None) -> None:
        self._sock = sock
        self._hub = hub
        self._stages: list[_Stage] = []
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)

    @property
    def length(self) -> int:
        """Transports so far."""
        return len(self._stages)

    @property
    def transport(self) -> SessionTransport:
        """The last transport, that of the server when all is open."""
        return self._stages[-1].transport

    def add_transport(self, stop: Target) -> SessionTransport:
        """A transport on the socket, or on the last tunnel."""
        tunnel = self._stages[-1].tunnel if self._stages else None
        base: socket.socket | Tunnel = self._sock if tunnel is None else tunnel
        transport: SessionTransport
        if tunnel is None and self._hub is not None:
            transport = self._hub.transport(self._sock)
        else:
            # A transport asks of a socket what a Tunnel has: recv, send, settimeout, close.
            transport = SessionTransport(cast("socket.socket", base))
        self._stages.append(_Stage(stop, transport, base))
        return transport

    def tunnel_to(self, stop: Target, attempt: Attempt) -> None:
        """Have the last jump host connect to the next stop, and wait for that one's greeting.

        Raises:
            CollectionError: it refuses, cannot, or does not answer; or no SSH is at the other end.
        """
        last = self._stages[-1]
        began = attempt.begin("connect")
        left = attempt.seconds_left(attempt.limits.connect)
        with self.cut_after(left, attempt) as is_cut:
            try:
                channel = last.transport.open_channel(
                    "direct-tcpip",
                    (stop.host, stop.port),
                    ("127.0.0.1", 0),
                    window_size=WINDOW_BYTES,
                    timeout=left,
                )
            except (paramiko.SSHException, EOFError, OSError) as error:
                is_late = is_cut.is_set() or "Timeout" in str(error)
                raise _tunnel_error(stop, last.stop, error, left if is_late else None) from error
        last.transport.clear_to_send_timeout = KEY_EXCHANGE_WAIT_SECONDS
        last.tunnel = Tunnel(channel)
        attempt.end(began, f"through {last.stop.place}")
        began = attempt.begin("banner")
        attempt.end(began, last.tunnel.read_greeting(stop, attempt))

    @contextlib.contextmanager
    def cut_after(self, seconds: float, attempt: Attempt) -> Iterator[threading.Event]:
        """Cut the socket when the context takes longer, for calls without a limit of their own.

        Raises:
            CollectionError: no thread could be started to watch over the time.
        """
        is_cut = threading.Event()

        def cut() -> None:
            is_cut.set()
            self.shut_down()

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as error:
            raise no_thread(self._stages[-1].stop, error, attempt) from error
        try:
            yield is_cut
        finally:
            timer.cancel()
            timer.join()

    def rest(self) -> None:
        """Have the threads of all transports sleep long; called when the probe runs."""
        self.transport.clear_to_send_timeout = KEY_EXCHANGE_WAIT_SECONDS
        for stage in self._stages:
            if not isinstance(stage.transport, HubTransport):
                stage.base.settimeout(IDLE_POLL_SECONDS)

    def can_write(self) -> bool:
        """Whether a short write would return at once: no key re-exchange, room everywhere.

        In a hub the socket is not asked: a send there never waits.
        """
        return all(
            stage.transport.clear_to_send.is_set()
            and (stage.tunnel is None or stage.tunnel.has_room)
            for stage in self._stages
        ) and (self._hub is not None or bool(self._writable.poll(0)))

    def lost_because(self) -> str | None:
        """Why the server's transport ended: what broke first on the way; None while it stands."""
        if self.transport.is_active():
            return None
        for stage in self._stages[:-1]:
            is_torn = stage.tunnel is not None and stage.tunnel.was_torn
            if is_torn or not stage.transport.is_active():
                reason = str(stage.transport.saved_exception or "") or "it closed the connection"
                return f"the jump host {stage.stop.place} is gone ({reason})"
        return str(self.transport.saved_exception or "") or "the server closed it"

    def shut_down(self) -> None:
        """Cut the socket at once, from any thread."""
        _shut_down(self._sock)

    def close(self, *, timeout_seconds: float) -> None:
        """End all transports: cut, join their threads, and only then close the socket.

        Closed while its thread is in a send, the descriptor may already be another connection's.
        """
        self.shut_down()
        deadline = time.monotonic() + timeout_seconds
        for stage in self._stages:
            if stage.transport.is_alive():
                stage.transport.join(max(0.0, deadline - time.monotonic()))
            if not stage.transport.is_alive():
                stage.transport.close()
                stage.base.close()
            stage.transport.packetizer.complete_handshake()
        if not self._stages:
            self._sock.close()


def no_thread(target: Target, error: RuntimeError, attempt: Attempt) -> CollectionError:
    """The error when this machine has no thread left; process_limits.py knows which limit it is."""
    msg = (
        f"No thread could be started for {target.name}: {error}. Raise the limit of processes "
        "of this machine (ulimit -u, TasksMax, pids of the container)."
    )
    return CollectionError(msg, cause="unreachable", step=attempt.step)


def _tunnel_error(
    stop: Target, hop: Target, error: Exception, late_seconds: float | None
) -> CollectionError:
    """What it means that a jump host does not connect further."""
    tried = f"No connection to {stop.title} through the jump host {hop.place}"
    if late_seconds is not None:
        msg = (
            f"{tried} in {late_seconds:.0f} s. The machine is off, or a firewall between the two "
            "drops the packets."
        )
        return CollectionError(msg, cause="timeout", step="connect")
    if not isinstance(error, paramiko.ChannelException):
        msg = f"{tried}: the jump host hung up ({error or 'end of file'})."
        return CollectionError(msg, cause="unreachable", step="connect")
    if error.code == _FORBIDDEN:
        msg = (
            f"{tried}: the jump host does not forward there. Its sshd must allow it "
            "(AllowTcpForwarding, PermitOpen; no restrict without port-forwarding)."
        )
        return CollectionError(msg, cause="refused", step="connect")
    # The library keeps the number of the reason and drops the server's words.
    msg = (
        f"{tried}: {quote_output(str(error.text)).lower()}. The name is unknown there, sshd does "
        "not run or listens on another port, or there is no way: try it on the jump host."
    )
    return CollectionError(msg, cause="unreachable", step="connect")


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host, as getaddrinfo gives it."""

    family: int
    address: tuple[str | int | bytes, ...]


def resolve(target: Target, attempt: Attempt) -> list[Address]:
    """Addresses of a host, in the order of preference of the system. Waits for DNS.

    Raises:
        CollectionError: the name is not known.
    """
    began = attempt.begin("resolve")
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        msg = (
            f"The name {target.host} of {target.name} could not be resolved: {error}. "
            "Check the spelling and this machine's DNS."
        )
        raise CollectionError(msg, cause="unreachable", step="resolve") from error
    addresses = [
        Address(family, address)
        for family, _, _, _, address in found
        if family in {socket.AF_INET, socket.AF_INET6}
    ]
    attempt.end(began, ", ".join(dict.fromkeys(str(entry.address[0]) for entry in addresses)))
    return addresses


def is_numeric(host: str) -> bool:
    """Whether a host is written as an address, so that `resolve` asks nobody."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Dial:
    """A TCP connection and the greeting of the server, without ever waiting.

    Whoever drives it watches `fileno` (for writing until `is_connected`, then for reading), calls
    `proceed` when it is ready and `overdue` when `deadline` has passed, until `is_greeted`. A host
    that drops packets or never greets thus costs a file descriptor, and no thread.

    Attributes:
        is_connected: TCP stands, the greeting is waited for.
        is_greeted: the server said which SSH it speaks; its words are still in the socket.
        deadline: monotonic time at which to call `overdue`.
    """

    def __init__(self, target: Target, addresses: Sequence[Address], attempt: Attempt) -> None:
        """Begin to connect.

        Raises:
            CollectionError: refused at once, or no way there.
        """
        self.is_connected = False
        self.is_greeted = False
        self.deadline = 0.0
        self._target = target
        self._attempt = attempt
        self._addresses = list(addresses)
        self._seen = b""
        self._sock: socket.socket | None = None
        self._began = attempt.begin("connect")
        self._connect_deadline = self._began + attempt.seconds_left(attempt.limits.connect)
        self._connect_next(OSError("no address"))

    @property
    def fileno(self) -> int:
        """Descriptor to watch; another one after each `proceed` or `overdue`."""
        return self._socket.fileno()

    @property
    def _socket(self) -> socket.socket:
        """The socket; there is one until the dial is closed, detached or has failed."""
        if self._sock is None:
            msg = f"The dial to {self._target.title} is over."
            raise RuntimeError(msg)
        return self._sock

    def detach(self) -> socket.socket:
        """The greeted socket, which is the caller's from now on."""
        sock, self._sock = self._socket, None
        return sock

    def close(self) -> None:
        """Close the socket, unless it was detached."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def proceed(self) -> None:
        """Do what the socket is ready for.

        Raises:
            CollectionError: the step failed; the dial is closed.
        """
        if self.is_connected:
            self._read_greeting()
            return
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._connect_next(OSError(code, os.strerror(code)))
        else:
            self._note_connected()

    def overdue(self) -> None:
        """The deadline has passed.

        Raises:
            CollectionError: there is no other address to try; the dial is closed.
        """
        if not self.is_connected:
            self._connect_next(TimeoutError())
            return
        self.close()
        raise _no_greeting(self._target, self._attempt.limits.banner)

    def _connect_next(self, error: OSError) -> None:
        """Connect to the next address; the limit covers all, an earlier one leaves a share."""
        while self._addresses:
            self.close()
            share = (self._connect_deadline - time.monotonic()) / len(self._addresses)
            if share <= 0:
                error = TimeoutError()
                break
            entry = self._addresses.pop(0)
            self.deadline = time.monotonic() + share
            try:
                self._sock = socket.socket(entry.family, socket.SOCK_STREAM)
                self._sock.settimeout(0.0)
                self._sock.connect(entry.address)
            except BlockingIOError:
                return
            except OSError as failure:
                error = failure
            else:
                self._note_connected()
                return
        self.close()
        raise _connect_error(self._target, error, self._attempt.limits.connect) from error

    def _note_connected(self) -> None:
        """TCP stands: small packets at once, an end to peers that vanish; wait for the greeting."""
        sock = self._socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MILLISECONDS)
        self._attempt.end(self._began)
        self._began = self._attempt.begin("banner")
        self.deadline = self._began + self._attempt.seconds_left(self._attempt.limits.banner)
        self.is_connected = True

    def _read_greeting(self) -> None:
        """Look at what the server has said so far, without taking it."""
        sock = self._socket
        try:
            seen = sock.recv(_BANNER_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            self.close()
            msg = f"The connection to {self._target.title} broke before the greeting: {error}."
            raise CollectionError(msg, cause="unreachable", step="banner") from error
        has_grown, self._seen = len(seen) > len(self._seen), seen
        for line in seen.split(b"\n")[:-1]:
            if line.startswith(b"SSH-"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
                self.is_greeted = True
                self._attempt.end(self._began, quote_output(line))
                return
        if not has_grown:
            self.close()
            raise _closed_early(self._target, seen)
        if len(seen) >= _BANNER_BYTES:
            self.close()
            raise _no_ssh(self._target, seen)
        # What was seen stays in the socket: be woken by more than that, or by the end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + 1)


def _connect_error(target: Target, error: OSError, seconds: float) -> CollectionError:
    """What a failed TCP connection means."""
    tried = f"No connection to {target.title}"
    if isinstance(error, TimeoutError):  # of our own limit, or the system's ETIMEDOUT
        msg = f"{tried} in {seconds:g} s. The machine is off, or a firewall drops the packets."
        return CollectionError(msg, cause="timeout", step="connect")
    if isinstance(error, ConnectionRefusedError):
        msg = f"{tried}: refused. sshd does not run there, or listens on another port."
        return CollectionError(msg, cause="refused", step="connect")
    msg = f"{tried}: {error.strerror or error}. Check address, route and this machine's limits."
    return CollectionError(msg, cause="unreachable", step="connect")


def _no_greeting(target: Target, seconds: float) -> CollectionError:
    """Error of a server that accepts connections and says nothing."""
    msg = (
        f"{target.title} accepted the connection but did not say which SSH it speaks in "
        f"{seconds:g} s. sshd is overloaded or hangs, or something else listens there."
    )
    return CollectionError(msg, cause="timeout", step="banner")


def _no_ssh(target: Target, seen: bytes) -> CollectionError:
    """Error of a server that says something else than SSH."""
    msg = (
        f"What answers at {target.place} for {target.name} is no SSH server; it says: "
        f"{quote_output(seen)}. Check the port."
    )
    return CollectionError(msg, cause="unreadable", step="banner")


def _closed_early(target: Target, seen: bytes) -> CollectionError:
    """Error of a server that hangs up instead of greeting."""
    said = f" It said: {quote_output(seen)}." if seen else ""
    msg = (
        f"{target.title} closed the connection before its greeting.{said} sshd refuses "
        "this address (MaxStartups, hosts.deny, fail2ban), or something else listens there."
    )
    return CollectionError(msg, cause="unreachable", step="banner")


def _exchange_keys(
    target: Target, transport: paramiko.Transport, known_hosts: KnownHosts, attempt: Attempt
) -> None:
    """Key exchange, asking first for the host key types that are known."""
    began = attempt.begin("handshake")
    left = attempt.seconds_left(attempt.limits.handshake)
    options = transport.get_security_options()
    # Ciphers that authenticate by themselves first: a packet costs one call instead of two.
    options.ciphers = tuple(sorted(options.ciphers, key=lambda name: "-gcm" not in name))
    known = (
        known_hosts.key_types(target.host, target.port)
        if target.host_key is None
        else target.host_key.split()[:1]
    )
    options.key_types = host_key_preference(known, tuple(options.key_types))
    transport.banner_timeout = left
    transport.handshake_timeout = left
    done = threading.Event()
    try:
        transport.start_client(event=done)
    except RuntimeError as error:
        raise no_thread(target, error, attempt) from error
    if not done.wait(left):
        msg = (
            f"The key exchange with {target.title} did not finish in {left:.0f} s. "
            "The machine is overloaded, or a firewall drops large packets (MTU)."
        )
        raise CollectionError(msg, cause="timeout", step="handshake")
    if not transport.is_active():
        raise _handshake_error(target, transport.get_exception())
    attempt.end(began, transport.remote_version)


def host_key_preference(known: Sequence[str], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Order in which to ask for host key algorithms: those of known keys first, as ssh does.

    Without this a host known by its ed25519 key that prefers ecdsa would seem to have changed.
    """
    names = set(known) | ({"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in known else set())
    return tuple(sorted(offered, key=lambda name: name not in names))


def _handshake_error(target: Target, error: Exception | None) -> CollectionError:
    """What a failed key exchange means."""
    who = f"{target.title}"
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        msg = f"{who} and Resmon share no algorithm: {error}. Its SSH is too old or too strict."
        return CollectionError(msg, cause="unsupported", step="handshake")
    if error is None or isinstance(error, EOFError | OSError):
        msg = f"{who} closed the connection during the key exchange ({error or 'end of file'})."
        return CollectionError(msg, cause="unreachable", step="handshake")
    msg = f"The key exchange with {who} failed: {error}. What answers there does not keep to SSH."
    return CollectionError(msg, cause="unreadable", step="handshake")


def _check_host_key(
    target: Target,
    stop: Target,
    transport: paramiko.Transport,
    known_hosts: KnownHosts,
    attempt: Attempt,
) -> None:
    """Judge the key that the server proved to hold; a jump host by known_hosts alone."""
    began = attempt.begin("host_key")
    shown = _shown_key(stop, transport)
    is_server = stop is target
    try:
        vouched = verify_host_key(
            shown,
            host=stop.host,
            port=stop.port,
            known_hosts=known_hosts,
            server_name=target.name if is_server else None,
            pinned=stop.host_key,
            on_first_use=attempt.on_first_use if is_server else None,
        )
    except CollectionError as error:
        if target.proxy_jump is None:
            raise
        where = (
            f"It is reached through {target.proxy_jump}: run ssh-keyscan there."
            if is_server
            else f"It is a jump host of {target.name}."
        )
        msg = f"{error} {where}"
        raise CollectionError(msg, cause=error.cause, step=error.step) from error
    if is_server:
        attempt.host_key = shown.text
    attempt.end(began, f"{shown}, {vouched}")


def _shown_key(stop: Target, transport: paramiko.Transport) -> HostKey:
    """The key that the server proved to hold in the key exchange."""
    key = transport.host_key
    if key is None:
        raise _handshake_error(stop, transport.get_exception())
    return HostKey(key.get_name(), key.asbytes())


def _authenticate(
    target: Target, transport: paramiko.Transport, files: IdentityFiles, attempt: Attempt
) -> None:
    """Try keys until one is accepted; never a password."""
    began = attempt.begin("auth")
    deadline = time.monotonic() + attempt.seconds_left(attempt.limits.auth)
    user = target.user_name or getpass.getuser()
    tried: list[str] = []
    problems: list[str] = []
    with _agent_keys() as agent:
        for identity in _identities(target, files, agent, problems):
            tried.append(identity.label)
            done = threading.Event()
            try:
                transport.auth_publickey(user, identity.key, done)
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise _auth_error(target, user, tried, problems, str(error)) from error
            if not done.wait(max(0.001, deadline - time.monotonic())):
                msg = (
                    f"{target.title} did not decide about the login of {user} in "
                    f"{attempt.limits.auth:g} s. The machine hangs, or its sshd waits for DNS or a "
                    "directory service."
                )
                raise CollectionError(msg, cause="timeout", step="auth")
            if transport.is_authenticated():
                attempt.end(began, f"{user}, {identity.label}")
                return
            refusal = transport.get_exception()
            if not transport.is_active():
                raise _auth_error(
                    target, user, tried, problems, f"it hung up ({refusal or 'end of file'})"
                )
            if isinstance(refusal, paramiko.BadAuthenticationType):
                allowed = ", ".join(refusal.allowed_types)
                raise _auth_error(target, user, tried, problems, f"it accepts only: {allowed}")
    raise _auth_error(target, user, tried, problems, "")


def _auth_error(
    target: Target, user: str, tried: list[str], problems: list[str], reason: str
) -> CollectionError:
    """Error of a login that was not accepted: who, with which keys, and what to do."""
    keys = f"keys tried: {', '.join(tried)}" if tried else "no key was found to try"
    parts = [f"{target.title} did not accept the login of {user}; {keys}"]
    if problems:
        parts.append(f"not usable: {'; '.join(problems)}")
    if reason:
        parts.append(reason)
    msg = (
        f"{'; '.join(parts)}. Add the public key to ~/.ssh/authorized_keys of {user} there, or "
        "name another key with --identity-file."
    )
    return CollectionError(msg, cause="auth_failed", step="auth")


@contextlib.contextmanager
def _agent_keys() -> Iterator[list[paramiko.AgentKey]]:
    """Keys of the SSH agent, usable while the context is open; none when there is no agent."""
    if not _is_agent_there():
        yield []
        return
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError, EOFError):
        yield []
        return
    try:
        yield list(agent.get_keys())
    finally:
        agent.close()


def _is_agent_there() -> bool:
    """Whether an agent listens; paramiko leaks a socket each time that it finds none."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


def _identities(
    target: Target,
    files: IdentityFiles,
    agent: list[paramiko.AgentKey],
    problems: list[str],
) -> Iterator[Identity]:
    """Keys to try, in order: the named file alone, else the agent's and then those in ~/.ssh."""
    if target.identity_file is not None:
        yield from _named_identity(Path(target.identity_file).expanduser(), files, agent, problems)
        return
    seen = set()
    for key in agent:
        seen.add(key.asbytes())
        yield Identity(f"agent: {key.comment or key.get_name()}", key)
    for name in DEFAULT_IDENTITIES:
        path = Path("~/.ssh").expanduser() / name
        if not path.exists():
            continue
        for loaded in _load(path, files, problems):
            if loaded.asbytes() not in seen:
                yield Identity(_label(path, loaded), loaded)


def _named_identity(
    path: Path, files: IdentityFiles, agent: list[paramiko.AgentKey], problems: list[str]
) -> Iterator[Identity]:
    """Key of a file; when it is encrypted, the agent's key that matches the .pub beside it."""
    keys = _load(path, files, problems)
    if keys:
        yield from (Identity(_label(path, key), key) for key in keys)
        return
    try:
        public = path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").split()
    except OSError:
        return
    for candidate in agent:
        if len(public) > 1 and candidate.get_base64() == public[1]:
            problems.clear()
            yield Identity(f"{path} (by the agent)", candidate)


def _label(path: Path, key: paramiko.PKey) -> str:
    """How a key is called in messages."""
    return str(path) if key.public_blob is None else f"{path}-cert.pub"


def _load(path: Path, files: IdentityFiles, problems: list[str]) -> list[paramiko.PKey]:
    """Keys of a file, or none with the problem noted; never its contents."""
    try:
        return files.load(path)
    except OSError as error:
        problems.append(f"{path}: {error.strerror or error}")
    except (TypeError, paramiko.PasswordRequiredException):
        problems.append(f"{path}: encrypted, load it into the agent (ssh-add)")
    except (paramiko.SSHException, ValueError, UnsupportedAlgorithm):
        problems.append(f"{path}: not a private key that can be read")
    return []


def _start_probe(target: Target, route: Route, attempt: Attempt) -> "SshChannel":
    """Open a session and run the probe in it; where none is kept open, the first tick does it."""
    began = attempt.begin("shell")
    left = attempt.seconds_left(attempt.limits.first_answer)
    nonce = new_nonce()
    choice = _choice_for(target)
    transport = route.transport
    channel = None
    # open_session and, without any limit of its own, exec_command wait for the server.
    if choice.next_mode(time.monotonic()) == "pull":
        with route.cut_after(left, attempt) as is_cut:
            try:
                channel = transport.open_session(window_size=WINDOW_BYTES, timeout=left)
                channel.settimeout(0.0)
                channel.exec_command(probe_command(nonce))
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise _no_session(target, transport, error, left, is_cut=is_cut.is_set()) from error
    route.rest()
    attempt.end(began, "" if channel is not None else "one session per tick")
    return SshChannel(target, nonce, attempt.limits, route=route, channel=channel, choice=choice)


def _no_session(
    target: Target,
    transport: paramiko.Transport,
    error: Exception,
    seconds: float,
    *,
    is_cut: bool,
) -> CollectionError:
    """What it means that the probe could not be started."""
    if is_cut or "Timeout" in str(error):
        msg = f"{target.title} accepted the login but started no shell in {seconds:.0f} s."
        return CollectionError(msg, cause="timeout", step="shell")
    cause: Cause = "no_shell" if transport.is_active() else "unreachable"
    msg = (
        f"{target.title} accepted the login but runs no command: {error or 'it hung up'}. "
        "The account must be allowed to run /bin/sh, or have the forced command of "
        "`resmon server authorize-line` (no other one, no chroot for files)."
    )
    return CollectionError(msg, cause=cause, step="shell")


def _choice_for(target: Target) -> SessionChoice:
    """What is remembered of a server, in monotonic time."""
    if target.exec_since is None:
        return SessionChoice()
    # Spread over a fifth, so that a fleet that was remembered at once is not tried at once.
    share = 1 + (target.server_id * 2_654_435_761 % 2**32 / 2**32 - 0.5) / 5
    left = target.exec_since.timestamp() + REMEMBER_SECONDS * share - time.time()
    return SessionChoice("exec", again_at=time.monotonic() + left)


def _read_now(channel: paramiko.Channel) -> bytes | None:
    """What has come on a channel; None when nothing has, b"" at the end."""
    if not (channel.recv_ready() or channel.eof_received or channel.closed):
        return None  # every other read; the library would raise and catch twice for each
    try:
        return channel.recv(_READ_BYTES)
    except TimeoutError:
        return None
    except (paramiko.SSHException, EOFError, OSError):
        return b""


class _Notifier:
    """What paramiko takes for an event of a buffer: tells that bytes came or the channel ended."""

    __slots__ = ("_on_ready", "is_told")

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self.is_told = False

    def set(self) -> None:
        """Called by the transport's thread, with the buffer's lock held."""
        self.is_told = True
        self._on_ready()

    def clear(self) -> None:
        """Called when the buffer was emptied."""


@dataclass(slots=True)
class _Session:
    """One run of the probe.

    Attributes:
        mode: kept open, or for one tick.
        tick: the tick of a session that is for one.
        channel: None when there is none yet.
        word: told when the server has decided about a session that was asked for without waiting.
        began: monotonic time.
        is_started: its command was sent.
        is_abandoned: it is to be closed as soon as that can be done.
        answers: how many it gave.
    """

    mode: Mode
    channel: paramiko.Channel
    began: float
    tick: int | None = None
    word: _Notifier | None = None
    is_started: bool = False
    is_abandoned: bool = False
    answers: int = 0


class SshChannel(ProbeChannel):
    """The probe in sessions of an SSH connection: one that is kept open, or one per tick.

    There is never more than one session at a time. Which kind, SessionChoice says.
    """

    def __init__(
        self,
        target: Target,
        nonce: str,
        limits: Limits,
        *,
        route: Route,
        channel: paramiko.Channel | None,
        choice: SessionChoice,
    ) -> None:
        """Take over a connection, and the kept session that was started on it, if one was."""
        super().__init__(target, nonce, limits)
        self._route = route
        self._choice = choice
        self._stderr = b""
        self._ready: threading.Event | None = None
        self._on_ready: Callable[[], None] | None = None
        self._sessions_left = SESSIONS_PER_CONNECTION - target.server_id % SESSIONS_SPREAD
        self._first_error: CollectionError | None = None
        self._failure: CollectionError | None = None
        self._disk_pause = 0
        self._ticks_without_disk = 0
        self._session: _Session | None = None
        # The channel of a kept session that runs: the way of every tick of most servers.
        self._channel: paramiko.Channel | None = channel
        if channel is not None:
            self._session = _Session("pull", channel, time.monotonic(), is_started=True)

    @property
    def transport_thread(self) -> threading.Thread:
        """Thread of the connection, whose wake-ups a test counts."""
        return self._route.transport

    @property
    def mode(self) -> Mode:
        """How the server is read, as far as is known."""
        return self._choice.mode

    @property
    def noise(self) -> str:
        """First words of standard error and of output outside of answers."""
        return f"{self._stderr.decode('utf-8', 'replace')} {super().noise}".strip()

    # Sessions.

    def _send_unsent(self) -> None:
        """Write ticks to a kept session, or have a session do the first of them."""
        if self._channel is not None:
            super()._send_unsent()
            return
        self.is_postponed = False
        session = self._session
        if session is not None and session.is_abandoned and session.is_started:
            self._close_session()
            return
        try:
            if self._session is None and self._unsent:
                self._begin_session()
            if self._session is not None and not self._session.is_started:
                self._start_session(self._session)
        except CollectionError as error:
            self._failure = error
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._failure = self._loss(self._route.lost_because() or str(error))
        if self._failure is not None:
            self._tell()  # reading raises it

    def _begin_session(self) -> None:
        """Ask the server for a session."""
        if not self._route.can_write():
            self.is_postponed = True
            return
        now = time.monotonic()
        mode = self._choice.next_mode(now)
        self._forget_output()
        self._stderr = b""
        word = _Notifier(self._tell)
        event = cast("threading.Event", word)
        channel = self._route.transport.begin_session(event, window_bytes=WINDOW_BYTES)
        self._session = _Session(mode, channel, now, word=word)
        self._sessions_left -= 1
        self.is_worn_out = self._sessions_left <= 0

    def _start_session(self, session: _Session) -> None:
        """Once the server has opened the session: have it run the probe."""
        if session.word is None or not session.word.is_told:
            return
        channel = session.channel
        if not channel.active:
            self._session = None
            reason = self._route.lost_because()
            if reason is not None:
                raise self._loss(reason)
            self._end_session(
                session,
                _no_session(
                    self.target,
                    self._route.transport,
                    paramiko.SSHException("it opens no further session"),
                    0,
                    is_cut=False,
                ),
                "was refused",
            )
            return
        if not self._route.can_write():
            self.is_postponed = True
            return
        if session.is_abandoned or not self._unsent:
            _close_quietly(channel)
            self._session = None
            self._send_unsent()
            return
        tick = self._unsent[0]
        notifier = cast("threading.Event", _Notifier(self._tell))
        session.is_started = True
        if session.mode == "pull":
            command = probe_command(self._nonce)
        else:
            command = self._single_shot(tick)
            session.tick = tick
            self._unsent.remove(tick)
            self._with_inodes.discard(tick)
        self._route.transport.begin_command(channel, command)
        if session.mode == "pull":
            self._channel = channel
        else:
            channel.shutdown_write()
        channel.in_stderr_buffer.set_event(notifier)
        channel.in_buffer.set_event(notifier)
        if self._channel is not None:
            super()._send_unsent()

    def _loss(self, reason: str) -> CollectionError:
        """Error of a connection that ended."""
        return self._error(
            f"The connection to {self.target.title} was lost: {reason}.", cause="unreachable"
        )

    def _single_shot(self, tick: int) -> str:
        """The command for one tick, without disk for a while where a df has hung.

        A kept probe starts no second df while one hangs; one that ends does not know of it.
        """
        has_disk = self._ticks_without_disk == 0
        if not has_disk:
            self._ticks_without_disk -= 1
        return single_shot_command(
            self._nonce, tick, with_inodes=tick in self._with_inodes, with_disk=has_disk
        )

    def _close_session(self) -> None:
        """End the session from our side, now or when that takes no waiting."""
        session = self._session
        if session is None:
            return
        session.is_abandoned = True
        self._channel = None
        if not session.is_started:
            return  # until the server's word comes
        if self._route.can_write():
            _close_quietly(session.channel)
            self._session = None
            self._send_unsent()
        else:
            self.is_postponed = True

    def _end_session(self, session: _Session, error: CollectionError, how: str) -> None:
        """A session is over: what was asked of it goes to the next, unless that was the last.

        Raises:
            CollectionError: there is no other way; the error of the first that was tried.
        """
        self._session = self._channel = None
        if session.tick is not None and session.tick not in self._asked:
            return
        now = time.monotonic()
        lived = now - session.began
        is_worth_another = self._choice.note_end(
            session.mode, now, lived=lived, answers=session.answers, how=how
        )
        self.mode_change = self._choice.take_change() or self.mode_change
        if not is_worth_another:
            error, self._first_error = self._first_error or error, None
            raise error
        self._first_error = self._first_error or error
        self._unsent = sorted(self._asked)
        self._send_unsent()

    def _take_end(self, error: CollectionError) -> None:
        """The end of a session is that of the channel when the connection is gone too."""
        session = self._session
        if session is None or self._route.lost_because() is not None:
            raise error
        status = self._exit_status()
        how = "without an exit status" if status is None else f"with exit status {status}"
        self._end_session(session, error, f"ended {how}")

    def try_otherwise(self, seconds: float) -> bool:
        """Give the session up that was silent for so long, and try the other kind."""
        session = self._session
        if session is None or not session.is_started or self._route.lost_because() is not None:
            return False
        how = f"was silent for {seconds:.0f} s"
        is_worth_another = self._choice.note_end(
            session.mode, time.monotonic(), lived=seconds, answers=0, how=how
        )
        self._close_session()
        return is_worth_another

    def retry_pull(self) -> None:
        """Keep a session open from the next tick on, if the server lets us."""
        self._choice.retry_pull(time.monotonic())

    def _accept(self, answer: Answer) -> None:
        """Book an answer; a session for one tick has done its work."""
        super()._accept(answer)
        session = self._session
        if session is None:
            return
        session.answers += 1
        self._first_error = None
        if session.mode != self._choice.mode or session.tick is not None:
            self._note_answer(session, answer)

    def _note_answer(self, session: _Session, answer: Answer) -> None:
        """An answer that says something about the choice, or ends its session."""
        self._choice.note_answer(session.mode, time.monotonic())
        self.mode_change = self._choice.take_change() or self.mode_change
        if session.tick is None:
            return
        if answer.disk_reason == "disk-late":
            self._disk_pause = min(MAXIMUM_DISK_PAUSE, 2 * self._disk_pause or 2)
            self._ticks_without_disk = self._disk_pause
        elif answer.disk is not None:
            self._disk_pause = 0
        if session.tick == answer.tick:
            self._close_session()

    def give_up(self, tick: int) -> Answer | None:
        """Stop waiting for a tick; a session that is for it alone ends."""
        answer = super().give_up(tick)
        session = self._session
        if session is not None and session.tick == tick:
            self._close_session()
        return answer

    def _tell(self) -> None:
        """Something happened to a session; from the transport's thread."""
        if self._on_ready is not None:
            self._on_ready()

    # What a channel is.

    def _send(self, line: bytes) -> bool:
        channel = self._channel
        if channel is None or channel.closed or channel.eof_received:
            return True  # reading says how it ended
        if not self._route.can_write():
            return False
        try:
            channel.sendall(line)
        except TimeoutError:
            return False  # the server's window is closed
        except (paramiko.SSHException, EOFError, OSError):
            return True
        return True

    def _receive(self) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        session = self._session
        if session is None or not session.is_started:
            reason = self._route.lost_because()
            if reason is not None:
                raise self._loss(reason)
            return None
        channel = session.channel
        # Reading may have to write: it opens the server's window again.
        if not channel.closed and not self._route.can_write():
            self.is_postponed = True
            return None
        if session.is_abandoned:
            self._close_session()
            return None
        self._receive_stderr(channel)
        return _read_now(channel)

    def _receive_stderr(self, channel: paramiko.Channel) -> None:
        """Empty standard error, which shares the window, and keep its first bytes."""
        while channel.recv_stderr_ready():
            try:
                piece = channel.recv_stderr(_READ_BYTES)
            except (TimeoutError, paramiko.SSHException, EOFError, OSError):
                return
            self._unanswered_bytes += len(piece)
            self._stderr += piece[: _QUOTED_STDERR_BYTES - len(self._stderr)]

    def _exit_status(self) -> int | None:
        channel = None if self._session is None else self._session.channel
        if channel is not None and channel.status_event.is_set() and channel.exit_status >= 0:
            return channel.exit_status
        return None

    def _lost_because(self) -> str | None:
        return self._route.lost_because()

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Wait for bytes or the end."""
        if self._ready is None:
            self._ready = threading.Event()
            self.notify(self._ready.set)
        self._ready.wait(max(0.0, timeout_seconds))
        self._ready.clear()

    def notify(self, on_ready: Callable[[], None]) -> None:
        """Have `on_ready` called; at once when something is there already."""
        self._on_ready = on_ready
        self._route.transport.on_end = self._tell
        session = self._session
        if session is not None and session.is_started:
            notifier = cast("threading.Event", _Notifier(on_ready))
            session.channel.in_stderr_buffer.set_event(notifier)
            session.channel.in_buffer.set_event(notifier)
        else:
            on_ready()  # the server's word may have come already, or the end

    def filenos(self) -> tuple[int, ...]:
        """None: this transport notifies."""
        return ()

    def abort(self) -> None:
        """Shut the socket down; the transport's thread ends."""
        self._route.shut_down()

    def close(self, *, timeout_seconds: float = 2) -> None:
        """Shut down, join the threads of the transports, close."""
        self._route.transport.on_end = None
        self._route.close(timeout_seconds=timeout_seconds)


def _close_quietly(channel: paramiko.Channel) -> None:
    """Close a session; that the connection is gone already is no matter."""
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        channel.close()


def _shut_down(sock: socket.socket) -> None:
    """End both directions; whoever waits on the socket wakes up."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
