"""SSH servers for tests: one in this process that plays any behaviour, a real sshd, and bare TCP.

Belongs here: starting and stopping them, and the keys and known_hosts files that go with them. All
listen on loopback only. The in-process server is asyncssh, so that the client (paramiko) meets
another implementation.
"""

import asyncio
import contextlib
import os
import pwd
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from resmon_resources.channels import Limits, Target
from resmon_resources.known_hosts import KnownHosts
from tests.fixtures_services import START_SECONDS, free_port

SSHD = Path("/usr/sbin/sshd")

PATIENT = Limits()
"""Limits for what must work, however busy the machine is."""


@dataclass(frozen=True)
class Endpoint:
    """A server that listens, and what a client needs to log in."""

    port: int
    user_name: str
    identity_file: Path
    known_hosts_file: Path
    host: str = "127.0.0.1"

    @property
    def authorized_keys_file(self) -> Path:
        """Where the real sshd looks for keys at each login."""
        return self.known_hosts_file.with_name("authorized_keys")

    @property
    def known_hosts(self) -> KnownHosts:
        """Host keys as the client knows them."""
        return KnownHosts(self.known_hosts_file)

    def target(self, server_id: int = 1, **changes: Any) -> Target:
        """The target of this endpoint."""
        target = Target(
            server_id=server_id,
            name=f"server-{server_id}",
            transport="ssh",
            host=self.host,
            port=self.port,
            user_name=self.user_name,
            identity_file=str(self.identity_file),
        )
        return replace(target, **changes)


@dataclass
class Keys:
    """Keys of one test session, in files."""

    folder: Path

    def private(self, name: str, algorithm: str = "ssh-ed25519", **options: Any) -> Path:
        """Private key file of a name, made at the first request, with its .pub beside it."""
        path = self.folder / name
        if not path.exists():
            key = asyncssh.generate_private_key(algorithm, **options)
            key.write_private_key(path)
            path.chmod(0o600)
            key.write_public_key(f"{path}.pub")
        return path

    def public_line(self, name: str) -> str:
        """Type and base64 of a public key."""
        fields = (self.folder / f"{name}.pub").read_text().split()
        return f"{fields[0]} {fields[1]}"


@pytest.fixture(scope="session")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys: `client` may log in, `stranger` may not, `host` is the servers' host key; `forced`
    is let in by tests of authorized_keys."""
    keys = Keys(tmp_path_factory.mktemp("keys"))
    for name in ("client", "stranger", "host", "ca", "forced"):
        keys.private(name)
    return keys


# Behaviours of the in-process server: what happens after the login.

Session = Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]]


def nonce_of(process: asyncssh.SSHServerProcess[bytes]) -> str:
    """Nonce near the end of the probe's command line."""
    return words_of(process)[0]


def words_of(process: asyncssh.SSHServerProcess[bytes]) -> list[str]:
    """Nonce, and of a session for one tick that tick and its option."""
    return (process.command or "").rpartition(" resmon ")[2].split()


def frames(nonce: str, tick: int, *, has_disk: bool = True, pad: str = "") -> bytes:
    """A complete answer with canned values."""
    core = [
        "boot 3c6a5d0e-1111-4222-8333-444455556666",
        f"up {1000 + tick}.00 900.00",
        f"cpu  {100 + tick} 0 50 1000 10 0 0 0 0 0",
        "online 0-1",
        "load 0.10 0.20 0.30 1/100 1234",
        "mem MemTotal: 1000000 MemAvailable: 600000",
        f"net eth0 {1000 * (tick + 1)} {500 * (tick + 1)}{pad}",
    ]
    disk = [
        "df 0",
        "now 1750000000.5",
        "root ext4",
        "mounts 1",
        "Filesystem 1024-blocks Used Available Capacity Mounted on",
        "/dev/sda1 1000 400 600 40% /",
    ]
    head = f"@@RESMON1 {nonce}"
    lines = [f"{head} B {tick}", *core, f"{head} E {tick}"]
    if has_disk:
        lines += [f"{head} D {tick}", *disk, f"{head} F {tick}"]
    return "".join(f"{line}\n" for line in lines).encode()


