"""`resmon export`: rows read back are the rows, whatever the format, and however often cut off."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resmon_cli.export_files import last_key
from resmon_resources.inventory import Server
from resmon_resources.postgres import PostgresResource
from tests.integration.cli.builders import add_server
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

MAIN = "from resmon_cli.main import main; main()"
PEAK = (
    "import resource, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
"""Prints the most memory of a program in KiB; from here it would be that of the tests, of which a
process that is started has a copy for a moment."""
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 2 * DAY
RANGE = ("--from", START.isoformat(), "--to", (START + DAY).isoformat())
NASTY = ['with "quotes"', "two\nlines", "", "comma, and ümlaut", "\ttab\\n", "null", "\r\n", '"\n"']


@pytest.fixture
def web(postgres: PostgresResource) -> Server:
    return add_server(postgres, "web-1", tags=["prod"])


def run(postgres: PostgresResource, query: str, *values: Any) -> None:  # Any: parameters
    with postgres.connect() as connection:
        connection.execute(query.encode(), values)


def rows_of(postgres: PostgresResource, query: str) -> list[tuple[Any, ...]]:  # Any: a row
    with postgres.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def store_samples(
    postgres: PostgresResource, server: Server, count: int, *, start: datetime = START
) -> None:
    """A sample each 30 s with values of every kind, some not known."""
    table = "raw.server_resource_metrics"
    end = start + count * timedelta(seconds=30)
    run(postgres, "select ops.ensure_partitions(%s, 'day', %s, %s)", table, start, end)
    run(
        postgres,
        f"insert into {table} (collected_at, server_id, organization_id, cpu_pct, cpu_count,"
        " memory_used_bytes, memory_total_bytes, network_in_bytes, elapsed_ms, load_1m)"
        " select %s::timestamptz + k * interval '30 seconds', %s, %s,"
        " case when k %% 7 <> 0 then random() * 100 end, 4, 9007199254740993 + k, 1e16::bigint,"
        " k * 1000, 30001, random() from generate_series(0, %s) as k",
        *(start, server.server_id, server.organization_id, count - 1),
    )


def store_alerts(postgres: PostgresResource, server: Server) -> None:
    """Alerts with texts that spoil files, some at the same instant."""
    for place, reason in enumerate(NASTY):
        run(
            postgres,
            "insert into alert.alerts (began_at, opened_at, changed_at, value, server_id,"
            " organization_id, level, rule, subject, subject_name, severity, state, reason,"
            " details) values (%s, %s, %s, %s, %s, %s, 1, 'cpu_high', %s, 'web-1', %s, 'open', %s,"
            " %s)",
            *(START, START + timedelta(microseconds=place // 3), START),
            *(0.1 + 0.2 if place else None, server.server_id, server.organization_id),
            *(f"server:{place}", "critical" if place % 2 else "warning", reason),
            json.dumps({"text": reason}),
        )


def _read_as(kind: Any) -> Any:  # Any: types
    """The type with which a text file is read; polars reads no narrow numbers from NDJSON."""
    if isinstance(kind, pl.Datetime | pl.List):
        return pl.String
    if kind.is_integer():
        return pl.Int64
    return pl.Float64 if kind.is_float() else kind


def read_back(path: Path, schema: dict[str, Any]) -> pl.DataFrame:  # Any: types
    """A file of any format with the types of a Parquet file of the same rows."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    texts = {name: _read_as(kind) for name, kind in schema.items()}
    if path.suffix == ".csv":
        frame = pl.read_csv(path, schema=texts)
    elif path.suffix == ".ndjson":
        lists = {name: kind for name, kind in schema.items() if isinstance(kind, pl.List)}
        frame = pl.read_ndjson(path, schema=texts | lists)
    else:
        records = json.loads(path.read_text())
        lines = "".join(json.dumps(one) + "\n" for one in records).encode()
        lists = {name: kind for name, kind in schema.items() if isinstance(kind, pl.List)}
        frame = pl.read_ndjson(io.BytesIO(lines), schema=texts | lists)
    moments = [name for name, kind in schema.items() if isinstance(kind, pl.Datetime)]
    lists_as_text = [
        pl.col(name).str.json_decode(kind)
        for name, kind in schema.items()
        if isinstance(kind, pl.List) and frame.schema[name] == pl.String
    ]
    return frame.with_columns(
        pl.col(moments).str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_unit="us", time_zone="UTC"),
        *lists_as_text,
    ).select(pl.col(name).cast(kind) for name, kind in schema.items())


