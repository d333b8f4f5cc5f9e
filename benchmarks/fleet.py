"""A fleet to test on: simulated servers behind a real SSH handshake, one loopback address each.

`python benchmarks/fleet.py --servers N` serves N servers on addresses of 127.0.0.0/8, all on one
port, and speaks the protocol of resmon_resources/probe with the nonce of the connection. Every
answer is made from the address and the time alone, so that counters go on wherever a connection
lands: realistic load, four interfaces, seven mounts, about 1.3 KB, as a real host sends.

The folder (`--folder`, else a temporary one) gets `client` (private key), `known_hosts` and
`servers.csv` (address, fault). One JSON line on standard output says that all listen. SIGUSR1 has
another line printed: CPU seconds, logins, open connections, TCP bytes. SIGTERM, or the end of the
parent, ends all of it.

`--faulty-share` makes that part of the servers faulty, the kinds of FAULTS (or of `--faults`) in
turn; a faulty server has the kind's number as second octet of its address, a sound one 1 to 99.
Asyncssh, so that the client under test meets another implementation.
"""

import argparse
import asyncio
import contextlib
import csv
import ctypes
import json
import logging
import math
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncssh

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from resmon_resources.process_limits import Need, raise_open_files, read_limits
from resmon_resources.process_limits import limit_problems as collector_problems

MARKER = "@@RESMON1"
HEALTHY_OCTETS = 99
PER_OCTET = 62_500
SLOW_BYTES = 64
SLOW_SECONDS = 0.05
CLOCK_OFF_SECONDS = 3600
TICKS_BETWEEN_REBOOTS = 3
TICKS_UNTIL_DROP = 2
FLOOD = "y" * 65_536
PR_SET_PDEATHSIG = 1
TCP_BYTES_OFFSET = 120
"""Where struct tcp_info (linux/tcp.h) holds bytes_acked and bytes_received."""

SPARE_DESCRIPTORS = 200
DESCRIPTORS_PER_SERVER = 3
"""A listener, and a connection from each of two collectors in a handover."""


@dataclass(frozen=True)
class Fault:
    """A kind of faulty server.

    Attributes:
        octet: second octet of its addresses.
        samples: whether its instants bring samples: all, some, none.
        cause: what the collector should say of it; empty when it counts as sound.
    """

    octet: int
    samples: str
    cause: str


FAULTS = {
    "refuse": Fault(101, "none", "refused"),
    "hang_banner": Fault(102, "none", "timeout"),
    "hang_auth": Fault(103, "none", "timeout"),
    "wrong_host_key": Fault(104, "none", "host_key_changed"),
    "auth_failed": Fault(105, "none", "auth_failed"),
    "garbage": Fault(106, "none", "unreadable"),
    "truncated": Fault(107, "none", "unreadable"),
    "oversize": Fault(108, "none", "unreadable"),
    "trickle": Fault(109, "all", ""),
    "drop": Fault(110, "some", "unreachable"),
    "clock_off": Fault(111, "all", ""),
    "reboot": Fault(112, "all", ""),
    "df_hung": Fault(113, "all", ""),
    "black_hole": Fault(114, "none", "timeout"),
    "restricted": Fault(115, "all", ""),
}


@dataclass(frozen=True)
class Host:
    """One simulated server: `fault` is a key of FAULTS, or empty."""

    index: int
    address: str
    fault: str


def plan(servers: int, *, faulty_share: float, faults: Sequence[str]) -> list[Host]:
    """The servers of a fleet; the faulty ones are spread evenly over it."""
    hosts = []
    faulty = 0
    for index in range(servers):
        is_faulty = math.floor((index + 1) * faulty_share + 1e-9) > faulty
        fault = faults[faulty % len(faults)] if is_faulty else ""
        faulty += is_faulty
        octet = FAULTS[fault].octet if fault else 1 + index // PER_OCTET
        place = index % PER_OCTET
        address = f"127.{octet}.{place // 250}.{place % 250 + 1}"
        hosts.append(Host(index, address, fault))
    return hosts


