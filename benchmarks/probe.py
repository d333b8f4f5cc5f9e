"""What one tick of the probe costs the host, per shell, beside a naive tick.

Prints one JSON line per figure on standard output; all else goes to standard error. Nothing but
this machine is needed. Run: `python benchmarks/probe.py [--ticks N] [--table]`; `--table` prints
the tables of docs/collection.md instead.

    cpu_ms_per_tick     CPU of the shell and all it starts; `part` core (no disk), whole, inodes
                        (whole with inodes and types, every fifth minute) or naive
    forks_per_tick      processes started; `by` strace, or the least of the differences of the
                        machine's own count (/proc/stat), to which other work only adds
    execs_per_tick      programs started, where there is strace
    bytes_per_tick      printed
    ratio_to_naive      part / naive; naive is cat of five files, nproc, date and df in one shell:
                        what a command per tick does on a kept connection, without the shell start
    cpu_seconds_per_day of 2,880 ticks, 288 of them with inodes
    syslog_lines        of a real sshd (LogLevel INFO, without PAM) per login with its end, per tick
                        on the open channel, per command on the open connection
    syslog_lines_per_day  of 24 logins; `way` channel, or a command per tick

CPU is what the kernel accounts to the ended process tree (RUSAGE_CHILDREN), so waiting does not
count. The parts are measured in turn and the least of the rounds is printed, because other work on
the machine only ever adds.
"""

import argparse
import json
import os
import platform
import pwd
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import paramiko

from benchmarks._sshd import SSHD, real_sshd
from benchmarks.fleet import Host, write_folder
from resmon_resources.channels import Target
from resmon_resources.fleet import open_once
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.framing import AnswerAssembler
from resmon_resources.probe.program import probe_argv, probe_command

NONCE = "0123456789abcdef"
SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}
PARTS = ("core", "whole", "inodes", "naive")
ROUNDS = 3
TICKS_PER_DAY = 2880
INODES_PER_DAY = 288
LOGINS_PER_DAY = 24
"""One per run of an hour, when no connection breaks."""

LOGINS = 10
COMMANDS = 20
NAIVE = (
    "while read -r k; do cat /proc/stat /proc/meminfo /proc/net/dev /proc/loadavg /proc/uptime; "
    'nproc; date +%s; df -Pkl; printf "end %s\\r" "$k"; done'
)


Figures = dict[tuple[str, str, str], float]
"""(figure, shell or nothing, part) -> value, for the tables."""


class Output:
    """JSON lines, or at the end tables."""

    def __init__(self, *, as_table: bool) -> None:
        self._as_table = as_table
        self.figures: Figures = {}

    def emit(
        self,
        figure: str,
        value: float,
        unit: str,
        *,
        reference: float | None = None,
        **params: object,
    ) -> None:
        """One figure."""
        part = str(params.get("part", params.get("of", params.get("way", ""))))
        self.figures[figure, str(params.get("shell", "")), part] = value
        line = {
            "benchmark": "probe",
            "figure": figure,
            "params": params,
            "value": round(value, 3),
            "unit": unit,
            "reference": reference,
        }
        print(json.dumps(line), file=sys.stderr if self._as_table else sys.stdout, flush=True)

    def print_tables(self, machine: str) -> None:
        """The tables of docs/collection.md."""
        print(f"{machine}\n")
        print("| Shell | Per tick | CPU-ms | to naive | Forks | Execs | Bytes |")
        print("|---|---|---|---|---|---|---|")
        for shell in SHELLS:
            for part in PARTS:
                names = ("cpu_ms_per_tick", "ratio_to_naive", "forks_per_tick", "execs_per_tick")
                values = [self.figures.get((name, shell, part)) for name in names]
                if values[0] is None:
                    continue
                cells = [
                    "" if value is None else f"{value:.{digits}f}"
                    for value, digits in zip(values, (2, 2, 1, 1), strict=True)
                ]
                size = self.figures["bytes_per_tick", shell, part]
                print(f"| {shell} | {part} | {' | '.join(cells)} | {size:.0f} |")
        print("\n| Shell | CPU seconds a day | Share of a core |\n|---|---|---|")
        for shell in SHELLS:
            day = self.figures.get(("cpu_seconds_per_day", shell, ""))
            if day is not None:
                print(f"| {shell} | {day:.1f} | {100 * day / 86_400:.3f} % |")
        print("\n| Lines of sshd's log | |\n|---|---|")
        for (figure, _, part), value in self.figures.items():
            if figure == "syslog_lines":
                print(f"| per {part} | {value:g} |")
            elif figure == "syslog_lines_per_day":
                print(f"| per day, {part} | {value:g} |")


