"""What it costs to collect a fleet over SSH, with parsing and storage, through a handover.

`make bench-collect ARGS="--servers 1000 --seconds 600"`. One JSON line per figure on standard
output; machine and progress on standard error. Starts an embedded PostgreSQL of its own, registers
the servers, simulates them (fleet.py, processes of their own) and runs the real Collector, Fleet
and CollectorStorage in a process that has imported what a run of Dagster imports. At the end of
each window (`--window-seconds`, by default half of the time measured) the next collector takes
over, as hour runs do. The two obvious alternatives are measured first, in the same run: a new
connection of paramiko per sample, and the OpenSSH client with ControlMaster.

    cpu_ms_per_sample     user and system time of all collector processes per stored sample, opening
                          for the handover included; `phase` steady: between opening and handover
    cpu_share_of_core     of the steady phase
    samples_*             instants of the measured time of sound servers, and of faulty ones that
                          answer: expected, stored, lost; `doubled` rows with one key;
                          `collected_twice` attempts that the key made harmless
    samples_missing       those lost, by the `cause` that coverage tells of their instant (it tells
                          nothing, `not_recorded`, of those before the first collector asks), and
                          whether the first fleet was open by then (`fleet_open`: before, after)
    instants_not_asked    of all collectors in their whole life, by `reason`: a connection was being
                          opened for the first time, or the loop was held up
    lateness_p50_s ...    from the scheduled instant to the end of the commit that stored it
    rss_mib               peak of one collector, and of all at one moment (handover)
    open_seconds          from the claim of the shard until every server was open or had failed once
    living_open_seconds   until the last sound server had logged in
    logins_per_server_and_day  with a window of one hour
    bytes_per_sample_on_the_wire  TCP payload both ways, steady
    true_cause_share      faulty servers without samples whose stored cause is the injected one
    rules_cpu_ratio       with `--rules alternate`: one collector judges by the default alert rules
                          in every other interval; median CPU per sample of intervals with them, by
                          that of intervals without
"""

import argparse
import array
import ctypes
import json
import logging
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measuring import (
    Figure,
    children_of,
    cpu_seconds,
    embedded,
    emit,
    postmaster_pid,
    say,
    say_machine,
    tree_cpu_seconds,
)
from benchmarks._sshd import MAX_ADDRESSES, real_sshd
from benchmarks.fleet import (
    FAULTS,
    PR_SET_PDEATHSIG,
    Host,
    limit_problems,
    read_servers,
    write_folder,
)
from resmon_assets.raw.schedule import count_instants_between, instants_between
from resmon_resources.collector_registry import request_stop_of_all
from resmon_resources.postgres import PostgresResource

PAGE = os.sysconf("SC_PAGE_SIZE")
OPENINGS_PER_SECOND = 80
"""What the waits below reckon with; the opening itself is measured."""

SETTLE_SECONDS = 28
"""After the last measured instant: longer than a collector waits for an answer."""

SHORT_SETTLE_SECONDS = 15
"""With intervals of seconds: an answer whose disk part is late goes after 12 s."""

LEAD_SECONDS = 180
"""A successor is started at most this long before its window, as the sensor does."""

QUIET = ("-W", "ignore:Parameter `backfill_policy`")
"""Dagster marks it as beta at each import; the command `resmon` leaves the notice out too."""

REFERENCE_WORKERS = 16
REFERENCE_ROUNDS = 2


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


# A collector's process.

RULES = ("default", "none", "alternate")


@dataclass
class Slice:
    """One interval of a collector, in which every server has one instant.

    Attributes:
        number: of the interval since the epoch.
        has_rules: whether samples were judged.
        cpu_seconds: user and system time.
        samples: samples committed.
    """

    number: int
    has_rules: bool
    cpu_seconds: float
    samples: int = 0


def is_judged(rules: str, number: int) -> bool:
    """Whether samples of an interval are judged."""
    return rules == "default" or (rules == "alternate" and number % 2 == 0)


