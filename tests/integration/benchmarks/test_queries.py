"""`benchmarks/queries.py`: generates its database once, and prints every figure that is named."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from resmon_resources.embedded_postgres import EmbeddedPostgres
from resmon_resources.settings import PROJECT_ROOT
from tests.fixtures_postgres import embedded_settings

pytestmark = pytest.mark.integration

SCRIPT = str(PROJECT_ROOT / "benchmarks" / "queries.py")
CLASSES = 33

OUT_OF_ORDER = """
select count(*)
from resmon.metric_aggregations
where sample_count > 0
    and (
        (cpu_pct_min <= cpu_pct_p50 and cpu_pct_p50 <= cpu_pct_p95 and cpu_pct_p95 <= cpu_pct_p99
            and cpu_pct_p99 <= cpu_pct_max and cpu_pct_max <= 100) is not true
        or (memory_used_bytes_min <= memory_used_bytes_p95
            and memory_used_bytes_p95 <= memory_used_bytes_max) is not true
    )
"""


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark with its database in `folder`."""
    command = [sys.executable, SCRIPT, "--size", "small", "--keep", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def figures_of(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of the kept database, which is removed in the end."""
    path = tmp_path_factory.mktemp("bench")
    yield path
    assert bench(path, "--remove").returncode == 0


@pytest.fixture(scope="module")
def interrupted(folder):
    """What a run said that was interrupted while it generated."""
    command = [sys.executable, SCRIPT, "--size", "small", "--keep", str(folder)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = [run.stderr.readline() for _ in range(6)]
    assert " of " in told[-1], told
    run.send_signal(signal.SIGINT)
    _, rest = run.communicate(timeout=120)
    return "".join(told) + rest


@pytest.fixture(scope="module")
def first(folder, interrupted):
    """The first run that comes to its end, of all classes."""
    assert "the next run goes on" in interrupted
    return bench(folder, "--no-cold", "--draws", "2")


def test_every_class_is_measured(first):
    """Would let back: a class whose query fails, gives other rows than its reference, or is left
    out; a target whose figure nobody prints.
    """
    lines = figures_of(first)
    p95 = [
        line
        for line in lines
        if line["figure"] == "query_p95_ms"
        and line["params"]["clients"] == 1
        and line["params"]["access"] == "resmon"
    ]
    assert len({line["params"]["query"] for line in p95}) == CLASSES
    assert sum("tsbs_" in line["params"]["query"] for line in p95) == 15
    assert all(line["value"] > 0 and line["reference"] > 0 for line in p95)
    points = [line for line in lines if line["figure"] == "server_1000_points_p95_ms"]
    assert [line["params"]["granularity"] for line in points] == [
        *("raw", "1min", "5min", "1hour", "1day"),
    ]
    figures = {line["figure"] for line in lines}
    assert {"overview_p95_ms", "top_servers_p95_ms", "round_trip_p50_ms"} <= figures
    cpu = [line for line in lines if line["figure"] == "query_cpu_p50_ms"]
    assert len(cpu) == 3 * CLASSES
    ratios = [line for line in lines if line["figure"] == "rls_ratio"]
    assert len(ratios) == 2 * (CLASSES + 1)
    assert {line["params"]["access"] for line in ratios} == {"bench_granted", "bench_granted_all"}


def test_database_is_kept_and_measured_cold(interrupted, first, folder):
    """Would let back: a database that is generated for every run, one that begins anew after an
    interruption, or whose cold state is not one of a new server.
    """
    assert "Generating size small" in interrupted
    assert "it is completed" in first.stderr
    partitions = [text for text in (interrupted, first.stderr) if "are to be filled" in text]
    assert len(partitions) == 2
    done = bench(folder, "--only", "overview", "--draws", "3")
    lines = figures_of(done)
    assert "Generating" not in done.stderr
    cold = [line for line in lines if line["params"].get("state") == "cold"]
    assert [line["figure"] for line in cold] == ["query_p50_ms", "query_p95_ms", "query_p99_ms"]
    # The first query of a new server reads its catalogs: several times what a warm one takes.
    assert cold[2]["value"] > cold[0]["reference"]


def test_rows_are_those_of_a_live_system(first, folder):
    """Would let back: generated rows that Resmon would not have written, so that figures of them
    say nothing.
    """
    assert first.returncode == 0, first.stderr
    server = EmbeddedPostgres(embedded_settings(folder))
    server.start()
    try:
        with psycopg.connect(server.url("resmon"), autocommit=True) as connection:
            assert connection.execute(OUT_OF_ORDER).fetchone() == (0,)
            counts = connection.execute(
                "select granularity, count(*), count(distinct server_id) "
                "from resmon.metric_aggregations group by granularity order by granularity"
            ).fetchall()
            stray = connection.execute(
                "select count(*) from tier.metrics_5min as m "
                "join inventory.servers as s using (server_id) "
                "where s.organization_id <> m.organization_id"
            ).fetchone()
            states = connection.execute(
                "select count(*), count(*) filter (where revision = 0) from ops.window_state"
            ).fetchone()
    finally:
        server.stop()
    # Whole days, and of the running one until 12:00.
    assert counts == [
        ("1day", 20 * 365, 20),
        ("1hour", 20 * (60 * 24 + 12), 20),
        ("1min", 20 * (3 * 24 + 12) * 60, 20),
        ("5min", 20 * (14 * 24 + 12) * 12, 20),
    ]
    assert stray == (0,)
    assert states[0] > 1000
    assert states[1] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--only", "nothing-like-it"), "tsbs_lastpoint"),
        (("--draws", "0"), "not a whole number"),
        (("--size", "huge"), "invalid choice"),
        (("--keep", "/proc/nowhere"), "--keep FOLDER"),
    ],
)
def test_wrong_arguments_are_refused_with_a_hint(arguments, told, tmp_path):
    """Would let back: a traceback, or minutes of work, for a slip of the keyboard."""
    done = bench(tmp_path, *arguments)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
