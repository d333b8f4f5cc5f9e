"""What a commit of the collector costs PostgreSQL, and a live consumer's look at what is new.

Run it with `make bench-commit ARGS="--servers 10000 --batches 400"`. One JSON line per figure on
standard output; progress on standard error. Starts an embedded PostgreSQL of its own with the
settings that Resmon runs it with, and removes it at the end.

`backend_cpu_ms_per_sample` is the CPU of the backend that commits (not of the processes that write
its log and its pages), `commit_ms` the median wall time of a batch, notice included. The sections
with several committers have as many connections at once, each with batches of its own.

`rules` says who judges the samples: `none`; `default`, the alert rules as shipped, of a fleet that
is well; `firing`, of which a tenth of the servers has a busy CPU for all of the time; `wobbling`,
where that tenth is busy in every other sample. `rules_..._ratio` is the median of the repeats with
rules by that without, which take turns.
"""

import argparse
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

from _measuring import Figure, cpu_seconds, embedded, emit

from resmon_assets.alert_watch import AlertWatch
from resmon_assets.raw.difference import status_of
from resmon_resources.inventory import list_servers
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Sample, commit_batch, ensure_raw_partitions

BUSY_EVERY = 10
"""One of so many servers is busy, where a part of the fleet is."""
WAYS = ("none", "default", "firing", "wobbling")
DAY = datetime(2026, 3, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
SECTION = timedelta(hours=1)
"""Each measurement has the instants of an hour of its own."""
FOLLOW_EVERY = 7
"""Batches between two looks at rules and conditions: ten seconds of 10,000 servers."""
ORGANIZATIONS = 20
LOOKS = 50


@dataclass
class Spent:
    """What one committer used."""

    seconds: list[float] = field(default_factory=list)
    backend_cpu_seconds: float = 0.0
    own_cpu_seconds: float = 0.0
    samples: int = 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=500, help="samples per batch")
    parser.add_argument("--batches", type=int, default=400, help="batches of each committer")
    parser.add_argument("--repeats", type=int, default=3, help="of each way of judging")
    options = parser.parse_args()
    ticks = 2 + options.rows * options.batches / options.servers
    sections = 1 + len(WAYS) * options.repeats + 1
    if ticks * INTERVAL > SECTION or sections * SECTION > timedelta(days=1):
        msg = f"Too much for a day in {sections} sections of {SECTION}: take fewer batches."
        raise SystemExit(msg)
    params = {"servers": options.servers, "rows": options.rows, "batches": options.batches}
    with embedded() as postgres:
        register(postgres, servers=options.servers)
        cold = params | {"committers": 1, "is_warm": False, "rules": "none"}
        measure(postgres, first=0, params=cold)
        warm = params | {"committers": 1, "is_warm": True}
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        first = 1
        for _ in range(options.repeats):
            for way in WAYS:
                found[way].append(measure(postgres, first=first, params=warm | {"rules": way}))
                forget_alerts(postgres)
                first += 1
        compare(found, params=warm)
        at_once = params | {"committers": 4, "is_warm": True, "rules": "default"}
        measure(postgres, first=first, params=at_once)
        look(postgres, params=params)


def compare(found: dict[str, list[dict[str, float]]], *, params: dict[str, Any]) -> None:
    """What judging costs: medians of the repeats with rules, by those without."""
    for figure in ("commit_ms", "backend_cpu_ms_per_sample", "committer_cpu_ms_per_sample"):
        without = median(one[figure] for one in found["none"])
        for way in WAYS[1:]:
            ratio = median(one[figure] for one in found[way]) / without
            several = params | {"rules": way, "repeats": len(found[way])}
            emit("commit", Figure(f"rules_{figure}_ratio", ratio, "ratio", several, without))


def forget_alerts(postgres: PostgresResource) -> None:
    """Have the next section begin with a fleet of which nothing is known."""
    with postgres.connect() as connection:
        connection.execute("truncate alert.alerts, alert.conditions cascade")


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