def run_collector(setup: dict[str, Any]) -> None:
    """Collect one window with what a run uses; the result is a JSON line."""
    import resmon_assets.definitions  # noqa: F401, PLC0415 - a run has all of it in memory
    from resmon_assets.alert_watch import AlertWatch  # noqa: PLC0415
    from resmon_assets.raw.assets import keep_out_of_garbage_collection  # noqa: PLC0415
    from resmon_assets.raw.collector import Collector, Figures  # noqa: PLC0415
    from resmon_assets.raw.difference import status_of  # noqa: PLC0415
    from resmon_resources.collector_storage import CollectorStorage  # noqa: PLC0415
    from resmon_resources.sample_store import Committed, Sample  # noqa: PLC0415
    from resmon_resources.spool import Spool  # noqa: PLC0415
    from resmon_resources.ssh_resource import SshResource  # noqa: PLC0415

    class TimedStorage(CollectorStorage):
        """Notes for each sample when it was due and how much later it was stored."""

        due = array.array("d")
        late = array.array("f")
        slices: list[Slice] = []  # noqa: RUF012 - there is one storage in this process
        judging = AlertWatch()

        def follow_rules(self) -> None:
            """Judge in this interval, or do not; note what the one before has cost."""
            number = int(time.time() // setup["interval"])
            if self.slices and self.slices[-1].number == number:
                return
            spent = time.process_time()
            if self.slices:
                self.slices[-1].cpu_seconds += spent
            has_rules = is_judged(setup["rules"], number)
            self._watch = self.judging if has_rules else None
            self.slices.append(Slice(number, has_rules, -spent))

        def servers(self, now: datetime) -> Any:
            """Active servers."""
            self.follow_rules()
            return super().servers(now)

        def commit(self, samples: Sequence[Sample], *rest: Any, **more: Any) -> Committed | None:
            """Write one batch."""
            self.follow_rules()
            committed = super().commit(samples, *rest, **more)
            self.slices[-1].samples += len(samples)
            if committed is not None:
                done = time.time()
                instants = [sample.collected_at.timestamp() for sample in samples]
                self.due.extend(instants)
                self.late.extend([done - instant for instant in instants])
            return committed

    end_with_parent()
    limit_problems(1, processes=1)  # raises nofile
    logging.basicConfig(filename=setup["log"], level=logging.INFO, format="%(asctime)s %(message)s")
    begun = utc_now()
    storage = TimedStorage(
        PostgresResource(dsn=setup["dsn"]),
        shards=[0],
        hour=datetime.fromisoformat(setup["registry_hour"]),
        run_id=setup["name"],
        select=lambda _: 0,
        status_of=status_of,
    )
    assert storage.open(begun) is None
    reports: list[Figures] = []
    ended = Collector(
        hour=datetime.fromisoformat(setup["start"]),
        window=timedelta(seconds=setup["window_seconds"]),
        fleet=SshResource(known_hosts=setup["known_hosts"]).fleet(),
        storage=storage,
        clock=utc_now,
        report=lambda figures, _: reports.append(figures),
        unwanted=lambda: None,
        on_fleet_open=keep_out_of_garbage_collection,
        spool=Spool(Path(setup["spool"])),
    ).run()
    storage.mark_ended(utc_now(), ended.reason)
    storage.close()
    with Path(setup["lateness"]).open("wb") as file:
        storage.due.tofile(file)
        storage.late.tofile(file)
    figures = ended.figures
    result = {
        "reason": ended.reason,
        "samples": figures.samples,
        "duplicates": figures.duplicates,
        "lost": figures.lost,
        "failures": dict(figures.failures),
        "not_asked": dict(figures.not_asked),
        "lateness_rows": len(storage.due),
        # The last one was not over.
        "slices": [asdict(one) for one in storage.slices[:-1]],
    }
    print(json.dumps(result), flush=True)


def cpu_ms_by_rules(
    slices: Sequence[Slice], *, first: float, end: float
) -> dict[bool, list[float]]:
    """CPU-ms per sample of the intervals that lie in [first, end), with rules and without."""
    costs: dict[bool, list[float]] = {True: [], False: []}
    for one in slices:
        if first <= one.number <= end - 1 and one.samples:
            costs[one.has_rules].append(1000 * one.cpu_seconds / one.samples)
    return costs


@dataclass
class CollectorProcess:
    """A collector under measurement."""

    process: "subprocess.Popen[str]"
    lateness: Path

    def result(self) -> dict[str, Any]:
        """What it said at its end."""
        output, _ = self.process.communicate(timeout=120)
        if self.process.returncode:
            msg = f"A collector ended with status {self.process.returncode}; see above."
            raise SystemExit(msg)
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def lateness_between(self, start: float, end: float, rows: int) -> list[float]:
        """Seconds of lateness of the samples due in [start, end)."""
        due, late = array.array("d"), array.array("f")
        with self.lateness.open("rb") as file:
            due.fromfile(file, rows)
            late.fromfile(file, rows)
        return [value for at, value in zip(due, late, strict=True) if start <= at < end]


# Watching processes.


def rss_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


@dataclass
class Watch:
    """Looks at the collectors and the database twice a second."""

    postmaster: int
    collectors: list[int] = field(default_factory=list)
    rows: list[tuple[float, float, float]] = field(default_factory=list)
    peak_one: int = 0
    peak_all: int = 0
    _cpu: dict[int, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            sizes = [rss_bytes(pid) for pid in self.collectors]
            self.peak_one = max([self.peak_one, *sizes])
            self.peak_all = max(self.peak_all, sum(sizes))
            for pid in self.collectors:
                self._cpu[pid] = max(self._cpu.get(pid, 0.0), cpu_seconds(pid))
            spent = sum(self._cpu.values())
            self.rows.append((time.time(), spent, tree_cpu_seconds(self.postmaster)))

    def spent(self, start: float, end: float) -> tuple[float, float]:
        """CPU seconds of the collectors and of the database between two moments."""
        first = min(self.rows, key=lambda row: abs(row[0] - start))
        last = min(self.rows, key=lambda row: abs(row[0] - end))
        return last[1] - first[1], last[2] - first[2]


@dataclass(frozen=True)
class Simulator:
    """The running simulator."""

    process: "subprocess.Popen[Any]"
    folder: Path
    port: int

    def figures(self) -> dict[str, float]:
        """What it has counted so far."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        figures: dict[str, float] = json.loads(self.process.stdout.readline())
        return figures


@contextmanager
def simulator(options: argparse.Namespace, folder: Path) -> Iterator[Simulator]:
    """The fleet, in processes of its own."""
    command = [
        *(sys.executable, str(Path(__file__).with_name("fleet.py"))),
        *("--servers", str(options.servers), "--port", str(options.port)),
        *("--processes", str(options.processes), "--folder", str(folder)),
        *("--faulty-share", str(options.faulty_share), "--faults", ",".join(options.faults)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            msg = "The simulator did not start; see above."
            raise SystemExit(msg)
        yield Simulator(process, folder, options.port)
    finally:
        process.terminate()
        process.wait(30)


@dataclass(frozen=True)
class SshdFleet(Simulator):
    """A real sshd in its place; counts what can be told from its processes and its log."""

    log: Path

    def figures(self) -> dict[str, float]:
        """What it has used and logged so far."""
        logins = self.log.read_text().count("Accepted publickey ")
        family = [self.process.pid]
        for pid in family:
            family += children_of(pid)
        spent = sum(cpu_seconds(pid, with_ended_children=True) for pid in family)
        return {"cpu_seconds": spent, "logins": logins, "last_login_at": self.log.stat().st_mtime}


@contextmanager
def sshd_fleet(options: argparse.Namespace, folder: Path) -> Iterator[Simulator]:
    """Sessions of one real sshd, spread over loopback addresses."""
    addresses = [f"127.0.0.{number + 1}" for number in range(min(options.sshd, MAX_ADDRESSES))]
    hosts = [Host(n, addresses[n % len(addresses)], "") for n in range(options.sshd)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        options.port = probe.getsockname()[1]
    write_folder(folder, hosts, port=options.port)
    with real_sshd(folder, port=options.port, addresses=addresses) as sshd:
        yield SshdFleet(sshd.process, folder, options.port, sshd.log)


def end_with_parent() -> None:
    """Have the kernel end this process when its parent goes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# The measurement.


def register(
    postgres: PostgresResource, hosts: Sequence[Host], *, options: argparse.Namespace, folder: Path
) -> dict[int, Host]:
    """Put the fleet into the inventory; server ids and their hosts."""
    now = utc_now() - timedelta(minutes=1)
    with postgres.connect() as connection:
        connection.execute(
            "insert into inventory.organizations (name, created_at) values ('bench', %s)", (now,)
        )
        rows = connection.execute(
            "insert into inventory.servers (organization_id, name, transport, host, port, "
            "user_name, identity_file, interval_seconds, created_at, changed_at) "
            "select max(organization_id), 'server-' || n, 'ssh', host, %s, %s, %s, %s, %s, %s"
            " from inventory.organizations, unnest(%s::text[]) with ordinality as h (host, n) "
            "group by n, host order by n returning server_id, host",
            (
                options.port,
                pwd.getpwuid(os.geteuid()).pw_name if options.sshd else "resmon",
                str(folder / "client"),
                options.interval,
                now,
                now,
                [host.address for host in hosts],
            ),
        ).fetchall()
    by_address = {host.address: host for host in hosts}
    return {server_id: by_address[address] for server_id, address in rows}


@dataclass(frozen=True)
class Times:
    """When what happens, in seconds since the epoch."""

    start: float
    measured_from: float
    measured_to: float
    bounds: tuple[float, ...]
    lead: float

    @property
    def steady_to(self) -> float:
        """End of the time in which one collector runs and none opens."""
        first_handover = self.bounds[0] - self.lead if self.bounds else self.measured_to
        return min(first_handover, self.measured_to)


def timetable(options: argparse.Namespace, *, start: float) -> Times:
    """Windows of the collectors: the first begins at once, handovers lie in the measured time."""
    opening = options.servers / OPENINGS_PER_SECOND + 15
    opening += 30 if options.faulty_share else 0
    warm_up = opening + 2 * options.interval if options.warm_up is None else options.warm_up
    measured_from = start + warm_up
    measured_to = measured_from + options.seconds
    bounds = []
    bound = measured_from + options.window_seconds
    while bound < measured_to:
        bounds.append(bound)
        bound += options.window_seconds
    lead = min(LEAD_SECONDS, opening + options.interval, options.window_seconds)
    return Times(start, measured_from, measured_to, tuple(bounds), lead)


def start_collector(
    number: int,
    times: Times,
    *,
    dsn: str,
    sim: Simulator,
    registry_hour: datetime,
    rules: str,
    interval: int,
) -> CollectorProcess:
    """Start the process of one window.

    Windows stand for hours: each has the next hour of the registry, so that hand-over and coverage
    work as between hours.
    """
    edges = (times.start, *times.bounds, times.measured_to + 3600)
    lateness = sim.folder / f"lateness-{number}"
    setup = {
        "name": f"bench-{number}",
        "dsn": dsn,
        "registry_hour": (registry_hour + number * timedelta(hours=1)).isoformat(),
        "start": datetime.fromtimestamp(edges[number], UTC).isoformat(),
        "window_seconds": edges[number + 1] - edges[number],
        "known_hosts": str(sim.folder / "known_hosts"),
        "lateness": str(lateness),
        "rules": rules,
        "interval": interval,
        "spool": str(sim.folder / "spool"),
        "log": str(sim.folder / f"collector-{number}.log"),
    }
    process = subprocess.Popen(
        [sys.executable, *QUIET, __file__, "--role", "collector", "--setup", json.dumps(setup)],
        stdout=subprocess.PIPE,
        text=True,
    )
    return CollectorProcess(process, lateness)


def wait_until(moment: float, collectors: Sequence[CollectorProcess]) -> None:
    """Sleep, but not beyond the early end of the newest collector."""
    while (left := moment - time.time()) > 0:
        if collectors and collectors[-1].process.poll() is not None:
            msg = f"A collector ended early with status {collectors[-1].process.returncode}."
            raise SystemExit(msg)
        time.sleep(min(left, 1.0))


def measure(
    options: argparse.Namespace,
    postgres: PostgresResource,
    sim: Simulator,
    *,
    reference: float | None,
) -> None:
    """Run the windows and print the figures."""
    hosts = register(postgres, read_servers(sim.folder), options=options, folder=sim.folder)
    watch = Watch(postmaster_pid(postgres))
    watch.start()
    before = sim.figures()  # the alternatives have logged in too
    times = timetable(options, start=time.time())
    registry_hour = utc_now().replace(minute=0, second=0, microsecond=0)
    say(
        f"{len(hosts)} servers registered; measuring from +{times.measured_from - times.start:.0f}"
        f" s to +{times.measured_to - times.start:.0f} s, {len(times.bounds)} handovers"
    )
    settle = max(SHORT_SETTLE_SECONDS, min(SETTLE_SECONDS, options.interval))
    events: list[tuple[float, str]] = [
        (times.start, "collect"),
        *((bound - times.lead, "collect") for bound in times.bounds),
        (times.measured_from, "figures"),
        (times.steady_to, "figures"),
        (times.measured_to + settle, "stop"),
    ]
    collectors: list[CollectorProcess] = []
    counted: list[dict[str, float]] = []
    for moment, what in sorted(events):
        wait_until(moment, collectors)
        say(f"+{time.time() - times.start:.0f} s: {what}")
        if what == "collect":
            collectors.append(
                start_collector(
                    len(collectors),
                    times,
                    dsn=postgres.dsn,
                    sim=sim,
                    registry_hour=registry_hour,
                    rules=options.rules,
                    interval=options.interval,
                )
            )
            watch.collectors.append(collectors[-1].process.pid)
        elif what == "figures":
            counted.append(sim.figures())
    with postgres.connect() as connection:
        request_stop_of_all(connection, now=utc_now())
    results = [collector.result() for collector in collectors]
    counted.append(sim.figures())
    for name in ("logins", "cpu_seconds"):
        counted[-1][name] -= before[name]
    watch.stop()
    for result in results:
        say(f"collector: { {key: value for key, value in result.items() if key != 'slices'} }")
    lateness = sorted(
        late
        for collector, result in zip(collectors, results, strict=True)
        for late in collector.lateness_between(
            times.measured_from, times.measured_to, result["lateness_rows"]
        )
    )
    params = {
        "servers": options.servers,
        "interval_seconds": options.interval,
        "seconds": options.seconds,
        "window_seconds": options.window_seconds,
        "faulty_share": options.faulty_share,
        "rules": options.rules,
    } | ({"sshd": options.sshd} if options.sshd else {})
    Report(postgres, hosts, times, watch, counted, results, lateness, params, reference).print(
        options
    )


@dataclass(frozen=True)
class Report:
    """From what was seen to figures."""

    postgres: PostgresResource
    hosts: dict[int, Host]
    times: Times
    watch: Watch
    counted: list[dict[str, float]]
    results: list[dict[str, Any]]
    lateness: list[float]
    params: dict[str, Any]
    reference: float | None

    def print(self, options: argparse.Namespace) -> None:
        """All figures, one JSON line each."""
        times = self.times
        answering = [
            server_id
            for server_id, host in self.hosts.items()
            if not host.fault or FAULTS[host.fault].samples == "all"
        ]
        sound = [server_id for server_id, host in self.hosts.items() if not host.fault]
        stored, doubled = self._stored(answering, times.measured_from, times.measured_to)
        all_stored, _ = self._stored(list(self.hosts), times.measured_from, times.measured_to)
        expected = sum(
            count_instants_between(
                datetime.fromtimestamp(times.measured_from, UTC),
                datetime.fromtimestamp(times.measured_to, UTC),
                server_id=server_id,
                interval_seconds=options.interval,
            )
            for server_id in answering
        )
        cpu, postgres_cpu = self.watch.spent(times.measured_from, times.measured_to)
        self._emit("cpu_ms_per_sample", 1000 * cpu / max(1, all_stored), "ms", phase="all")
        self._steady()
        self._rules()
        self._emit("samples_expected", expected, "samples")
        self._emit("samples_stored", stored, "samples")
        self._emit("samples_lost", expected - stored, "samples")
        self._missing(answering, interval=options.interval)
        self._emit("samples_doubled", doubled, "rows")
        twice = sum(result["duplicates"] for result in self.results)
        self._emit("samples_collected_twice", twice, "samples")
        for percent in (50, 95, 99):
            if self.lateness:
                late = self.lateness[len(self.lateness) * percent // 100]
                self._emit(f"lateness_p{percent}_s", late, "s")
        self._emit("rss_mib", self.watch.peak_one / 2**20, "MiB", of="one collector")
        if times.bounds:
            self._emit("rss_mib", self.watch.peak_all / 2**20, "MiB", of="handover")
        self._openings()
        logins = self.counted[-1]["logins"]
        runs = len(self.results) * max(1, len(sound))
        self._emit("logins_per_server_and_day", 24 * logins / runs, "logins")
        per_sample = 1000 * postgres_cpu / max(1, all_stored)
        self._emit("postgres_cpu_ms_per_sample", per_sample, "ms")
        self._emit("simulator_cpu_seconds", self.counted[-1]["cpu_seconds"], "s")
        self._causes()

    def _steady(self) -> None:
        """Figures of the time in which one collector runs and none opens."""
        start, end = self.times.measured_from, self.times.steady_to
        if end - start < self.params["interval_seconds"]:
            say("The windows are too short for a steady phase of one interval.")
            return
        samples = max(1, self._stored(list(self.hosts), start, end)[0])
        cpu, _ = self.watch.spent(start, end)
        seconds = round(end - start)
        self._emit(
            "cpu_ms_per_sample", 1000 * cpu / samples, "ms", phase="steady", phase_seconds=seconds
        )
        self._emit("cpu_share_of_core", cpu / (end - start), "ratio", phase_seconds=seconds)
        sound = [server_id for server_id, host in self.hosts.items() if not host.fault]
        samples = max(1, self._stored(sound, start, end)[0])
        names = ("bytes_sent", "bytes_received")
        if any(name not in self.counted[0] for name in names):
            return
        carried = sum(self.counted[1][name] - self.counted[0][name] for name in names)
        self._emit("bytes_per_sample_on_the_wire", carried / samples, "bytes")

    def _rules(self) -> None:
        """What judging costs the collector, where intervals with it and without took turns."""
        interval = self.params["interval_seconds"]
        costs = cpu_ms_by_rules(
            [Slice(**values) for result in self.results for values in result["slices"]],
            first=self.times.measured_from / interval,
            end=self.times.steady_to / interval,
        )
        if not all(costs.values()):
            return
        without = median(costs[False])
        ratio, intervals = median(costs[True]) / without, sum(map(len, costs.values()))
        params = self.params | {"intervals": intervals}
        emit("collect", Figure("rules_cpu_ratio", ratio, "ratio", params, without))

    def _stored(self, server_ids: list[int], start: float, end: float) -> tuple[int, int]:
        """Rows of these servers in [start, end), and how many of them have a key twice."""
        with self.postgres.connect() as connection:
            row = connection.execute(
                "select count(*), count(*) - count(distinct (server_id, collected_at)) "
                "from raw.server_resource_metrics where server_id = any(%s) "
                "and collected_at >= to_timestamp(%s) and collected_at < to_timestamp(%s)",
                (server_ids, start, end),
            ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def _missing(self, server_ids: list[int], *, interval: int) -> None:
        """Why samples of the measured time are missing: every expected one is accounted for."""
        times = self.times
        start, end = (
            datetime.fromtimestamp(moment, UTC)
            for moment in (times.measured_from, times.measured_to)
        )
        with self.postgres.connect() as connection:
            stored = set(
                connection.execute(
                    "select server_id, collected_at from raw.server_resource_metrics "
                    "where collected_at >= %s and collected_at < %s",
                    (start, end),
                ).fetchall()
            )
            stretches: dict[int, list[tuple[datetime, datetime, str]]] = {}
            for server_id, *stretch in connection.execute(
                "select server_id, started_at, ended_at, cause from raw.collection_coverage "
                "where ended_at >= %s and started_at < %s",
                (start, end),
            ):
                stretches.setdefault(server_id, []).append(tuple(stretch))
            row = connection.execute(
                "select fleet_open_at from ops.collector order by hour limit 1"
            ).fetchone()
        opened_at = row[0] if row and row[0] else end
        if opened_at > start:
            late = (opened_at - start).total_seconds()
            say(f"The fleet was open {late:.0f} s after measuring began; give a longer --warm-up.")
        missing: Counter[tuple[str, str]] = Counter()
        for server_id in server_ids:
            for instant in instants_between(
                start, end, server_id=server_id, interval_seconds=interval
            ):
                if (server_id, instant) not in stored:
                    told = [c for a, b, c in stretches.get(server_id, ()) if a <= instant <= b]
                    when = "before" if instant < opened_at else "after"
                    missing[told[0] if told else "not_recorded", when] += 1
        for (cause, when), count in sorted(missing.items()):
            self._emit("samples_missing", count, "samples", cause=cause, fleet_open=when)
        not_asked: Counter[str] = Counter()
        for result in self.results:
            not_asked.update(result["not_asked"])
        for reason, count in sorted(not_asked.items()):
            self._emit("instants_not_asked", count, "instants", reason=reason)

    def _openings(self) -> None:
        """How long each collector took to open the fleet."""
        with self.postgres.connect() as connection:
            rows = connection.execute(
                "select run_id, extract(epoch from fleet_open_at - started_at), "
                "extract(epoch from started_at) from ops.collector order by hour"
            ).fetchall()
        for name, seconds, started in rows:
            if seconds is None:
                say(f"{name} ended before its fleet was open")
                continue
            self._emit("open_seconds", float(seconds), "s", collector=name)
            if name == "bench-0":
                living = self.counted[0]["last_login_at"] - float(started)
                self._emit("living_open_seconds", living, "s", collector=name)

    def _causes(self) -> None:
        """Whether each faulty server shows what is wrong with it."""
        wanted = {
            server_id: FAULTS[host.fault].cause
            for server_id, host in self.hosts.items()
            if host.fault and FAULTS[host.fault].samples == "none"
        }
        if not wanted:
            return
        with self.postgres.connect() as connection:
            found = dict(
                connection.execute("select server_id, cause from raw.server_status").fetchall()
            )
        wrong = {i: found.get(i) for i, cause in wanted.items() if found.get(i) != cause}
        for server_id, cause in wrong.items():
            say(f"{self.hosts[server_id].fault} at {self.hosts[server_id].address} shows {cause}")
        share = 1 - len(wrong) / len(wanted)
        self._emit("true_cause_share", share, "ratio", faulty_servers=len(wanted))

    def _emit(self, figure: str, value: float, unit: str, **params: object) -> None:
        """One figure as a JSON line."""
        reference = self.reference if figure == "cpu_ms_per_sample" else None
        emit("collect", Figure(figure, value, unit, self.params | params, reference))


# The alternatives.


def run_paramiko(setup: dict[str, Any]) -> None:
    """A new connection per sample, by paramiko's own client; the result is a JSON line."""
    import paramiko  # noqa: PLC0415 - only this process needs it

    from resmon_resources.known_hosts import KnownHosts  # noqa: PLC0415
    from resmon_resources.probe.framing import AnswerAssembler  # noqa: PLC0415
    from resmon_resources.probe.program import probe_command  # noqa: PLC0415

    end_with_parent()
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    known_hosts = KnownHosts(Path(setup["known_hosts"]))
    key = paramiko.PKey.from_path(setup["identity_file"])
    nonce = "0123456789abcdef"

    class Verify(paramiko.MissingHostKeyPolicy):
        """Paramiko's own HostKeys is quadratic in the lines of the file; this favours it."""

        def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
            """Compare."""
            host, _, port = hostname.strip("[").partition("]:")
            known_hosts.verify(host, int(port), key_type=key.get_name(), key_blob=key.asbytes())

    def sample(address: str) -> int:
        """Connect, ask, close."""
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(Verify())
            client.connect(
                address,
                setup["port"],
                "resmon",
                pkey=key,
                timeout=30,
                allow_agent=False,
                look_for_keys=False,
            )
            stdin, stdout, _ = client.exec_command(probe_command(nonce), timeout=30)
            stdin.write("1\n")
            stdin.channel.shutdown_write()
            return len(AnswerAssembler(nonce).feed(stdout.read()))

    begun, cpu = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(REFERENCE_WORKERS) as pool:
        samples = sum(pool.map(sample, setup["addresses"] * REFERENCE_ROUNDS))
    print(
        json.dumps(
            {
                "samples": samples,
                "cpu_seconds": time.process_time() - cpu,
                "seconds": time.monotonic() - begun,
            }
        )
    )


def run_openssh(setup: dict[str, Any]) -> None:
    """The OpenSSH client: a master per server, a command per sample; the result is a JSON line."""
    from resmon_resources.probe.framing import AnswerAssembler  # noqa: PLC0415
    from resmon_resources.probe.program import probe_command  # noqa: PLC0415

    end_with_parent()
    nonce = "0123456789abcdef"
    folder = Path(setup["folder"])
    base = [
        *("ssh", "-F", "/dev/null", "-q", "-p", str(setup["port"]), "-l", "resmon"),
        *("-i", setup["identity_file"], "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
        *("-o", f"UserKnownHostsFile={setup['known_hosts']}", "-o", "StrictHostKeyChecking=yes"),
    ]
    masters: list[subprocess.Popen[bytes]] = []
    lock = threading.Lock()

    def open_master(address: str) -> None:
        """Log in once."""
        path = folder / address
        master = subprocess.Popen(
            [*base, "-M", "-N", "-S", str(path), address], stdin=subprocess.DEVNULL
        )
        with lock:
            masters.append(master)
        while not path.exists():
            if master.poll() is not None:
                msg = f"ssh to {address} ended with status {master.returncode}"
                raise SystemExit(msg)
            time.sleep(0.01)

    def sample(address: str) -> int:
        """Run the probe in a session of the open connection."""
        done = subprocess.run(
            [*base, "-S", str(folder / address), address, probe_command(nonce)],
            input=b"1\n",
            capture_output=True,
            check=True,
            timeout=60,
        )
        return len(AnswerAssembler(nonce).feed(done.stdout))

    try:
        with ThreadPoolExecutor(REFERENCE_WORKERS) as pool:
            list(pool.map(open_master, setup["addresses"]))
            before = sum(cpu_seconds(master.pid) for master in masters) + os.times().children_user
            before += os.times().children_system
            begun = time.monotonic()
            samples = sum(pool.map(sample, setup["addresses"] * REFERENCE_ROUNDS))
            seconds = time.monotonic() - begun
            after = sum(cpu_seconds(master.pid) for master in masters) + os.times().children_user
            after += os.times().children_system
        memory = sum(rss_bytes(master.pid) for master in masters)
    finally:
        for master in masters:
            master.terminate()
        for master in masters:
            master.wait(30)
    print(
        json.dumps(
            {
                "samples": samples,
                "cpu_seconds": after - before,
                "seconds": seconds,
                "rss_bytes": memory,
            }
        )
    )


def references(options: argparse.Namespace, sim: Simulator) -> float | None:
    """Measure both alternatives on a part of the fleet; CPU-ms per sample of the cheaper one."""
    if not options.reference_servers:
        return None
    costs = []
    sound = [host.address for host in read_servers(sim.folder) if not host.fault]
    addresses = sound[: options.reference_servers]
    for role, way in (
        ("paramiko", "paramiko, connection per sample"),
        ("openssh", "ssh with ControlMaster, command per sample"),
    ):
        say(f"reference: {way}, {len(addresses)} servers")
        with tempfile.TemporaryDirectory(prefix="rb-") as folder:
            setup = {
                "addresses": addresses,
                "port": options.port,
                "known_hosts": str(sim.folder / "known_hosts"),
                "identity_file": str(sim.folder / "client"),
                "folder": folder,
            }
            done = subprocess.run(
                [sys.executable, __file__, "--role", role, "--setup", json.dumps(setup)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=900,
            )
        result = json.loads(done.stdout)
        params = {"servers": len(addresses), "way": way}
        costs.append(1000 * result["cpu_seconds"] / result["samples"])
        emit("collect", Figure("cpu_ms_per_sample", costs[-1], "ms", params))
        emit("collect", Figure("samples_read", result["samples"], "samples", params))
        if "rss_bytes" in result:
            memory = result["rss_bytes"] / 2**20
            emit("collect", Figure("rss_mib", memory, "MiB", params | {"of": "all masters"}))
    return round(float(min(costs)), 3)


ROLES: dict[str, Callable[[dict[str, Any]], None]] = {
    "collector": run_collector,
    "paramiko": run_paramiko,
    "openssh": run_openssh,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost of collecting a fleet over SSH.")
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120, help="measured, after the warm-up")
    parser.add_argument("--warm-up", type=float, help="seconds; default: by the number of servers")
    parser.add_argument("--window-seconds", type=float, help="default: half of --seconds")
    parser.add_argument("--interval", type=int, default=30, help="seconds between two samples")
    parser.add_argument("--faulty-share", type=float, default=0.0)
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(FAULTS))
    parser.add_argument("--processes", type=int, default=2, help="of the simulator")
    parser.add_argument("--port", type=int, default=22_023)
    parser.add_argument("--sshd", type=int, default=0, help="sessions of a real sshd instead")
    parser.add_argument("--reference-servers", type=int, default=500, help="0: no reference")
    parser.add_argument(
        "--rules", choices=RULES, default="default", help="alert rules that judge the samples"
    )
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    parser.add_argument("--setup", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        ROLES[options.role](options.setup)
        return
    options.window_seconds = options.window_seconds or options.seconds / 2
    if options.sshd:
        options.servers, options.reference_servers, options.faulty_share = options.sshd, 0, 0.0
    problems = limit_problems(options.servers, processes=options.processes, collectors=2)
    if problems:
        msg = f"Too low for {options.servers} servers: {' '.join(problems)}"
        raise SystemExit(msg)
    say_machine()
    with (
        tempfile.TemporaryDirectory(prefix="resmon-bench-") as folder,
        (sshd_fleet if options.sshd else simulator)(options, Path(folder)) as sim,
        embedded() as postgres,
    ):
        measure(options, postgres, sim, reference=references(options, sim))
    say(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
