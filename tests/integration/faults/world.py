"""A simulated fleet, a database and collectors as processes, and the balance of their samples.

Belongs here: starting and ending them, and counting: which instants were expected, which have a
sample, and what is said of the others.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.fleet import Host, read_servers
from resmon_assets.raw.schedule import instants_between
from resmon_resources import collector_registry as registry
from resmon_resources.errors import DatabaseError
from resmon_resources.inventory import add_organization, add_server
from resmon_resources.postgres import PostgresResource
from resmon_resources.settings import PROJECT_ROOT
from tests.integration.faults import collecting

INTERVAL_SECONDS = 5
SETTLE_SECONDS = 13
"""After the last instant: an answer whose disk part never comes is stored 12 s after it."""

STOP_SECONDS = 60


@dataclass(frozen=True)
class Balance:
    """What became of the scheduled instants of some servers.

    Attributes:
        expected: scheduled instants.
        stored: of these, with a sample.
        doubled: rows beyond one per key.
        causes: of those without, what raw.collection_coverage says; `nothing` when it says nothing
            or `ok`.
    """

    expected: int
    stored: int
    doubled: int
    causes: Counter[str]

    @property
    def lost(self) -> int:
        """Instants without a sample."""
        return self.expected - self.stored


@dataclass
class CollectorProcess:
    """A collector, and the line it said first."""

    process: "subprocess.Popen[str]"
    first_line: str
    log: Path

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to it."""
        self.process.send_signal(signal_number)

    def result(self) -> dict[str, object]:
        """Figures that it says at its end."""
        assert self.process.stdout is not None
        output, _ = self.process.communicate(timeout=STOP_SECONDS)
        assert self.process.returncode == 0, self.log.read_text()
        figures: dict[str, object] = json.loads(output.splitlines()[-1])
        return figures


@dataclass
class World:
    """The fleet and its database; collectors are started as they are needed."""

    folder: Path
    postgres: PostgresResource
    port: int
    hosts: dict[int, Host] = field(default_factory=dict)
    collectors: list[CollectorProcess] = field(default_factory=list)
    simulator: "subprocess.Popen[str] | None" = None
    spool: Path | None = None
    hour: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def start_fleet(self, servers: int, *, faults: str = "", faulty_share: float = 0.0) -> None:
        """Simulate servers and put them into the inventory."""
        command = [
            *(sys.executable, str(PROJECT_ROOT / "benchmarks" / "fleet.py")),
            *("--servers", str(servers), "--port", str(self.port), "--processes", "1"),
            *("--folder", str(self.folder), "--faulty-share", str(faulty_share)),
            *(("--faults", faults) if faults else ()),
        ]
        self.simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.simulator.stdout is not None
        assert self.simulator.stdout.readline(), "the simulator did not start"
        now = self.hour - timedelta(minutes=1)
        with self.postgres.connect() as connection:
            add_organization(connection, "default", now=now)
            for host in read_servers(self.folder):
                server = add_server(
                    connection,
                    f"{host.fault or 'sound'}-{host.index}",
                    organization="default",
                    host=host.address,
                    port=self.port,
                    user_name="resmon",
                    identity_file=str(self.folder / "client"),
                    interval_seconds=INTERVAL_SECONDS,
                    now=now,
                )
                self.hosts[server.server_id] = host

    def start_collector(self, run_id: str) -> CollectorProcess:
        """Start a collector and wait until it has claimed its shard, or was refused."""
        setup = {
            "dsn": self.postgres.dsn,
            "hour": self.hour.isoformat(),
            "run_id": run_id,
            "known_hosts": str(self.folder / "known_hosts"),
            "spool": str(self.spool or self.folder / "spool"),
        }
        log = self.folder / f"{run_id}.log"
        with log.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, collecting.__file__, json.dumps(setup)],
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
            )
        assert process.stdout is not None
        self.collectors.append(CollectorProcess(process, process.stdout.readline().strip(), log))
        return self.collectors[-1]

    def of(self, fault: str) -> list[int]:
        """Server ids of a fault; of the sound ones for an empty text."""
        return [server_id for server_id, host in self.hosts.items() if host.fault == fault]

    def rows(self, query: str, *values: object) -> list[tuple]:
        """Rows of a query."""
        with self.postgres.connect() as connection:
            return connection.execute(query, values).fetchall()

    def wait_open(self, *, seconds: float = 60) -> None:
        """Until the newest collector has opened its fleet."""
        self.wait_until(
            "select 1 from ops.collector where fleet_open_at is not null and ended_at is null",
            seconds=seconds,
        )

    def wait_until(self, query: str, *values: object, seconds: float = 60) -> None:
        """Until a query has a row; the database may be away meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError, DatabaseError):
                if self.rows(query, *values):
                    return
            time.sleep(0.2)
        msg = f"{query} has no row. The collector says: {self.collectors[-1].log.read_text()}"
        raise AssertionError(msg)

    def wait_for_sample_after(self, moment: datetime, *, seconds: float = 60) -> float:
        """Until a sample due after a moment is stored; seconds since that moment."""
        self.wait_until(
            "select 1 from raw.server_resource_metrics where collected_at > %s limit 1",
            moment,
            seconds=seconds,
        )
        return (datetime.now(UTC) - moment).total_seconds()

    def stop(self) -> dict[str, object]:
        """Stop the newest collector in order."""
        with self.postgres.connect(autocommit=True) as connection:
            registry.request_stop_of_all(connection, now=datetime.now(UTC))
        return self.collectors[-1].result()

    def balance(self, server_ids: list[int], start: datetime, end: datetime) -> Balance:
        """What became of the instants of these servers in [start, end)."""
        expected = {
            (server_id, instant)
            for server_id in server_ids
            for instant in instants_between(
                start, end, server_id=server_id, interval_seconds=INTERVAL_SECONDS
            )
        }
        rows = self.rows(
            "select server_id, collected_at from raw.server_resource_metrics"
            " where server_id = any(%s) and collected_at >= %s and collected_at < %s",
            server_ids,
            start,
            end,
        )
        stretches = self.rows(
            "select server_id, started_at, ended_at, cause from raw.collection_coverage"
            " where server_id = any(%s) and cause <> 'ok'",
            server_ids,
        )
        keys = set(rows)
        causes = Counter(
            next(
                (
                    cause
                    for owner, first, last, cause in stretches
                    if owner == server_id and first <= instant <= last
                ),
                "nothing",
            )
            for server_id, instant in expected - keys
        )
        return Balance(len(expected), len(expected & keys), len(rows) - len(keys), causes)

    def close(self) -> None:
        """End all processes."""
        for collector in self.collectors:
            if collector.process.poll() is None:
                collector.process.kill()
            collector.process.wait()
            if collector.process.stdout is not None:
                collector.process.stdout.close()
        if self.simulator is not None:
            self.simulator.terminate()
            self.simulator.wait(60)
            if self.simulator.stdout is not None:
                self.simulator.stdout.close()