def exported(resmon: Resmon, path: Path, *arguments: str) -> Path:
    kind = path.suffix.removeprefix(".")
    done = resmon("export", *arguments, "--format", kind, "--output", str(path))
    assert done.exit_code == 0, done.told
    assert "Wrote" in done.told
    assert sorted(one.name for one in path.parent.iterdir() if one.name.startswith(path.name)) == [
        path.name
    ]
    return path


def test_samples_read_back_as_they_are_stored(
    resmon: Resmon, postgres: PostgresResource, web: Server, tmp_path: Path
) -> None:
    """Would let back: rounded numbers, big integers as floats, zero for what was not measured."""
    store_samples(postgres, web, 300)
    stored = rows_of(
        postgres,
        "select collected_at, server_id, server_name, cpu_pct, memory_used_bytes, memory_used_pct,"
        " network_in_bytes_per_second, load_1m, load_5m from resmon.server_resource_metrics"
        " order by collected_at, server_id",
    )
    what = ("metrics", "--granularity", "raw", *RANGE)
    table = pl.read_parquet(exported(resmon, tmp_path / "a.parquet", *what))
    for kind in ("csv", "json", "ndjson", "parquet"):
        frame = read_back(exported(resmon, tmp_path / f"b.{kind}", *what), dict(table.schema))
        assert frame.equals(table), kind
        names = [
            *("collected_at", "server_id", "server_name", "cpu_pct", "memory_used_bytes"),
            *("memory_used_pct", "network_in_bytes_per_second", "load_1m", "load_5m"),
        ]
        schema = {name: frame.schema[name] for name in names}
        assert frame.select(names).equals(pl.DataFrame(stored, schema=schema, orient="row")), kind


def test_texts_and_times_of_alerts_read_back(
    resmon: Resmon, postgres: PostgresResource, web: Server, tmp_path: Path
) -> None:
    """Would let back: an empty text as unknown, a line break that ends a row, lost microseconds."""
    store_alerts(postgres, web)
    what = ("alerts", *RANGE)
    table = pl.read_parquet(exported(resmon, tmp_path / "a.parquet", *what))
    assert table["reason"].to_list() == NASTY
    assert table["value"].to_list() == [None, *[0.1 + 0.2] * (len(NASTY) - 1)]
    assert [(at - START).microseconds for at in table["opened_at"]] == [0, 0, 0, 1, 1, 1, 2, 2]
    for kind in ("csv", "json", "ndjson"):
        frame = read_back(exported(resmon, tmp_path / f"a.{kind}", *what), dict(table.schema))
        assert frame.equals(table), kind
    few = exported(resmon, tmp_path / "b.parquet", *what, "--severity", "critical")
    assert pl.read_parquet(few).height == len(NASTY) // 2
    silent = resmon("export", *what, "--format", "ndjson", "--rule", "disk_high")
    assert (silent.output, silent.told[:8]) == ("", "No rows ")
    none = exported(resmon, tmp_path / "c.csv", *what, "--rule", "disk_high")
    assert len(none.read_text().splitlines()) == 1
    assert (
        json.loads(exported(resmon, tmp_path / "c.json", *what, "--rule", "quota").read_text())
        == []
    )


