"""What benchmarks of the data side share: a server of their own, a process of their own, figures.

Belongs here: how is measured and printed. What is measured is in the benchmarks, the fleet they
measure with in `synthetic.py`.
"""

import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from resmon_resources import migrations
from resmon_resources.embedded_postgres import ROOT_STATE, EmbeddedPostgres
from resmon_resources.postgres import PostgresResource
from resmon_resources.settings import load_settings

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One figure of a benchmark.

    Attributes:
        name: what it is, with its unit if it is a time: hour_seconds.
        value: the figure.
        unit: s, rows, MiB, bytes, ...
        params: what tells it from others of its name.
        reference: the same of the reference, measured in the same run.
    """

    name: str
    value: float
    unit: str
    params: dict[str, Any]
    reference: float | None = None


@dataclass(frozen=True)
class Taken:
    """What a piece of work took.

    Attributes:
        seconds: wall time.
        cpu_seconds: user and system time of this process and of PostgreSQL together.
        result: what the work returned.
    """

    seconds: float
    cpu_seconds: float
    result: Any


@contextmanager
def embedded() -> Iterator[PostgresResource]:
    """A migrated embedded PostgreSQL in a temporary folder, with the settings of Resmon."""
    with tempfile.TemporaryDirectory(prefix="resmon-bench-") as home:
        server = server_in(Path(home))
        try:
            server.start()
            yield migrated(server)
        finally:
            remove_server(server)


def server_in(home: Path) -> EmbeddedPostgres:
    """An embedded PostgreSQL, not started, whose state folder is `home`."""
    end_in_order()
    environment = {"RESMON_HOME": str(home), "RESMON_POSTGRES_OS_USER": "nobody"}
    return EmbeddedPostgres(load_settings(environment))


@contextmanager
def own_home(home: Path) -> Iterator[None]:
    """Point this process, and all that it starts, at a state folder and a database of its own.

    What the embedded PostgreSQL keeps elsewhere is removed in the end.
    """
    end_in_order()
    for name in ("RESMON_POSTGRES_DSN", "RESMON_DAGSTER_POSTGRES_DSN", "RESMON_COLLECT_SHARDS"):
        os.environ.pop(name, None)
    os.environ["RESMON_HOME"] = str(home)
    try:
        yield
    finally:
        remove_server(EmbeddedPostgres(load_settings()))


def end_in_order() -> None:
    """Have SIGTERM end this process as an error does: servers are stopped, folders removed."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave every block on the way out; a second signal does not interrupt that."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    # A pool waits for the work of its processes, which may take an hour.
    for child in multiprocessing.active_children():
        child.terminate()
    raise SystemExit(128 + number)


def migrated(server: EmbeddedPostgres) -> PostgresResource:
    """The data database of a server that runs, with the present schema."""
    server.ensure_databases()
    postgres = PostgresResource(dsn=server.url("resmon"))
    with postgres.connect() as connection:
        migrations.apply(connection, load_settings().sql_path, report=lambda _: None)
    return postgres


def remove_server(server: EmbeddedPostgres) -> None:
    """Stop a server and remove what it keeps, but for its state folder."""
    server.stop()
    shutil.rmtree(server.data_directory, ignore_errors=True)
    shutil.rmtree(server.socket_directory, ignore_errors=True)
    if os.geteuid() == 0 and ROOT_STATE.is_dir() and not any(ROOT_STATE.iterdir()):
        ROOT_STATE.rmdir()


def in_own_process(
    work: Callable[[PostgresResource, int], list[Figure]],
    postgres: PostgresResource,
    servers: int,
    *,
    params: dict[str, Any],
) -> list[Figure]:
    """Run `work(postgres, servers)` in a fresh process; its figures, and its peak memory.

    A process that has filled the database already knows a higher peak.

    Args:
        work: a function of a module that can be imported.
        postgres: the database.
        servers: how many are in it.
        params: of the figure `peak_rss_mib`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        figures, peak = pool.submit(_with_peak, work, postgres.url(), servers).result()
    return [*figures, Figure("peak_rss_mib", peak, "MiB", params)]


def taken(work: Callable[[], Any], postgres: PostgresResource | None = None) -> Taken:
    """What `work` took; the CPU of PostgreSQL is counted when it is given."""
    server = None if postgres is None else postmaster_pid(postgres)
    begun, cpu = time.perf_counter(), _cpu_with(server)
    result = work()
    seconds = time.perf_counter() - begun
    return Taken(seconds, _cpu_with(server) - cpu, result)


def best(work: Callable[[], Any], *, times: int = 3) -> tuple[float, Any]:
    """The quickest run in seconds, because other work on the machine only adds; and its result."""
    runs = [taken(work) for _ in range(times)]
    quickest = min(runs, key=lambda run: run.seconds)
    return quickest.seconds, quickest.result


def emit(benchmark: str, figure: Figure) -> None:
    """One figure as a JSON line."""
    reference = figure.reference
    line = {
        "benchmark": benchmark,
        "figure": figure.name,
        "params": figure.params,
        "value": round(figure.value, 4),
        "unit": figure.unit,
        "reference": None if reference is None else round(reference, 4),
    }
    print(json.dumps(line), flush=True)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def say_machine() -> None:
    """What the figures were measured on, and how busy it was before."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    say(
        f"{platform.platform()}, {os.cpu_count()} CPUs, {memory:.0f} GiB, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f} before the start"
    )


def postmaster_pid(postgres: PostgresResource) -> int:
    """Process of the server, the parent of all its others."""
    with postgres.connect() as connection:
        pid = connection.info.backend_pid
        return int(_stat(pid)[1])


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float:
    """User and system time of a process so far; 0 when it is gone."""
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11 : 15 if with_ended_children else 13])) / TICKS_PER_SECOND


def children_of(pid: int) -> list[int]:
    """Children of a process."""
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree_cpu_seconds(pid: int) -> float:
    """CPU of a process and all below it that live, with their ended children."""
    below = sum(tree_cpu_seconds(child) for child in children_of(pid))
    return cpu_seconds(pid, with_ended_children=True) + below


def _cpu_with(server: int | None) -> float:
    """User and system time of this process, and of the server with all its processes."""
    return time.process_time() + (0.0 if server is None else tree_cpu_seconds(server))


def _with_peak(
    work: Callable[[PostgresResource, int], list[Figure]], url: str, servers: int
) -> tuple[list[Figure], float]:
    """The work's figures, and the peak of this process's memory in MiB."""
    figures = work(PostgresResource(dsn=url), servers)
    # Not ru_maxrss: it begins with the size of the process that this one was forked from.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return figures, int(peak.split()[1]) / 1024


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return text.rpartition(")")[2].split()
