"""`resmon metrics`: ranges, granularities, formats and files."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from resmon_cli import metrics
from resmon_resources.inventory import Server
from resmon_resources.postgres import PostgresResource
from tests.integration.cli.builders import add_server, store_samples
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

MAIN = "from resmon_cli.main import main; main()"


@pytest.fixture
def web(postgres: PostgresResource) -> Server:
    """A server with ten samples in the last five minutes."""
    server = add_server(postgres, "web-1")
    store_samples(postgres, server, count=10)
    return server


def store_bucket(postgres: PostgresResource, server: Server, start: datetime) -> None:
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions('tier.metrics_5min', 'week', %s, %s)",
            (start, start + timedelta(minutes=5)),
        )
        connection.execute(
            "insert into tier.metrics_5min (bucket_start, server_id, organization_id, sample_count,"
            " expected_count, cpu_pct_avg, cpu_pct_p95) values (%s, %s, %s, 9, 10, 12.5, 20.25)",
            (start, server.server_id, server.organization_id),
        )


def test_samples_of_the_last_hour_are_the_default(resmon: Resmon, web: Server) -> None:
    """Would let back: an empty first answer."""
    outcome = resmon("metrics", "web-1", columns=80)
    lines = outcome.output.splitlines()
    assert len(lines) == 2 + 10
    assert all(len(line) <= 80 for line in lines)
    assert "42 %" in lines[-1]
    assert "SERVER" not in lines[0]


def test_two_servers_have_a_column_that_tells_them_apart(
    resmon: Resmon, web: Server, postgres: PostgresResource
) -> None:
    """Would let back: rows of which nobody knows the server."""
    store_samples(postgres, add_server(postgres, "web-2.a-long-name.example.org"), count=1)
    for columns in (70, 80, 120):
        outcome = resmon("metrics", "web-1", "web-2.a-long-name.example.org", columns=columns)
        assert "web-2.a-long-name.example.org" in outcome.output
        assert "…" not in outcome.output
        assert all(len(line) <= columns for line in outcome.output.splitlines())


def test_csv_has_every_column_and_nothing_for_null(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: a null written as 0 or as None."""
    server = add_server(postgres, "web-1")
    times = store_samples(postgres, server, count=2, cpu_pct=None)
    rows = list(csv.DictReader(io.StringIO(resmon("metrics", "web-1", "--format", "csv").output)))
    assert [row["collected_at"] for row in rows] == [
        moment.isoformat().replace("+00:00", "Z") for moment in times
    ]
    assert rows[0]["cpu_pct"] == ""
    assert rows[0]["load_5m"] == ""
    assert rows[0]["network_out_bytes"] == "0"
    assert rows[0]["network_in_bytes_per_second"] == "100000.0"
    assert rows[0]["memory_used_bytes"] == str(8 * 2**30)


def test_json_is_one_array(resmon: Resmon, web: Server) -> None:
    """Would let back: output that no JSON reader takes, with rows or without."""
    rows = json.loads(resmon("metrics", "web-1", "--format", "json").output)
    assert len(rows) == 10
    assert rows[0]["cpu_pct"] == 42.0
    assert rows[0]["load_5m"] is None
    empty = resmon("metrics", "web-1", "--format", "json", "--from", "-2d", "--to", "-1d")
    assert json.loads(empty.output) == []
    assert "No 5min buckets" in empty.told or "No 1hour buckets" in empty.told


def test_parquet_file_has_declared_types(resmon: Resmon, web: Server, tmp_path: Path) -> None:
    """Would let back: times as text, or a column of nulls with no type."""
    path = tmp_path / "out dir" / "web.parquet"
    path.parent.mkdir()
    outcome = resmon("metrics", "web-1", "--format", "parquet", "--output", str(path))
    assert outcome.exit_code == 0, outcome.told
    assert "Wrote 10 rows of granularity raw" in outcome.told
    frame = pl.read_parquet(path)
    assert frame.height == 10
    assert frame.schema["collected_at"] == pl.Datetime("us", "UTC")
    assert frame.schema["load_5m"] == pl.Float64
    assert frame["memory_used_bytes"].to_list() == [8 * 2**30] * 10
    assert [entry.name for entry in path.parent.iterdir()] == ["web.parquet"]