def measure(postgres: PostgresResource, *, first: int, params: dict[str, Any]) -> dict[str, float]:
    """Commit at once from several connections; `first` keeps the instants of sections apart."""
    committers = params["committers"]
    spent = [Spent() for _ in range(committers)]
    workers = [
        threading.Thread(
            target=commit_batches,
            args=(postgres, spent[number]),
            kwargs={
                "start": DAY + SECTION * first + timedelta(milliseconds=number),
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
    own = sum(one.own_cpu_seconds for one in spent)
    found = {
        "commit_ms": 1000 * median(taken for one in spent for taken in one.seconds),
        "backend_cpu_ms_per_sample": 1000 * cpu / samples,
        "committer_cpu_ms_per_sample": 1000 * own / samples,
    }
    for figure, value in found.items():
        emit("commit", Figure(figure, value, "ms", params))
    emit("commit", Figure("samples_per_second", samples / seconds, "samples/s", params))
    with postgres.connect() as connection:
        row = connection.execute("select count(*) from alert.alert_events").fetchone()
        emit("commit", Figure("alert_events", row[0] if row else 0, "events", params))
    return found


def commit_batches(
    postgres: PostgresResource, spent: Spent, *, start: datetime, params: dict[str, Any]
) -> None:
    """Batches in the order in which a collector has them: servers in turn, tick by tick."""
    with postgres.connect(autocommit=True) as connection:
        pid = connection.info.backend_pid
        watch = AlertWatch() if params["rules"] != "none" else None
        servers = list_servers(connection)
        # The first instant of each server is the start of a collector, which is not measured.
        warm_up = -(-params["servers"] // params["rows"])
        for number in range(warm_up + params["batches"]):
            if number == warm_up:
                before = cpu_seconds(pid)
            samples = batch_of(number, start=start, params=params)
            now = samples[-1].collected_at
            own, begun = time.thread_time(), time.perf_counter()
            if watch is not None and number % FOLLOW_EVERY == 0:
                watch.follow(connection, servers, now=now)
            committed = commit_batch(
                connection,
                samples=samples,
                failures=[],
                stretches=[],
                status_of=status_of,
                shard=0,
                judge=None if watch is None else partial(watch.judge, now=now),
            )
            assert committed.inserted == params["rows"]
            if number >= warm_up:
                spent.seconds.append(time.perf_counter() - begun)
                spent.own_cpu_seconds += time.thread_time() - own
                spent.samples += committed.inserted
        spent.backend_cpu_seconds = cpu_seconds(pid) - before


def batch_of(number: int, *, start: datetime, params: dict[str, Any]) -> Sequence[Sample]:
    """The samples of one batch; of a fleet that is well, or of which a part is busy."""
    servers, rows, rules = params["servers"], params["rows"], params["rules"]
    samples = []
    for position in range(number * rows, (number + 1) * rows):
        server_id, tick = 1 + position % servers, position // servers
        is_busy = rules == "firing" or (rules == "wobbling" and tick % 2 == 0)
        samples.append(
            Sample(
                server_id=server_id,
                organization_id=1 + server_id % ORGANIZATIONS,
                collected_at=start + tick * INTERVAL,
                cpu_pct=95 if is_busy and server_id % BUSY_EVERY == 0 else position % 90,
                cpu_count=8,
                memory_used_bytes=position % 50_000 << 20,
                memory_total_bytes=1 << 36,
                disk_used_bytes=position << 21,
                disk_total_bytes=1 << 40,
                network_in_bytes=position,
                network_out_bytes=position,
                elapsed_ms=30_000,
                load_1m=0.5,
                load_5m=0.5,
                load_15m=0.5,
                uptime_seconds=86_400 + int((start - DAY).total_seconds()) + 30 * tick,
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
            seen = params | {"organization": organization_id, "rows_read": rows}
            emit("commit", Figure("look_ms", 1000 * median(taken), "ms", seen))


if __name__ == "__main__":
    main()