def test_tiers_reports_forecasts_and_usage_are_exported(
    resmon: Resmon, postgres: PostgresResource, web: Server, tmp_path: Path
) -> None:
    """Would let back: a data set whose query or key does not fit its view."""
    ids = (web.server_id, web.organization_id)
    partitions = {
        "tier.metrics_1hour": "month",
        "anomaly.anomaly_reports": "month",
        "forecast.capacity_forecasts": "month",
        "rollup.organization_resource_usage": "month",
    }
    for table, width in partitions.items():
        run(
            postgres,
            "select ops.ensure_partitions(%s, %s, %s, %s)",
            table,
            width,
            START,
            START + DAY,
        )
    run(
        postgres,
        "insert into tier.metrics_1hour (bucket_start, server_id, organization_id, sample_count,"
        " expected_count, cpu_pct_avg, memory_used_bytes_max) values (%s, %s, %s, 9, 10, 12.1, 7)",
        *(START, *ids),
    )
    run(
        postgres,
        "insert into anomaly.anomaly_reports (started_at, peak_at, score, server_id,"
        " organization_id, revision, has_late_input, metric, detector, kind, severity, reason)"
        " values (%s, %s, 0.7, %s, %s, 1, false, '*', 'default', 'deviation', 'warning', 'why')",
        *(START, START, *ids),
    )
    for server_id, mount, value in ((web.server_id, "/", [1.5, None]), (0, "", None)):
        run(
            postgres,
            "insert into forecast.capacity_forecasts (bucket_start, organization_id, server_id,"
            " history_days, metric, mount, method, status, value, reach_100_on)"
            " values (%s, %s, %s, 9, 'disk_used_bytes', %s, 'best', 'ok', %s, '2026-03-01')",
            *(START, web.organization_id, server_id, mount, value),
        )
    run(
        postgres,
        "insert into rollup.organization_resource_usage (bucket_start, organization_id,"
        " measured_until, server_count, measured_server_count) values (%s, %s, %s, 3, 3)",
        *(START, web.organization_id, START + MINUTE),
    )
    counts = {}
    for what, arguments in {
        "metrics": ("--granularity", "1hour", "--metric", "cpu_pct"),
        "anomalies": ("--metric", "*", "--severity", "warning", "--server", "web-1"),
        "forecasts": ("--organization", "default"),
        "usage": ("--metric", "servers"),
    }.items():
        rows = pl.read_parquet(
            exported(resmon, tmp_path / f"{what}.parquet", what, *RANGE, *arguments)
        )
        counts[what] = rows.height
        for kind in ("csv", "ndjson"):
            path = exported(resmon, tmp_path / f"{what}.{kind}", what, *RANGE, *arguments)
            assert read_back(path, dict(rows.schema)).equals(rows), (what, kind)
            again = resmon(*("export", what, *RANGE, *arguments, "--format", kind, "--output", "-"))
            assert again.output == path.read_text()
    assert counts == {"metrics": 1, "anomalies": 1, "forecasts": 2, "usage": 1}
    hours = pl.read_csv(tmp_path / "metrics.csv")
    assert "cpu_pct_avg" in hours.columns
    assert "memory_used_bytes_max" not in hours.columns
    forecasts = pl.read_parquet(tmp_path / "forecasts.parquet")
    assert forecasts["server_id"].to_list() == [None, web.server_id]
    assert forecasts["value"].to_list() == [None, [1.5, None]]


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(share=st.floats(0, 1))
def test_a_file_that_was_cut_off_anywhere_goes_on_to_the_same_file(
    share: float, kind: str, resmon: Resmon, postgres: PostgresResource, tmp_path: Path
) -> None:
    """Would let back: a row twice, a row lost, or half a row in the middle of a file."""
    whole = tmp_path / f"whole.{kind}"
    if not whole.exists():
        store_alerts(postgres, add_server(postgres, "web-1"))
        exported(resmon, whole, "alerts", *RANGE)
    content = whole.read_bytes()
    path = tmp_path / f"part.{kind}"
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content[: int(share * len(content))])
    asked: dict[str, object] = {
        "data_set": "alerts",
        "format": kind,
        "from": RANGE[1],
        "to": RANGE[3],
        "granularity": "5min",
        "servers": [],
        "organization": None,
        "metrics": [],
        "severities": [],
        "rules": [],
        "asked_at": datetime.now(UTC).isoformat(),
    }
    path.with_name(f"{path.name}.partial.query").write_text(json.dumps(asked))
    done = resmon(
        *("export", "alerts", *RANGE, "--format", kind, "--output", str(path), "--resume")
    )
    assert done.exit_code == 0, done.told
    assert path.read_bytes() == content
    assert not partial.exists()


