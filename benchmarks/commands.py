"""What a command costs before and while it asks an empty database: CPU, against `python -c pass`.

Each runs as a user runs it, in a process of its own. The reference of each is the interpreter of
the same round; CPU is user and system time, so that what runs beside it moves it little.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from statistics import median

from _measuring import Figure, embedded, emit, say

PROGRAM = "import sys; sys.argv[0] = 'resmon'; from resmon_cli.main import main; main()"
COMMANDS = (
    *("--help", "status", "server list", "org list", "quota list", "access list"),
    *("alert list", "alert rule list", "alert silence list", "alert route list", "alert outbox"),
    *("retention show", "retention plan", "archive list", "demo status"),
    *("metrics --help", "export --help", "alert replay --help", "recompute --help"),
    *("collect --help", "server test --help", "demo create --help", "up --help"),
)
"""All succeed on a migrated database without a server."""


def cpu_ms(*arguments: str) -> float:
    """CPU of a Python process with these arguments, milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rounds; medians are told")
    rounds = parser.parse_args().runs
    taken: dict[str, list[float]] = {command: [] for command in ("", *COMMANDS)}
    with embedded() as postgres, tempfile.TemporaryDirectory(prefix="resmon-bench-") as home:
        os.environ |= {"RESMON_POSTGRES_DSN": postgres.url(), "RESMON_HOME": home}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            taken[""].append(cpu_ms("-c", "pass"))
            for command in COMMANDS:
                taken[command].append(cpu_ms("-c", PROGRAM, *command.split()))
    interpreter = median(taken[""])
    for command in COMMANDS:
        emit(
            "commands",
            Figure(
                name="command_cpu",
                value=median(taken[command]),
                unit="ms",
                params={"command": command, "runs": rounds},
                reference=interpreter,
            ),
        )


if __name__ == "__main__":
    main()
