"""A fleet with faults under `resmon up`: what was stored, and what is said of the faulty servers.

`make bench-up ARGS="--servers 2000 --faulty-share 0.1 --seconds 900"`. One JSON line per figure on
standard output; machine and progress on standard error. Simulates the servers (fleet.py), starts
`resmon up` with a state folder of its own, imports the servers as a user does (`resmon server
import`), and measures from the moment on at which every server that answers has a sample. At the
end `resmon up` gets the signal of Ctrl-C.

    all_answer_seconds    from the end of the import until every server that answers had a sample
    samples_*             instants of the measured time of sound servers, and of faulty ones that
                          answer: expected, stored, lost; `doubled` rows with one key
    true_cause_share      per fault: servers whose cause in resmon.server_status is the injected one
    collectors            runs of the collector; more than one when an hour turned meanwhile
    materializations      of metrics_1min in that time, so that the rest of the pipeline ran too
    up_cpu_share_of_core  of `resmon up` and all its children, PostgreSQL included
    stop_seconds          from the signal until `resmon up` had ended
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measuring import (
    Figure,
    children_of,
    emit,
    own_home,
    say,
    say_machine,
    tree_cpu_seconds,
)
from benchmarks.collect import PAGE, Simulator, simulator
from benchmarks.fleet import FAULTS, Host, limit_problems, read_servers
from resmon_assets.raw.schedule import count_instants_between
from resmon_resources.errors import DatabaseError
from resmon_resources.postgres import PostgresResource

INTERVAL = 30
START_LIMIT_SECONDS = 180
STOP_LIMIT_SECONDS = 60
SETTLE_SECONDS = 30
"""After the last measured instant: longer than a collector waits for an answer."""

OPENINGS_PER_SECOND = 60
"""What the wait for the first samples reckons with, on a machine that does other things too."""

LATEST_FIRST_SAMPLE_SECONDS = 120
RESMON = Path(sys.executable).with_name("resmon")


@contextmanager
def resmon_up(environment: dict[str, str], *, port: int, log: Path) -> Iterator[subprocess.Popen]:  # type: ignore[type-arg]
    """`resmon up` in a session of its own."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(RESMON), "up", "--no-browser", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(STOP_LIMIT_SECONDS)


def wait_for_database(process: "subprocess.Popen[bytes]", log: Path) -> PostgresResource:
    """Wait until `resmon up` has its schema and a collector."""
    postgres = PostgresResource()
    deadline = time.monotonic() + START_LIMIT_SECONDS
    last: Exception | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            msg = f"resmon up ended with status {process.returncode}: {log.read_text()[-2000:]}"
            raise SystemExit(msg)
        try:
            with postgres.connect() as connection:
                row = connection.execute(
                    "select count(*) from ops.collector where fleet_open_at is not null"
                ).fetchone()
            if row and row[0]:
                return postgres
        except (DatabaseError, psycopg.Error) as error:
            last = error
        time.sleep(1)
    msg = f"resmon up collected nothing in {START_LIMIT_SECONDS} s: {last}"
    raise SystemExit(msg)