@given(texts=st.lists(st.text(max_size=12), max_size=8), cut=st.integers(0, 400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_last_whole_row_is_found_in_any_text(
    texts: list[str], cut: int, tmp_path: Path
) -> None:
    """Would let back: a line break within quotes taken for the end of a row."""
    frame = pl.DataFrame(
        {"n": list(range(len(texts))), "text": texts}, schema={"n": pl.Int64, "text": pl.String}
    )
    content = frame.write_csv(quote_style="necessary", null_value="").encode()
    path = tmp_path / "x.csv"
    path.write_bytes(content[:cut])
    ends = [
        len(frame.head(k).write_csv(quote_style="necessary", null_value="").encode())
        for k in range(len(texts) + 1)
    ]
    whole = max((k for k, end in enumerate(ends) if end <= cut), default=0)
    at, values = last_key(path, "csv", ["n", "text"])
    if whole == 0:
        assert (at, values) == (0, None)
    else:
        assert at == ends[whole]
        assert values == {"n": str(whole - 1), "text": texts[whole - 1]}


def started(postgres: PostgresResource, *arguments: str) -> subprocess.Popen[bytes]:
    """`resmon export` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "export", *arguments],
        env=os.environ | {"RESMON_POSTGRES_DSN": postgres.dsn},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_export_goes_on(
    resmon: Resmon,
    postgres: PostgresResource,
    web: Server,
    tmp_path: Path,
    signal_number: signal.Signals,
) -> None:
    """Would let back: hours of an export lost by Ctrl-C, or by a machine that went away."""
    store_samples(postgres, web, 40_000)
    # In a slice of its own, at which the export waits for a lock until it has the signal.
    last = START + 200 * DAY
    store_samples(postgres, web, 100, start=last)
    span = ("--from", START.isoformat(), "--to", (last + DAY).isoformat())
    what = ("metrics", "--granularity", "raw", *span)
    whole = exported(resmon, tmp_path / "whole.csv", *what)
    path = tmp_path / "part.csv"
    partial = path.with_name("part.csv.partial")
    with postgres.connect() as connection:
        connection.execute(f"lock table raw.server_resource_metrics_{last:%Y%m%d}")
        process = started(postgres, *what, "--format", "csv", "--output", str(path))
        deadline = time.monotonic() + 60
        while not (partial.exists() and partial.stat().st_size > 0):
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.005)
        process.send_signal(signal_number)
    _, told = process.communicate(timeout=60)
    assert not path.exists()
    if signal_number is signal.SIGINT:
        assert process.returncode == 130
        assert b"--resume" in told
    refused = resmon("export", *what, "--format", "csv", "--output", str(path))
    assert refused.exit_code == 1
    assert "--resume" in refused.told
    other = resmon(
        *("export", *what, "--metric", "cpu", "--format", "csv", "--output", str(path), "--resume")
    )
    assert "begun with other options (metrics was not given, is cpu)" in other.told
    done = resmon("export", *what, "--format", "csv", "--output", str(path), "--resume")
    assert done.exit_code == 0, done.told
    assert path.read_bytes() == whole.read_bytes()


def test_an_export_needs_no_more_memory_for_more_rows(
    postgres: PostgresResource, web: Server, tmp_path: Path
) -> None:
    """Would let back: all rows in memory before the first one is written."""
    store_samples(postgres, web, 130_000)
    peaks = []
    for days in (15, 45):  # both more than is read at a time
        span = ("--from", START.isoformat(), "--to", (START + days * DAY).isoformat())
        done = subprocess.run(
            [
                *(sys.executable, "-c", PEAK, "-c", MAIN, "export", "metrics"),
                *("--granularity", "raw", *span, "--format", "ndjson"),
                *("--output", str(tmp_path / f"{days}.ndjson")),
            ],
            env=os.environ | {"RESMON_POSTGRES_DSN": postgres.dsn},
            stdout=subprocess.PIPE,
            check=True,
        )
        peaks.append(int(done.stdout) / 1024)
    assert (tmp_path / "45.ndjson").stat().st_size > 50 * 2**20
    assert peaks[1] - peaks[0] < 40, f"{peaks} MiB; the second had 50 MB of rows more"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("metrics", "--format", "csv", "--server", "web-9"), "web-9"),
        (("metrics", "--format", "csv", "--organization", "nowhere"), "nowhere"),
        (("metrics", "--format", "csv", "--metric", "cpu"), "There are: cpu_pct"),
        (("alerts", "--format", "csv", "--rule", "cpu_hihg"), "Did you mean"),
        (("usage", "--format", "csv", "--from", "now"), "is not before"),
        (("usage", "--format", "csv", "--from", "soon"), "is not a time"),
        (("usage", "--format", "csv", "--resume"), "Only a file"),
        (("usage", "--format", "json", "--output", "x.json", "--resume"), "csv or ndjson"),
        (("usage", "--format", "parquet", "--output", "x.parquet", "--resume"), "--from and --to"),
        (("usage", "--format", "csv", "--output", "no/such/folder/x.csv"), "Writing"),
    ],
)
@pytest.mark.usefixtures("web")
def test_wrong_input_is_refused_and_leaves_no_file(
    resmon: Resmon,
    arguments: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would let back: an empty file in place of an error."""
    monkeypatch.chdir(tmp_path)
    done = resmon("export", *arguments)
    assert done.exit_code == 1
    assert told in done.told
    assert list(tmp_path.iterdir()) == []