def children_of(pid: int | str) -> list[str]:
    """Children of a process, zombies included."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def settle(pid: str) -> None:
    """Wait for the background job of a tick to end; a tick before that would get no disk frame."""
    for child in children_of(pid):
        while is_running(child):
            time.sleep(0.0005)


def is_running(pid: str) -> bool:
    """Whether it lives and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run_ticks(argv: list[str], ticks: int, *, flag: bytes = b"") -> bytes:
    """Tick by tick: the next one is sent when the answer to the last is complete."""
    assembler = AnswerAssembler(NONCE)
    is_probe = NAIVE not in argv
    output = bytearray()
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for tick in range(1, ticks + 1):
            process.stdin.write(b"%s%d\n" % (flag, tick))
            process.stdin.flush()
            end = b"end %d\r" % tick
            while not output.endswith(end):
                data = os.read(process.stdout.fileno(), 65536)
                output += data
                if not data or (is_probe and assembler.feed(data)):
                    break
            settle(children_of(process.pid)[0] if argv[0] == "strace" else str(process.pid))
        process.stdin.close()
        process.wait()
    return bytes(output)


def cpu_ms(argv: list[str], ticks: int, *, flag: bytes = b"") -> float:
    """CPU per tick of the whole process tree; the start of the program is spread over the ticks."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_ticks(argv, ticks, flag=flag)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * spent / ticks


def calls(argv: list[str], names: str, *, flag: bytes = b"") -> float:
    """System calls of these names per tick that went well; the start is taken out by two lengths.

    Exact, but for the tenth tick, which reads the mount table: 10 and 30 ticks hold their share.
    """
    counts = []
    for ticks in (10, 30):
        with tempfile.NamedTemporaryFile() as trace:
            strace = ["strace", "-fqo", trace.name, "-e", f"trace={names}"]
            run_ticks([*strace, *argv], ticks, flag=flag)
            lines = Path(trace.name).read_text().splitlines()
        # An unfinished call is told again when it is resumed; one that failed started nothing.
        done = [line for line in lines if " = " in line and "unfinished" not in line]
        counts.append(sum(1 for line in done if " = -1 " not in line))
    return (counts[1] - counts[0]) / 20


def machine_forks(argv: list[str], *, flag: bytes = b"") -> float:
    """Processes per tick by the machine's own count; the least of the rounds."""

    def started() -> int:
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("processes "):
                return int(line.split()[1])
        msg = "/proc/stat has no line `processes`."
        raise SystemExit(msg)

    def rounds(ticks: int) -> int:
        counts = []
        for _ in range(ROUNDS):
            before = started()
            run_ticks(argv, ticks, flag=flag)
            counts.append(started() - before)
        return min(counts)

    return (rounds(30) - rounds(10)) / 20


def measure(output: Output, name: str, shell: tuple[str, ...], ticks: int) -> None:
    """All figures of one shell."""
    argvs = {
        "core": probe_argv(NONCE, shell=shell, with_disk=False),
        "whole": probe_argv(NONCE, shell=shell),
        "inodes": probe_argv(NONCE, shell=shell),
        "naive": [*shell, "-c", NAIVE],
    }
    flags = {"inodes": b"i\n"}
    rounds = [
        {part: cpu_ms(argvs[part], ticks, flag=flags.get(part, b"")) for part in PARTS}
        for _ in range(ROUNDS)
    ]
    best = {part: min(figures[part] for figures in rounds) for part in PARTS}
    for part in PARTS:
        argv, flag = argvs[part], flags.get(part, b"")
        params = {"shell": name, "part": part, "ticks": ticks}
        naive = round(best["naive"], 3)
        output.emit("cpu_ms_per_tick", best[part], "ms", reference=naive, **params)
        size = len(run_ticks(argv, 20, flag=flag)) / 20
        output.emit("bytes_per_tick", size, "bytes", **params)
        if shutil.which("strace") is None:
            count = machine_forks(argv, flag=flag)
            output.emit("forks_per_tick", count, "processes", by="/proc/stat", **params)
        else:
            count = calls(argv, "fork,vfork,clone,clone3", flag=flag)
            output.emit("forks_per_tick", count, "processes", by="strace", **params)
            count = calls(argv, "execve,execveat", flag=flag)
            output.emit("execs_per_tick", count, "programs", **params)
        ratio = best[part] / best["naive"]
        output.emit("ratio_to_naive", ratio, "ratio", reference=1.0, shell=name, part=part)
    plain = TICKS_PER_DAY - INODES_PER_DAY
    day = (plain * best["whole"] + INODES_PER_DAY * best["inodes"]) / 1000
    naive = round(TICKS_PER_DAY * best["naive"] / 1000, 3)
    output.emit("cpu_seconds_per_day", day, "s", reference=naive, shell=name)