def limit_problems(servers: int, *, processes: int, collectors: int = 0) -> list[str]:
    """What on this machine is too low for a fleet of this size, in sentences; raises nofile.

    Args:
        servers: size of the fleet.
        processes: of the simulator, between which the servers are divided.
        collectors: whether collectors run on this machine too; two of them at a handover.
    """
    raise_open_files()
    limits = read_limits()
    descriptors = math.ceil(servers / processes) * DESCRIPTORS_PER_SERVER + SPARE_DESCRIPTORS
    found = []
    if limits.nofile is not None and limits.nofile < descriptors:
        found.append(
            f"nofile is {limits.nofile} (hard limit), a process of the simulator needs "
            f"{descriptors}: raise it (ulimit -Hn, LimitNOFILE=) or use more --processes."
        )
    if collectors:
        found += collector_problems(limits, Need(servers, 0, servers))
    return found


def core_frame(head: str, tick: int, *, seed: int, uptime: float, boot: int) -> str:
    """The core frame of a busy machine with four interfaces; counters only grow with `uptime`."""
    cores = (2, 4, 8, 16)[seed % 4]
    wave = (1 - math.cos(uptime / 120)) * 120  # its slope stays between -1 and 1
    busy = (0.15 + seed % 50 / 100) * uptime + 0.1 * wave
    jiffies = int(busy * cores * 100)
    idle = int(uptime * cores * 100) - jiffies
    memory = (8 + seed % 5 * 8) * 1024 * 1024
    available = int(memory * (0.3 + 0.1 * math.sin(uptime / 300) + seed % 30 / 100))
    received = int((200_000 + seed % 97 * 20_000) * uptime)
    links = " ".join(
        f"{name} {4_000_000_000 + received // part} {3_000_000_000 + received // (part * 2)}"
        for name, part in (("ens192", 1), ("ens224", 3), ("ens256", 7), ("ib0", 11))
    )
    load = cores * (0.2 + seed % 50 / 100)
    lines = (
        f"{head} B {tick}",
        f"boot {seed:08x}-{boot:04x}-4cf1-9d3e-0a7cd9e1f2b4",
        f"up {uptime:.2f} {idle / 100:.2f}",
        f"cpu  {jiffies * 7 // 10} {jiffies // 200} {jiffies // 4} {idle} {idle // 300} 0 "
        f"{jiffies // 50} {jiffies // 100} 0 0",
        f"online 0-{cores - 1}",
        f"load {load:.2f} {load * 0.9:.2f} {load * 0.8:.2f} 3/1204 {20_000 + tick % 10_000}",
        f"mem MemTotal: {memory} MemFree: {available // 2} MemAvailable: {available}",
        f"net {links}",
        f"{head} E {tick}",
    )
    return "".join(f"{line}\r" for line in lines)


def disk_frame(head: str, tick: int, *, seed: int, now: float, uptime: float) -> str:
    """The disk frame of a machine with seven mounts."""
    rows = []
    for number, mount in enumerate(
        ("/", "/boot", "/home", "/var", "/var/log", "/var/lib/postgresql", "/srv/backup")
    ):
        total = (20 + number * 40 + seed % 7 * 10) * 1024 * 1024
        used = int(total * (0.2 + (seed + number) % 60 / 100)) + int(uptime) % 4096
        device = f"/dev/mapper/vg0-lv{number}"
        left = total - used
        rows.append(f"{device:<28} {total:>11} {used:>10} {left:>10} {100 * used // total:>4}% ")
        rows[-1] += mount
    lines = (
        f"{head} D {tick}",
        "df 0",
        f"now {now:.9f}",
        "root ext4",
        f"mounts {len(rows)}",
        "Filesystem                   1024-blocks       Used  Available Capacity Mounted on",
        *rows,
        f"{head} F {tick}",
    )
    return "".join(f"{line}\r" for line in lines)