def import_fleet(sim: Simulator, environment: dict[str, str]) -> None:
    """Import the servers from a file."""
    path = sim.folder / "fleet.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "host", "port", "user", "identity_file"))
        for host in read_servers(sim.folder):
            name = f"{host.fault.replace('_', '-') or 'sound'}-{host.index}"
            writer.writerow((name, host.address, sim.port, "resmon", sim.folder / "client"))
    subprocess.run(
        [str(RESMON), "server", "import", "--csv", str(path)],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def tree_rss(pid: int) -> int:
    """Bytes in memory of a process and all below it, shared pages counted once for each."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (FileNotFoundError, ProcessLookupError):
        own = 0
    return own + sum(tree_rss(child) for child in children_of(pid))


class Measurement:
    """What the database says of a fleet."""

    def __init__(self, postgres: PostgresResource, sim: Simulator, params: dict[str, object]):
        self._postgres = postgres
        self._params = params
        by_address = {host.address: host for host in read_servers(sim.folder)}
        with postgres.connect() as connection:
            rows = connection.execute(
                "select server_id, host from inventory.servers where transport = 'ssh'"
            ).fetchall()
        self.hosts: dict[int, Host] = {row[0]: by_address[row[1]] for row in rows}
        self.answering = [
            server_id
            for server_id, host in self.hosts.items()
            if not host.fault or FAULTS[host.fault].samples == "all"
        ]

    def without_sample(self) -> int:
        """Servers that answer, and of which nothing is stored yet."""
        with self._postgres.connect() as connection:
            row = connection.execute(
                "select count(*) from raw.server_status "
                "where server_id = any (%s) and last_metrics_at is not null",
                (self.answering,),
            ).fetchone()
        return len(self.answering) - (row[0] if row else 0)

    def print_samples(self, start: float, end: float) -> None:
        """Expected, stored, lost, doubled; and what else ran meanwhile."""
        begin, until = (datetime.fromtimestamp(at, UTC) for at in (start, end))
        expected = sum(
            count_instants_between(begin, until, server_id=server_id, interval_seconds=INTERVAL)
            for server_id in self.answering
        )
        with self._postgres.connect() as connection:
            stored, doubled = connection.execute(
                "select count(*), count(*) - count(distinct (server_id, collected_at)) "
                "from raw.server_resource_metrics "
                "where server_id = any(%s) and collected_at >= %s and collected_at < %s",
                (self.answering, begin, until),
            ).fetchone() or (0, 0)
            collectors = connection.execute("select count(*) from ops.collector").fetchone()
            computed = connection.execute(
                "select count(*) from tier.metrics_1min where bucket_start >= %s", (begin,)
            ).fetchone()
        self.emit("samples_expected", expected, "samples")
        self.emit("samples_stored", stored, "samples")
        self.emit("samples_lost", expected - stored, "samples")
        self.emit("samples_doubled", doubled, "rows")
        self.emit("collectors", collectors[0] if collectors else 0, "runs")
        self.emit("metrics_1min_rows", computed[0] if computed else 0, "rows")

    def print_causes(self) -> None:
        """Whether each faulty server shows what is wrong with it."""
        with self._postgres.connect() as connection:
            found = {
                row[0]: (row[1], row[2])
                for row in connection.execute(
                    "select server_id, status, cause from resmon.server_status"
                ).fetchall()
            }
        right: dict[str, int] = defaultdict(int)
        count: dict[str, int] = defaultdict(int)
        for server_id, host in self.hosts.items():
            fault = FAULTS.get(host.fault)
            if fault is None or fault.samples == "some":
                continue
            status, cause = found.get(server_id, (None, None))
            is_right = (cause or "") == fault.cause and (status == "error") == bool(fault.cause)
            count[host.fault] += 1
            right[host.fault] += is_right
            if not is_right:
                say(f"{host.fault} at {host.address} is {status} with the cause {cause}")
        for name in sorted(count):
            self.emit(
                "true_cause_share",
                right[name] / count[name],
                "ratio",
                fault=name,
                faulty_servers=count[name],
            )

    def emit(self, figure: str, value: float, unit: str, **params: object) -> None:
        """One figure as a JSON line."""
        emit("up", Figure(figure, value, unit, self._params | params))


def measure(options: argparse.Namespace, sim: Simulator, folder: Path) -> None:
    """Run `resmon up` and print the figures."""
    os.environ["RESMON_KNOWN_HOSTS"] = str(sim.folder / "known_hosts")
    environment = dict(os.environ)
    log = folder / "up.log"
    params = {name: getattr(options, name) for name in ("servers", "faulty_share", "seconds")}
    with resmon_up(environment, port=options.web_port, log=log) as up:
        postgres = wait_for_database(up, log)
        import_fleet(sim, environment)
        imported = time.time()
        fleet = Measurement(postgres, sim, params)
        say(f"{len(fleet.hosts)} servers imported, {len(fleet.answering)} of them answer")
        deadline = time.time() + LATEST_FIRST_SAMPLE_SECONDS + options.servers / OPENINGS_PER_SECOND
        while (missing := fleet.without_sample()) and time.time() < deadline:
            time.sleep(1)
        start = time.time()
        if missing:
            say(f"{missing} servers that answer have no sample after {start - imported:.0f} s")
        fleet.emit("all_answer_seconds", start - imported, "s", missing=missing)
        cpu = tree_cpu_seconds(up.pid)
        peak = 0
        while (left := start + options.seconds - time.time()) > 0:
            if up.poll() is not None:
                msg = f"resmon up ended with status {up.returncode}: {log.read_text()[-2000:]}"
                raise SystemExit(msg)
            peak = max(peak, tree_rss(up.pid))
            time.sleep(min(left, 5))
        end = time.time()
        spent = tree_cpu_seconds(up.pid) - cpu
        time.sleep(SETTLE_SECONDS)
        fleet.print_samples(start, end)
        fleet.print_causes()
        fleet.emit("up_cpu_share_of_core", spent / (end - start), "ratio")
        fleet.emit("up_rss_mib", peak / 2**20, "MiB")
        asked = time.monotonic()
        up.send_signal(signal.SIGINT)
        status = up.wait(STOP_LIMIT_SECONDS)
        fleet.emit("stop_seconds", time.monotonic() - asked, "s", exit_status=status)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A fleet with faults under resmon up.")
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120, help="measured")
    parser.add_argument("--faulty-share", type=float, default=0.1)
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(FAULTS))
    parser.add_argument("--processes", type=int, default=2, help="of the simulator")
    parser.add_argument("--port", type=int, default=22_024)
    parser.add_argument("--web-port", type=int, default=3_900)
    options = parser.parse_args()
    problems = limit_problems(options.servers, processes=options.processes, collectors=2)
    if problems:
        msg = f"Too low for {options.servers} servers: {' '.join(problems)}"
        raise SystemExit(msg)
    say_machine()
    with (
        tempfile.TemporaryDirectory(prefix="resmon-up-") as folder,
        simulator(options, Path(folder) / "fleet") as sim,
        own_home(Path(folder) / "home"),
    ):
        measure(options, sim, Path(folder))
    say(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