async def ticks_of(process: asyncssh.SSHServerProcess[bytes]) -> AsyncIterator[int]:
    """The ticks that come in; other lines are ignored, as the probe does."""
    async for line in process.stdin:
        if line.strip().isdigit():
            yield int(line)


async def canned(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Answer every tick with canned frames."""
    async for tick in ticks_of(process):
        process.stdout.write(frames(nonce_of(process), tick))


async def real_probe(process: asyncssh.SSHServerProcess[bytes], *, shell: str = "/bin/sh") -> None:
    """Run the command in a real shell, as sshd does; `shell` takes the place of the host's."""
    command = (process.command or "").replace("exec /bin/sh ", f"exec {shell} ", 1)
    child = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None

    async def hand_over_ticks(stdin: asyncio.StreamWriter) -> None:
        async for line in process.stdin:
            stdin.write(line)
        stdin.close()

    ticks = asyncio.create_task(hand_over_ticks(child.stdin))
    try:
        while answer := await child.stdout.read(65536):
            process.stdout.write(answer)
        process.exit(await child.wait())
    finally:
        ticks.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        await child.wait()
        await asyncio.gather(ticks, return_exceptions=True)


async def noisy(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A start file greets, in Latin-1 and with a forged frame, before the probe answers."""
    process.stdout.write(b"Willkommen auf S\xfcd-3\n@@RESMON1 0000 B 0\ncpu  1 2 3\n")
    process.stderr.write(b"warning: locale\xff\n")
    await canned(process)


async def garbage(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A menu instead of a shell, which goes when it is talked to."""
    process.stdout.write(b"1) status\n2) quit\nYour choice: ")
    await process.stdin.readline()
    process.exit(0)


async def truncated(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Half a frame, then the end."""
    line = await process.stdin.readline()
    answer = frames(nonce_of(process), int(line))
    process.stdout.write(answer[: len(answer) // 3])
    process.exit(0)


async def flood(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Lines without end."""
    with contextlib.suppress(ConnectionError, asyncssh.Error):
        while not process.stdout.is_closing():
            process.stdout.write(b"y\n" * 8192)
            await process.stdout.drain()


async def floods_later(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Answers the priming tick; at the next one prints lines without end."""
    line = await process.stdin.readline()
    process.stdout.write(frames(nonce_of(process), int(line)))
    await process.stdin.readline()
    await flood(process)


async def silent(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A shell that reads and never says anything."""
    await process.stdin.read()


async def answers_once(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Answers the priming tick and then nothing any more."""
    line = await process.stdin.readline()
    process.stdout.write(frames(nonce_of(process), int(line)))
    await process.stdin.read()


async def drops(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Answers the priming tick; at the next one the connection breaks."""
    line = await process.stdin.readline()
    process.stdout.write(frames(nonce_of(process), int(line)))
    await process.stdin.readline()
    transport = process.channel.get_connection()
    transport.abort()


async def shell_dies(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Answers the priming tick; at the next one the shell ends with status 137."""
    line = await process.stdin.readline()
    process.stdout.write(frames(nonce_of(process), int(line)))
    await process.stdin.readline()
    process.exit(137)


async def dies_for_good(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Answers the priming tick; from then on every shell ends with status 137."""
    line = await process.stdin.readline()
    if line.strip() != b"0":
        process.exit(137)
        return
    process.stdout.write(frames(nonce_of(process), int(line)))
    await process.stdin.readline()
    process.exit(137)


async def per_tick(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Keeps no session open: standard input is closed. A session for one tick answers."""
    nonce, *tick = words_of(process)
    if tick:
        process.stdout.write(frames(nonce, int(tick[0])))
    process.exit(0)


async def collects_output(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A wrapper that prints when the command has ended, which a kept session never does."""
    if len(words_of(process)) > 1:
        await per_tick(process)
    else:
        await silent(process)


async def ends_soon(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A kept session is ended after two answers, as by a limit of time; single ones answer."""
    nonce, *tick = words_of(process)
    if tick:
        await per_tick(process)
        return
    for _ in range(2):
        line = await process.stdin.readline()
        process.stdout.write(frames(nonce, int(line)))
    process.exit(0)


async def no_shell(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """The account's shell does not know the command."""
    process.stderr.write(b"rbash: exec: restricted\n")
    process.exit(127)


async def unsupported(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """No Linux."""
    line = await process.stdin.readline()
    process.stdout.write(f"@@RESMON1 {nonce_of(process)} X {int(line)} no-proc FreeBSD\n".encode())
    await process.stdin.read()


async def core_only(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """df hangs: the disk frame never comes."""
    async for tick in ticks_of(process):
        process.stdout.write(frames(nonce_of(process), tick, has_disk=False))


async def trickle(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Answers in pieces of seven bytes."""
    async for tick in ticks_of(process):
        answer = frames(nonce_of(process), tick)
        for start in range(0, len(answer), 7):
            process.stdout.write(answer[start : start + 7])
            await asyncio.sleep(0)


class _Gatekeeper(asyncssh.SSHServer):
    """Lets `client` in; may hang while it decides, or want more than a key."""

    def __init__(self, server: "ScriptedServer") -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server.connections.append(conn)

    def public_key_auth_supported(self) -> bool:
        return self._server.accepts_keys

    def password_auth_supported(self) -> bool:
        return not self._server.accepts_keys

    def begin_auth(self, username: str) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._server.login_attempts += 1
        if self._server.hangs_in == "login":
            await asyncio.sleep(600)
        offered = key.export_public_key("openssh").split()[:2]
        return b" ".join(offered).decode() in self._server.authorized

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        if not self._server.forwards:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "not here")
        self._server.forwarded.append((dest_host, dest_port))
        return True

    def session_requested(self) -> "bool | _HangingSession":
        if self._server.hangs_in == "command":
            return _HangingSession(self._server)
        if self._server.hangs_in == "session":
            self._server.released.wait(600)
        if not self._server.opens_sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "no")
        return False


class _HangingSession(asyncssh.SSHServerSession[bytes]):
    """Takes the command and does not say whether it runs it; holds the whole server."""

    def __init__(self, server: "ScriptedServer") -> None:
        self._server = server

    def exec_requested(self, command: str) -> bool:
        return not self._server.released.wait(600)


@dataclass
class ScriptedServer:
    """An SSH server whose sessions play a behaviour; may be changed while it runs."""

    session: Session
    host_key: Path
    authorized: list[str]
    hangs_in: str = ""
    accepts_keys: bool = True
    opens_sessions: bool = True
    forwards: bool = False
    forwarded: list[tuple[str, int]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    login_attempts: int = 0
    sessions: int = 0
    port: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def _plays(self) -> bool:
        """Whether sessions get as far as their behaviour."""
        return self.opens_sessions and self.hangs_in not in {"session", "command"}

    async def _play(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One session; ends with its connection whatever it waits for."""
        self.sessions += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.session(process)
        except (asyncssh.Error, OSError, ValueError):
            pass  # the client went away in the middle of it
        finally:
            self._tasks.discard(task)
            process.close()

    def start(self, *, port: int = 0) -> None:
        """Listen, in a thread of its own."""
        is_ready = threading.Event()

        async def serve() -> None:
            self._stopped = asyncio.Event()
            options = {"server_host_keys": [str(self.host_key)], **self.options}
            server = await asyncssh.create_server(
                lambda: _Gatekeeper(self),
                "127.0.0.1",
                port,
                process_factory=self._play if self._plays() else None,
                encoding=None,
                allow_pty=False,
                reuse_address=True,
                **options,
            )
            self.port = server.get_port()
            is_ready.set()
            await self._stopped.wait()
            server.close()
            for connection in self.connections:
                connection.abort()
            await server.wait_closed()
            for connection in self.connections:
                await connection.wait_closed()
            for task in list(self._tasks):
                task.cancel()
            while self._tasks:
                await asyncio.sleep(0.01)

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),))
        self._thread.start()
        assert is_ready.wait(START_SECONDS), "the SSH server of the test did not start"

    def cut(self) -> None:
        """Cut all connections; new ones are welcome."""
        for connection in list(self.connections):
            self._loop.call_soon_threadsafe(connection.abort)

    def stop(self) -> None:
        """Cut all connections and end the thread."""
        self.released.set()
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), "the SSH server of the test did not stop"
        self._loop.close()


ServerFactory = Callable[..., tuple[ScriptedServer, Endpoint]]


@pytest.fixture
def scripted_server(ssh_keys: Keys, tmp_path: Path) -> Iterator[ServerFactory]:
    """Starts in-process SSH servers: `scripted_server(behaviour, **fields of ScriptedServer)`."""
    servers: list[ScriptedServer] = []

    def start(session: Session = canned, **fields: Any) -> tuple[ScriptedServer, Endpoint]:
        fields.setdefault("host_key", ssh_keys.private("host"))
        server = ScriptedServer(session, authorized=[ssh_keys.public_line("client")], **fields)
        server.start()
        servers.append(server)
        known = tmp_path / "known_hosts"
        with known.open("a") as file:
            file.write(f"[127.0.0.1]:{server.port} {ssh_keys.public_line('host')}\n")
        return server, Endpoint(server.port, "somebody", ssh_keys.private("client"), known)

    yield start
    for server in servers:
        server.stop()


# A real sshd.


@pytest.fixture(scope="session")
def sshd(ssh_keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A real OpenSSH server as a direct child, for the user who runs the tests."""
    if not SSHD.exists():
        reason = f"{SSHD} is missing: install openssh-server to run this test"
        if os.environ.get("RESMON_REQUIRE_SSHD") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own need as root
    authorized = folder / "authorized_keys"
    authorized.write_text(f"{ssh_keys.public_line('client')}\n")
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {ssh_keys.private('host')}\nPidFile none\n"
        f"AuthorizedKeysFile {authorized}\nTrustedUserCAKeys {ssh_keys.private('ca')}.pub\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 500\n"
        "LogLevel INFO\nPrintMotd no\nX11Forwarding no\n"
    )
    command = [str(SSHD), "-f", str(config)]
    # OpenSSH 9.8 and newer shut out for a while whoever fails to log in: here everybody at once.
    lenient = ("-o", "PerSourcePenalties=no")
    if not subprocess.run([*command, *lenient, "-t"], capture_output=True, check=False).returncode:
        command += lenient
    log = (folder / "log").open("wb")
    process = subprocess.Popen([*command, "-D", "-e"], stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _greets(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {ssh_keys.public_line('host')}\n")
        user = pwd.getpwuid(os.geteuid()).pw_name
        yield Endpoint(port, user, ssh_keys.private("client"), known)
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        log.close()


def _greets(port: int) -> bool:
    """Whether an SSH server answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


@pytest.fixture(params=["in-process", "sshd"])
def ssh_server(request: pytest.FixtureRequest) -> Endpoint:
    """The same test against a server of ours and against OpenSSH."""
    if request.param == "sshd":
        endpoint: Endpoint = request.getfixturevalue("sshd")
        return endpoint
    _, endpoint = request.getfixturevalue("scripted_server")(real_probe)
    return endpoint


# Bare TCP: what listens on port 22 but is no SSH server, or not for long.


class TcpServer:
    """Accepts connections on a loopback port and hands each to `play` in a thread of its own."""

    def __init__(self, play: Callable[[socket.socket], None]) -> None:
        self._play = play
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._play(connection)

    def stop(self) -> None:
        """Close all and wait for the threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(START_SECONDS)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(START_SECONDS)


@pytest.fixture
def tcp_server() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Starts bare TCP servers: `tcp_server(play)` returns the port."""
    servers: list[TcpServer] = []

    def start(play: Callable[[socket.socket], None]) -> int:
        servers.append(TcpServer(play))
        return servers[-1].port

    yield start
    for server in servers:
        server.stop()


def wait_for_hangup(connection: socket.socket) -> None:
    """Read until the other side goes away."""
    while connection.recv(65536):
        pass


def poll_until(condition: Callable[[], bool], *, seconds: float = 20, what: str = "") -> None:
    """Wait until something is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def children_of(process_id: int) -> list[int]:
    """Processes below a process, all generations; those that end meanwhile may be missing."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in list(Path(f"/proc/{process_id}/task").iterdir()):
            with contextlib.suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += [int(child), *children_of(int(child))]
    return found


def command_line_of(process_id: int) -> bytes:
    """Arguments of a process with a null byte behind each; empty for one that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    return b""