class ProbeSession(asyncssh.SSHServerSession[str]):
    """What runs behind the login: the probe, or what its fault makes of it."""

    def __init__(self, host: Host, epoch: float) -> None:
        self._host = host
        self._booted = epoch - 100_000 - host.index * 37
        self._head = ""
        self._only_tick: int | None = None
        self._rest = ""
        self._ticks = 0
        self._boot = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, chan: "asyncssh.SSHServerChannel[str]") -> None:
        """Keep the channel."""
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        """Take the nonce, and a tick that is the only one, from the end of the command line."""
        nonce, *words = command.rpartition(" resmon ")[2].split()
        self._head = f"{MARKER} {nonce}"
        self._only_tick = int(words[0]) if words else None
        return True

    def session_started(self) -> None:
        """A menu speaks before it is asked; a session for one tick needs no more."""
        if self._host.fault == "garbage":
            self._channel.write("1) status\n2) quit\nYour choice: ")
        if self._only_tick is not None:
            self._answer(self._only_tick)
        if self._only_tick is not None or self._host.fault == "restricted":
            self._start(self._end())

    def data_received(self, data: str, datatype: int | None) -> None:
        """Answer each line that holds a tick."""
        *lines, self._rest = (self._rest + data).split("\n")
        for line in lines:
            if line.isdigit():
                self._answer(int(line))

    def eof_received(self) -> bool:
        """The client has no more ticks: the probe ends."""
        self._channel.exit(0)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop whatever is being printed."""
        for task in self._tasks:
            task.cancel()

    def _answer(self, tick: int) -> None:
        """One tick."""
        fault, seed = self._host.fault, self._host.index
        now = time.time()
        if fault == "reboot" and self._ticks and self._ticks % TICKS_BETWEEN_REBOOTS == 0:
            self._boot += 1
            self._booted = now - 20
        self._ticks += 1
        uptime = now - self._booted
        core = core_frame(self._head, tick, seed=seed, uptime=uptime, boot=self._boot)
        clock = now + CLOCK_OFF_SECONDS if fault == "clock_off" else now
        disk = disk_frame(self._head, tick, seed=seed, now=clock, uptime=uptime)
        if fault in {"", "clock_off", "reboot", "restricted"}:
            self._channel.write(core)
            self._channel.write(disk)
        else:
            self._misbehave(tick, core, disk)

    def _misbehave(self, tick: int, core: str, disk: str) -> None:
        """A tick of a faulty server."""
        match self._host.fault:
            case "garbage":
                self._channel.exit(0)
            case "truncated":
                self._channel.write(core[: len(core) // 3])
                self._channel.exit(0)
            case "oversize":
                self._start(self._flood())
            case "trickle":
                self._start(self._trickle(core + disk))
            case "df_hung":
                # The df of the first tick never returns, and the probe starts no second one.
                busy = f"{self._head} X {tick} df-busy\r" if self._ticks > 1 else ""
                self._channel.write(busy + core)
            case "drop":
                if self._ticks > TICKS_UNTIL_DROP:
                    self._channel.get_connection().abort()
                else:
                    self._channel.write(core + disk)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        """Print something over a longer time."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        """A session that nothing keeps open."""
        self._channel.exit(0)

    async def _flood(self) -> None:
        """A line without end, at a pace that leaves the others their CPU."""
        with contextlib.suppress(asyncssh.Error, OSError):
            while not self._channel.is_closing():
                self._channel.write(FLOOD)
                await asyncio.sleep(SLOW_SECONDS)

    async def _trickle(self, text: str) -> None:
        """An answer in small pieces."""
        with contextlib.suppress(asyncssh.Error, OSError):
            for start in range(0, len(text), SLOW_BYTES):
                self._channel.write(text[start : start + SLOW_BYTES])
                await asyncio.sleep(SLOW_SECONDS)


class Gatekeeper(asyncssh.SSHServer):
    """Lets the holder of the client's key in."""

    def __init__(self, worker: "Worker", host: Host) -> None:
        self._worker = worker
        self._host = host

    def begin_auth(self, username: str) -> bool:
        """Nobody comes in without a key."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys only."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """The one key that counts."""
        if self._host.fault == "hang_auth":
            await asyncio.Event().wait()
        return self._host.fault != "auth_failed" and key == self._worker.client_key

    def auth_completed(self) -> None:
        """Count the logins of sound servers."""
        if not self._host.fault:
            self._worker.logins += 1
            self._worker.last_login_at = time.time()

    def session_requested(self) -> ProbeSession:
        """The probe."""
        return ProbeSession(self._host, self._worker.epoch)


class Worker:
    """One process of the simulator: some of the servers, in one event loop."""

    def __init__(self, hosts: list[Host], *, port: int, folder: Path, epoch: float) -> None:
        self.epoch = epoch
        self.logins = 0
        self.last_login_at = 0.0
        self.client_key = asyncssh.read_public_key(folder / "client.pub")
        self._hosts = hosts
        self._port = port
        self._listeners: list[socket.socket] = []
        self._fillers: list[socket.socket] = []
        self._open: dict[socket.socket, Host] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keys = {
            is_right: asyncssh.read_private_key(folder / name)
            for is_right, name in ((True, "host"), (False, "other_host"))
        }

    async def serve(self) -> None:
        """Listen everywhere, say so, and serve until standard input ends."""
        loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        for host in self._hosts:
            if host.fault != "refuse":
                self._listen(host, loop)
        loop.add_reader(sys.stdin.fileno(), self._obey)
        print("ready", flush=True)
        await self._stopped.wait()
        for listener in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        for task in self._tasks:
            task.cancel()
        for sock in (*self._open, *self._fillers):
            with contextlib.suppress(OSError):
                sock.close()

    def _listen(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        """Open the port of one server."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)  # noqa: FBT003 - its only parameter
        listener.bind((host.address, self._port))
        self._listeners.append(listener)
        if host.fault == "black_hole":
            # A full queue: the kernel drops what comes after, as a firewall does.
            listener.listen(0)
            for _ in range(2):
                filler = socket.socket()
                filler.setblocking(False)  # noqa: FBT003
                filler.connect_ex((host.address, self._port))
                self._fillers.append(filler)
            return
        listener.listen(16)
        loop.add_reader(listener, self._accept, listener, host)

    def _accept(self, listener: socket.socket, host: Host) -> None:
        """Take a connection."""
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        sock.setblocking(False)  # noqa: FBT003
        self._open[sock] = host
        task = asyncio.get_running_loop().create_task(self._converse(sock, host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, sock: socket.socket, host: Host) -> None:
        """One connection from greeting to end."""
        try:
            if host.fault == "hang_banner":
                await self._say_nothing(sock)
                return
            connection = await asyncssh.run_server(
                sock,
                server_factory=lambda: Gatekeeper(self, host),
                server_host_keys=[self._keys[host.fault != "wrong_host_key"]],
                allow_pty=False,
                agent_forwarding=False,
                login_timeout=0,
                rekey_seconds=86_400,
            )
            await connection.wait_closed()
        except (asyncssh.Error, OSError):
            pass  # the client went away, or was not let in
        finally:
            self._open.pop(sock, None)

    async def _say_nothing(self, sock: socket.socket) -> None:
        """Wait for the client to give up."""
        with contextlib.closing(sock):
            while await asyncio.get_running_loop().sock_recv(sock, 4096):
                pass

    def _obey(self) -> None:
        """A line asks for the figures; the end of input ends the process."""
        if not os.read(sys.stdin.fileno(), 4096):
            self._stopped.set()
            return
        received = sent = 0
        for sock, host in self._open.items():
            if host.fault or sock.fileno() < 0:
                continue
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 200)
            acked, got = struct.unpack_from("QQ", info, TCP_BYTES_OFFSET)
            sent, received = sent + acked, received + got
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "logins": self.logins,
            "last_login_at": self.last_login_at,
            "connections": len(self._open),
            "bytes_received": received,
            "bytes_sent": sent,
        }
        print(json.dumps(figures), flush=True)


