"""What a commit of the collector costs PostgreSQL, and a live consumer's look at what is new.

Run it with `make bench-commit ARGS="--servers 10000 --batches 400"`. One JSON line per figure on
standard output; progress on standard error. Starts an embedded PostgreSQL of its own with the
settings that Resmon runs it with, and removes it at the end.

`backend_cpu_ms_per_sample` is the CPU of the backend that commits (not of the processes that write
its log and its pages), `commit_ms` the median wall time of a batch, notice included. The sections
with several committers have as many connections at once, each with batches of its own.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from _measuring import embedded

from resmon_assets.raw.difference import status_of
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Sample, commit_batch, ensure_raw_partitions

DAY = datetime(2026, 3, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
ORGANIZATIONS = 20
TICKS_PER_SECOND = 100
"""Unit of /proc/PID/stat on every Linux that Resmon runs on."""
LOOKS = 50


@dataclass
class Spent:
    """What one committer used."""

    seconds: list[float] = field(default_factory=list)
    backend_cpu_seconds: float = 0.0
    samples: int = 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=500, help="samples per batch")
    parser.add_argument("--batches", type=int, default=400, help="batches of each committer")
    options = parser.parse_args()
    params = {"servers": options.servers, "rows": options.rows, "batches": options.batches}
    with embedded() as postgres:
        register(postgres, servers=options.servers)
        for first, committers in ((0, 1), (1, 1), (2, 4)):
            measure(
                postgres,
                first=first,
                committers=committers,
                params=params | {"committers": committers, "is_warm": first > 0},
            )
        look(postgres, params=params)


def register(postgres: PostgresResource, *, servers: int) -> None:
    """An inventory, and the partitions of the day."""
    with postgres.connect() as connection:
        connection.execute(
            "insert into inventory.organizations (name, created_at) "
            "select 'org' || n, %s from generate_series(1, %s) as n",
            (DAY - INTERVAL, ORGANIZATIONS),
        )
        connection.execute(
            "insert into inventory.servers "
            "(organization_id, name, transport, host, created_at, changed_at) "
            "select 1 + n %% %s, 'server' || n, 'ssh', 'host' || n, %s, %s "
            "from generate_series(1, %s) as n",
            (ORGANIZATIONS, DAY - INTERVAL, DAY - INTERVAL, servers),
        )
    with postgres.connect(autocommit=True) as connection:
        ensure_raw_partitions(connection, start=DAY, end=DAY + timedelta(hours=1))


def measure(
    postgres: PostgresResource, *, first: int, committers: int, params: dict[str, Any]
) -> None:
    """Commit at once from several connections; `first` keeps the instants of sections apart."""
    spent = [Spent() for _ in range(committers)]
    workers = [
        threading.Thread(
            target=commit_batches,
            args=(postgres, spent[number]),
            kwargs={
                "start": DAY + timedelta(hours=6) * first + timedelta(milliseconds=number),
                "params": params,
            },
        )
        for number in range(committers)
    ]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begun
    samples = sum(one.samples for one in spent)
    cpu = sum(one.backend_cpu_seconds for one in spent)
    emit("commit_ms", 1000 * median(taken for one in spent for taken in one.seconds), "ms", params)
    emit("backend_cpu_ms_per_sample", 1000 * cpu / samples, "ms", params)
    emit("samples_per_second", samples / seconds, "samples/s", params)


def commit_batches(
    postgres: PostgresResource, spent: Spent, *, start: datetime, params: dict[str, Any]
) -> None:
    """Batches in the order in which a collector has them: servers in turn, tick by tick."""
    with postgres.connect(autocommit=True) as connection:
        pid = connection.info.backend_pid
        before = backend_cpu_seconds(pid)
        for number in range(params["batches"]):
            samples = batch_of(number, start=start, servers=params["servers"], rows=params["rows"])
            begun = time.perf_counter()
            committed = commit_batch(
                connection,
                samples=samples,
                failures=[],
                stretches=[],
                status_of=status_of,
                shard=0,
            )
            spent.seconds.append(time.perf_counter() - begun)
            assert committed.inserted == params["rows"]
            spent.samples += committed.inserted
        spent.backend_cpu_seconds = backend_cpu_seconds(pid) - before


def batch_of(number: int, *, start: datetime, servers: int, rows: int) -> Sequence[Sample]:
    """The samples of one batch."""
    samples = []
    for position in range(number * rows, (number + 1) * rows):
        server_id = 1 + position % servers
        samples.append(
            Sample(
                server_id=server_id,
                organization_id=1 + server_id % ORGANIZATIONS,
                collected_at=start + (position // servers) * INTERVAL,
                cpu_pct=position % 100,
                cpu_count=8,
                memory_used_bytes=position << 20,
                memory_total_bytes=1 << 36,
                disk_used_bytes=position << 21,
                disk_total_bytes=1 << 40,
                network_in_bytes=position,
                network_out_bytes=position,
                elapsed_ms=30_000,
                load_1m=0.5,
                load_5m=0.5,
                load_15m=0.5,
                uptime_seconds=position,
                clock_skew_seconds=0.01,
            )
        )
    return samples


def look(postgres: PostgresResource, *, params: dict[str, Any]) -> None:
    """Reads of a consumer that is two commits behind: of all organizations, and of one."""
    with postgres.connect(autocommit=True) as connection:
        connection.execute("analyze raw.server_resource_metrics")
        row = connection.execute("select resmon.live_position()").fetchone()
        position = 0 if row is None else int(row[0])
        for organization_id in (None, 1):
            taken = []
            rows = 0
            for _ in range(LOOKS):
                begun = time.perf_counter()
                rows = len(
                    connection.execute(
                        "select * from resmon.samples_after(%s, %s)",
                        (position - 2, organization_id),
                    ).fetchall()
                )
                taken.append(time.perf_counter() - begun)
            emit(
                "look_ms",
                1000 * median(taken),
                "ms",
                params | {"organization": organization_id, "rows_read": rows},
            )


def backend_cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICKS_PER_SECOND


def emit(figure: str, value: float, unit: str, params: dict[str, Any]) -> None:
    """One figure as a JSON line."""
    line = {
        "benchmark": "commit",
        "figure": figure,
        "params": params,
        "value": round(value, 4),
        "unit": unit,
        "reference": None,
    }
    print(json.dumps(line), flush=True)
    print(f"{figure}: {value:.4f} {unit} {params}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