def test_parquet_without_rows_is_a_file_all_the_same(
    resmon: Resmon, web: Server, tmp_path: Path
) -> None:
    """Would let back: a reader downstream that fails on a quiet hour."""
    path = tmp_path / "web.parquet"
    resmon(
        *("metrics", "web-1", "--from", "-3h", "--to", "-2h"),
        *("--format", "parquet", "--output", str(path)),
    )
    assert pl.read_parquet(path).height == 0


def test_tier_is_shown_with_its_counts(
    resmon: Resmon, web: Server, postgres: PostgresResource
) -> None:
    """Would let back: statistics that hide how many samples they stand for."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    store_bucket(postgres, web, start)
    outcome = resmon("metrics", "web-1", "--granularity", "5min", "--from", "-3h")
    last = outcome.output.splitlines()[-1].split()
    assert last[:3] == [f"{start:%Y-%m-%d}", f"{start:%H:%M}", "9/10"]
    rows = json.loads(
        resmon(
            *("metrics", "web-1", "--granularity", "5min", "--from", "-3h", "--format", "json")
        ).output
    )
    assert rows[0]["cpu_pct_avg"] == 12.5
    assert rows[0]["memory_used_bytes_p99"] is None
    auto = resmon("metrics", "web-1", "--from", "-12h", "--format", "json")
    assert json.loads(auto.output) == rows


def test_end_is_not_part_of_the_range(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: a sample counted in two neighbouring ranges."""
    times = store_samples(postgres, add_server(postgres, "web-1"), count=3)
    rows = json.loads(
        resmon(
            *("metrics", "web-1", "--format", "json"),
            *("--from", times[0].isoformat(), "--to", times[2].isoformat()),
        ).output
    )
    assert len(rows) == 2


def test_long_table_is_cut_and_says_so(
    resmon: Resmon, web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: rows missing without a word."""
    monkeypatch.setattr(metrics, "TABLE_ROWS", 4)
    outcome = resmon("metrics", "web-1")
    assert len(outcome.output.splitlines()) == 2 + 4
    assert "Only the first 4 rows" in outcome.told


def test_table_goes_to_a_file_without_colours(resmon: Resmon, web: Server, tmp_path: Path) -> None:
    """Would let back: escape sequences in a file."""
    path = tmp_path / "table.txt"
    assert resmon("metrics", "web-1", "--output", str(path)).output == ""
    text = path.read_text()
    assert "42 %" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        ([], 2, "Missing argument"),
        (["nix"], 1, "There is no server 'nix'"),
        (["wbe-1", "nix"], 1, "Did you mean web-1?"),
        (["web-1", "--from", "now", "--to", "-1h"], 1, "is not before"),
        (["web-1", "--from", "gestern"], 1, "is not a time"),
        (["web-1", "--to", "2026-02-30"], 1, "is not a time"),
        (["web-1", "--granularity", "2min"], 2, "is not one of"),
        (["web-1", "--format", "xml"], 2, "is not one of"),
        (["web-1", "--output", "/nonexistent/x.csv", "--format", "csv"], 1, "Writing"),
        (["web-1", "--output", "/"], 2, "is a directory"),
    ],
)
def test_wrong_requests_are_one_clear_message(
    resmon: Resmon, web: Server, arguments: list[str], exit_code: int, told: str
) -> None:
    """Would let back: a traceback or an empty answer where the question was wrong."""
    outcome = resmon("metrics", *arguments)
    assert outcome.exit_code == exit_code
    assert told in outcome.told
    assert outcome.output == ""


def test_parquet_is_not_written_to_a_terminal(postgres: PostgresResource, web: Server) -> None:
    """Would let back: a terminal spoilt by binary output."""
    leader, follower = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "metrics", "web-1", "--format", "parquet"],
            stdout=follower,
            stderr=subprocess.PIPE,
            env={**os.environ, "RESMON_POSTGRES_DSN": postgres.dsn},
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 1
    assert "Parquet is binary" in done.stderr