def run_worker(options: argparse.Namespace) -> None:
    """The process of one part of the fleet."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL + 1)
    hosts = read_servers(options.folder)[options.part :: options.processes]
    worker = Worker(hosts, port=options.port, folder=options.folder, epoch=options.epoch)
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - comes with Dagster's web server, not on every system

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(worker.serve())
        return
    asyncio.run(worker.serve())


def read_servers(folder: Path) -> list[Host]:
    """The servers of `servers.csv`, in their order."""
    with (folder / "servers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Host(int(row["index"]), row["address"], row["fault"]) for row in rows]


def write_folder(folder: Path, hosts: Sequence[Host], *, port: int) -> None:
    """Keys, known_hosts and the list of servers."""
    for name in ("client", "host", "other_host"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        path = folder / name
        key.write_private_key(path)
        path.chmod(0o600)
        key.write_public_key(f"{path}.pub")
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    lines = [f"[{host.address}]:{port} {host_key}\n" for host in hosts]
    (folder / "known_hosts").write_text("".join(lines))
    with (folder / "servers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("index", "address", "fault"))
        writer.writeheader()
        writer.writerows(asdict(host) for host in hosts)


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent goes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def serve(options: argparse.Namespace, folder: Path) -> int:
    """Start the workers, say that all listen, and answer signals; the exit status."""
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    parent = os.getppid()
    end_with_parent()
    hosts = plan(options.servers, faulty_share=options.faulty_share, faults=options.faults)
    write_folder(folder, hosts, port=options.port)
    epoch = time.time()
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, __file__, "--servers", str(options.servers)),
                *("--port", str(options.port), "--folder", str(folder)),
                *("--processes", str(options.processes), "--part", str(part)),
                *("--epoch", repr(epoch)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(options.processes)
    ]
    try:
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                print("A process of the simulator could not listen; see above.", file=sys.stderr)
                return 1
        faulty = sum(1 for host in hosts if host.fault)
        line = {"port": options.port, "folder": str(folder), "servers": len(hosts)}
        print(json.dumps(line | {"faulty": faulty, "pid": os.getpid()}), flush=True)
        return answer_signals(workers, wanted=wanted, parent=parent)
    finally:
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()
        for worker in workers:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def answer_signals(
    workers: Sequence["subprocess.Popen[str]"], *, wanted: set[signal.Signals], parent: int
) -> int:
    """Serve until told to end, or until the parent or a worker is gone; the exit status."""
    while True:
        got = signal.sigtimedwait(wanted, 1)
        if got is not None and got.si_signo == signal.SIGUSR1:
            print(json.dumps(totals(workers)), flush=True)
        elif got is not None or os.getppid() != parent:
            return 0
        if any(worker.poll() is not None for worker in workers):
            print("A process of the simulator ended; see above.", file=sys.stderr)
            return 1


def totals(workers: Sequence["subprocess.Popen[str]"]) -> dict[str, float]:
    """Sum of the figures of all workers, this process's CPU included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total: dict[str, float] = {"cpu_seconds": used.ru_utime + used.ru_stime}
    for worker in workers:
        if worker.stdin is None or worker.stdout is None:
            continue
        worker.stdin.write("figures\n")
        worker.stdin.flush()
        for name, value in json.loads(worker.stdout.readline()).items():
            known = total.get(name, 0)
            total[name] = max(known, value) if name == "last_login_at" else known + value
    return total


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description="A fleet of simulated servers on loopback.")
    parser.add_argument("--servers", type=int, required=True)
    parser.add_argument("--port", type=int, default=22_022)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--faulty-share", type=float, default=0.0)
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(FAULTS))
    parser.add_argument("--folder", type=Path, help="where keys and known_hosts are written")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--epoch", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [name for name in options.faults if name not in FAULTS]
    if unknown:
        parser.error(f"no fault {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    if not 1 <= options.servers <= HEALTHY_OCTETS * PER_OCTET:
        parser.error(f"--servers must be 1 to {HEALTHY_OCTETS * PER_OCTET}")
    problems = limit_problems(options.servers, processes=options.processes)
    if options.part is not None:
        run_worker(options)
        return 0
    if problems:
        print(f"Too low for {options.servers} servers: {' '.join(problems)}", file=sys.stderr)
        return 1
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        return serve(options, options.folder)
    with tempfile.TemporaryDirectory(prefix="resmon-fleet-") as folder:
        return serve(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
