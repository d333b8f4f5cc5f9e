"""What replaying a rule and exporting rows take: seconds, rows a second, and peak memory.

The commands run as a user runs them, on the database of bench-queries, which is generated once and
kept (`make bench-queries`). References of the same run: of a replay a scan of the same samples by
PostgreSQL alone, of an export COPY of the same rows into nothing; of memory a tenth of the rows.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from _history import SIZES
from _history_rows import NOW
from _kept import NotUsable, default_folder, kept
from _measuring import Figure, emit, say

from resmon_resources.errors import ResmonError
from resmon_resources.postgres import PostgresResource

COMMAND = """
import sys
from pathlib import Path
from resmon_cli.main import cli
cli.main(standalone_mode=False)
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
sys.stderr.write("\\nPEAK " + peak.split()[1])
"""
"""`resmon`, with the peak of its memory (KiB) as its last word."""

SCAN = """
select server_id, max(cpu_pct)
from raw.server_resource_metrics
where collected_at >= %s
group by server_id
"""
COPY = """
copy (
    select *
    from resmon.server_resource_metrics
    where collected_at >= %s and collected_at < %s
    order by collected_at, server_id
) to stdout (format csv)
"""

FORMATS = ("csv", "ndjson", "json", "parquet")
ROWS = 1_000_000


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes:
        seconds: wall time, the start of Python included.
        peak_mib: peak of its resident memory.
    """

    seconds: float
    peak_mib: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="make bench-replay ARGS=...", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the database is kept")
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many runs")
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="only this part")
    asked = parser.parse_args()
    folder = asked.keep or default_folder(asked.size)
    try:
        with kept(folder, size=asked.size, is_fresh=False) as database:
            for part in asked.part or PARTS:
                for figure in PARTS[part](database.postgres, asked.size, repeats=asked.repeats):
                    emit("replay", figure)
    except (NotUsable, ResmonError) as error:
        say(str(error))
        return 1
    return 0


def replays(postgres: PostgresResource, size: str, *, repeats: int) -> Iterator[Figure]:
    """A rule on all raw samples, as it is and against a changed one."""
    days = SIZES[size].raw_days
    start = NOW - timedelta(days=days)
    scan = median(scan_seconds(postgres, start.isoformat()) for _ in range(repeats))
    span = ("--from", start.isoformat(), "--to", NOW.isoformat(), "--format", "json")
    for name, options in (("as_it_is", ()), ("changed", ("--level", "95", "--for", "10m"))):
        ran = [
            run(postgres, "alert", "replay", "cpu_high", *span, *options) for _ in range(repeats)
        ]
        params = {"size": size, "servers": SIZES[size].servers, "days": days, "rule": name}
        yield Figure("replay_seconds", median(r.seconds for r in ran), "s", params, scan)
        yield Figure("replay_peak_mib", median(r.peak_mib for r in ran), "MiB", params)


def exports(postgres: PostgresResource, size: str, *, repeats: int) -> Iterator[Figure]:
    """Samples in each format: as many as there are in the last raw hours, up to a million."""
    per_hour = SIZES[size].servers * 120
    hours = min(ROWS // per_hour, SIZES[size].raw_days * 24)
    rows = hours * per_hour
    copy = rows / median(copy_seconds(postgres, hours) for _ in range(repeats))
    with tempfile.TemporaryDirectory(prefix="resmon-bench-") as folder:
        for kind in FORMATS:
            few = export(postgres, kind, folder, hours=max(1, hours // 10))
            ran = [export(postgres, kind, folder, hours=hours) for _ in range(repeats)]
            params = {"size": size, "format": kind, "rows": rows}
            speed = rows / median(r.seconds for r in ran)
            yield Figure("export_rows_per_second", speed, "rows/s", params, copy)
            peak = median(r.peak_mib for r in ran)
            yield Figure("export_peak_mib", peak, "MiB", params, few.peak_mib)


def export(postgres: PostgresResource, kind: str, folder: str, *, hours: int) -> Ran:
    """Export the last hours of samples to a file of the folder."""
    start = NOW - timedelta(hours=hours)
    return run(
        postgres,
        *("export", "metrics", "--granularity", "raw", "--format", kind),
        *("--from", start.isoformat(), "--to", NOW.isoformat()),
        *("--output", f"{folder}/rows.{kind}"),
    )


def run(postgres: PostgresResource, *arguments: str) -> Ran:
    """Run a command of `resmon` in a process of its own."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env=os.environ | {"RESMON_POSTGRES_DSN": postgres.url()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    told, _, peak = done.stderr.rpartition("PEAK ")
    if done.returncode or not peak.isdecimal():
        msg = f"resmon {' '.join(arguments)} failed: {told or done.stderr}"
        raise NotUsable(msg)
    return Ran(seconds, int(peak) / 1024)


def scan_seconds(postgres: PostgresResource, start: str) -> float:
    """PostgreSQL alone over the samples that a replay reads."""
    begun = time.perf_counter()
    with postgres.connect() as connection:
        connection.execute(SCAN, (start,)).fetchall()
    return time.perf_counter() - begun


def copy_seconds(postgres: PostgresResource, hours: int) -> float:
    """COPY of the rows of an export, thrown away."""
    begun = time.perf_counter()
    span = (NOW - timedelta(hours=hours), NOW)
    with (
        postgres.connect() as connection,
        connection.cursor() as cursor,
        cursor.copy(COPY, span) as copy,
    ):
        for _ in copy:
            pass
    return time.perf_counter() - begun


PARTS = {"replay": replays, "export": exports}

if __name__ == "__main__":
    sys.exit(main())