def measure_syslog(output: Output) -> None:
    """Lines that a real sshd writes, per login, per tick and per command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="resmon-bench-") as name:
        folder = Path(name)
        write_folder(folder, [Host(0, "127.0.0.1", "")], port=port)
        with real_sshd(folder, port=port, addresses=["127.0.0.1"]) as sshd:
            target = Target(
                server_id=1,
                name="sshd",
                transport="ssh",
                host="127.0.0.1",
                port=port,
                user_name=pwd.getpwuid(os.geteuid()).pw_name,
                identity_file=str(folder / "client"),
            )
            login, tick = lines_of_logins(target, folder=folder, log=sshd.log)
            command = lines_of_commands(target, folder=folder, log=sshd.log)
        print(f"the log of sshd ends with: {sshd.log.read_text()[-400:]}", file=sys.stderr)
    for of, value in (("login", login), ("tick", tick), ("command", command)):
        output.emit("syslog_lines", value, "lines", of=of)
    channel = LOGINS_PER_DAY * login + TICKS_PER_DAY * tick
    per_tick = LOGINS_PER_DAY * login + TICKS_PER_DAY * command
    output.emit("syslog_lines_per_day", channel, "lines", way="one channel")
    output.emit("syslog_lines_per_day", per_tick, "lines", way="a command per tick")


def lines_of_logins(target: Target, *, folder: Path, log: Path) -> tuple[float, float]:
    """Log in with what the collector uses, ask, go: lines per login with its end, and per tick."""
    before = settled_lines(log)
    in_ticks = 0
    for _ in range(LOGINS):
        channel = open_once(target, known_hosts=KnownHosts(folder / "known_hosts"))
        opened = settled_lines(log)
        for tick in range(1, COMMANDS + 1):
            channel.ask(tick, 20)
        in_ticks += settled_lines(log) - opened
        channel.close()
    all_lines = settled_lines(log) - before
    return (all_lines - in_ticks) / LOGINS, in_ticks / LOGINS / COMMANDS


def lines_of_commands(target: Target, *, folder: Path, log: Path) -> float:
    """Lines per command on a connection that is open."""
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(folder / "known_hosts"))
        client.connect(
            target.host,
            target.port,
            target.user_name,
            key_filename=str(folder / "client"),
            allow_agent=False,
            look_for_keys=False,
        )
        before = settled_lines(log)
        for _ in range(COMMANDS):
            stdin, stdout, _ = client.exec_command(probe_command(NONCE), timeout=30)
            stdin.write("1\n")
            stdin.channel.shutdown_write()
            if not AnswerAssembler(NONCE).feed(stdout.read()):
                msg = "The probe did not answer over SSH."
                raise SystemExit(msg)
        return (settled_lines(log) - before) / COMMANDS


def settled_lines(log: Path, *, quiet_seconds: float = 0.3) -> int:
    """Lines of the log once nothing was added for a moment."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < quiet_seconds:
        if log.stat().st_size != size:
            size, since = log.stat().st_size, time.monotonic()
        time.sleep(0.02)
    return log.read_text().count("\n")


def main() -> None:
    """Measure each shell that is installed, and sshd."""
    parser = argparse.ArgumentParser(description="Cost of the probe on the host it runs on.")
    parser.add_argument("--ticks", type=int, default=200)
    parser.add_argument("--table", action="store_true", help="Markdown on standard output")
    options = parser.parse_args()
    mounts = len(Path("/proc/mounts").read_text().splitlines())
    machine = f"{platform.platform()}, {os.cpu_count()} CPUs, {mounts} mounts"
    print(machine, file=sys.stderr)
    output = Output(as_table=options.table)
    for name, shell in SHELLS.items():
        if shutil.which(shell[0]) is None:
            print(f"{shell[0]} is not installed, skipped", file=sys.stderr)
            continue
        measure(output, name, shell, options.ticks)
    if SSHD.exists():
        measure_syslog(output)
    else:
        print(f"{SSHD} is not installed: lines of syslog skipped", file=sys.stderr)
    if options.table:
        output.print_tables(machine)


if __name__ == "__main__":
    main()
