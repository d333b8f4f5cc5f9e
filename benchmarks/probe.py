"""What one tick of the probe costs the host, per shell, beside a naive tick.

Prints one JSON line per figure on standard output; all else goes to standard error. Nothing but
this machine is needed. Run: `python benchmarks/probe.py [--ticks N]`.

    cpu_ms_per_tick     CPU of the shell and all it starts; `part` core (no disk), whole, inodes
                        (whole with inodes and types, every fifth minute) or naive
    forks_per_tick      processes started, counted by strace where it is installed
    bytes_per_tick      printed
    ratio_to_naive      part / naive; naive is cat of five files, nproc, date and df in one shell:
                        what a command per tick does on a kept connection, without the shell start

CPU is what the kernel accounts to the ended process tree (RUSAGE_CHILDREN), so waiting does not
count. The parts are measured in turn and the least of the rounds is printed, because other work on
the machine only ever adds.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from resmon_resources.probe.framing import AnswerAssembler
from resmon_resources.probe.program import probe_argv

NONCE = "0123456789abcdef"
SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}
ROUNDS = 3
NAIVE = (
    "while read -r k; do cat /proc/stat /proc/meminfo /proc/net/dev /proc/loadavg /proc/uptime; "
    'nproc; date +%s; df -Pkl; printf "end %s\\r" "$k"; done'
)


def emit(
    figure: str, value: float, unit: str, *, reference: float | None = None, **params: object
) -> None:
    """One JSON line."""
    line = {
        "benchmark": "probe",
        "figure": figure,
        "params": params,
        "value": round(value, 3),
        "unit": unit,
        "reference": reference,
    }
    print(json.dumps(line), flush=True)


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


def forks(argv: list[str], *, flag: bytes = b"") -> float | None:
    """Processes per tick, the start taken out by two lengths. None without strace."""
    if shutil.which("strace") is None:
        return None
    counts = []
    for ticks in (10, 30):
        with tempfile.NamedTemporaryFile() as trace:
            strace = ["strace", "-fqo", trace.name, "-e", "trace=fork,vfork,clone,clone3"]
            run_ticks([*strace, *argv], ticks, flag=flag)
            lines = Path(trace.name).read_text().splitlines()
        counts.append(sum(1 for line in lines if " = " in line and "unfinished" not in line))
    return (counts[1] - counts[0]) / 20


def measure(name: str, shell: tuple[str, ...], ticks: int) -> None:
    """All figures of one shell."""
    parts = {
        "core": probe_argv(NONCE, shell=shell, with_disk=False),
        "whole": probe_argv(NONCE, shell=shell),
        "inodes": probe_argv(NONCE, shell=shell),
        "naive": [*shell, "-c", NAIVE],
    }
    flags = {"inodes": b"i\n"}
    rounds = [
        {part: cpu_ms(argv, ticks, flag=flags.get(part, b"")) for part, argv in parts.items()}
        for _ in range(ROUNDS)
    ]
    best = {part: min(figures[part] for figures in rounds) for part in parts}
    for part, argv in parts.items():
        params = {"shell": name, "part": part, "ticks": ticks}
        emit("cpu_ms_per_tick", best[part], "ms", reference=round(best["naive"], 3), **params)
        flag = flags.get(part, b"")
        emit("bytes_per_tick", len(run_ticks(argv, 20, flag=flag)) / 20, "bytes", **params)
        count = forks(argv, flag=flag)
        if count is not None:
            emit("forks_per_tick", count, "processes", **params)
    for part in ("core", "whole"):
        ratio = best[part] / best["naive"]
        emit("ratio_to_naive", ratio, "ratio", reference=1.0, shell=name, part=part)


def main() -> None:
    """Measure each shell that is installed."""
    parser = argparse.ArgumentParser(description="Cost of the probe on the host it runs on.")
    parser.add_argument("--ticks", type=int, default=200)
    ticks = parser.parse_args().ticks
    print(f"{platform.platform()}, {len(Path('/proc/mounts').read_text().splitlines())} mounts",
          file=sys.stderr)  # fmt: skip
    for name, shell in SHELLS.items():
        if shutil.which(shell[0]) is None:
            print(f"{shell[0]} is not installed, skipped", file=sys.stderr)
            continue
        measure(name, shell, ticks)


if __name__ == "__main__":
    main()
