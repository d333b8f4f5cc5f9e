"""The code location as a whole: loads anywhere, says what every asset is, and matches the
reviewed graph."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, AssetSpec, Definitions

from resmon_assets.automation import WATCHED
from resmon_assets.definitions import build_defs
from resmon_assets.naming import (
    BATCH_POOL,
    CAPACITY_FORECASTS,
    DEGRADATION_REPORTS,
    FORECAST_SCORES,
    HEADROOM,
    OWNER,
    RAW_FILE_SYSTEMS,
    RAW_SAMPLES,
    UTILIZATION_TRENDS,
    table_of,
)
from resmon_assets.retention.downstream import DOWNSTREAM
from resmon_resources.retention_store import Downstream

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden" / "asset_graph.txt"


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return build_defs()


def specs_of(definitions: Definitions) -> list[AssetSpec]:
    return sorted(definitions.resolve_all_asset_specs(), key=lambda spec: list(spec.key.path))


def graph_text(definitions: Definitions) -> str:
    """One block per asset: what a reviewer must see change."""
    lines = []
    graph = definitions.resolve_asset_graph()
    for spec in specs_of(definitions):
        node = graph.get(spec.key)
        lines.append(table_of(spec.key))
        lines.append(f"  group       {spec.group_name}")
        lines.append(f"  kinds       {', '.join(sorted(spec.kinds))}")
        lines.append(
            f"  deps        {', '.join(sorted(table_of(d.asset_key) for d in spec.deps)) or '-'}"
        )
        partitions = spec.partitions_def
        told = (
            f"{type(partitions).__name__} end_offset={partitions.end_offset}" if partitions else "-"
        )
        lines.append(f"  partitions  {told}")
        lines.append(f"  pools       {', '.join(sorted(node.pools or [])) or '-'}")
        lines.append(
            f"  checks      {', '.join(sorted(key.name for key in node.check_keys)) or '-'}"
        )
    for job in sorted(definitions.resolve_all_job_defs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            lines.append(f"job {job.name}")
    repository = definitions.get_repository_def()
    for schedule in sorted(repository.schedule_defs, key=lambda item: item.name):
        status = schedule.default_status.value
        lines.append(f"schedule {schedule.name} [{schedule.cron_schedule}] {status}")
    for sensor in sorted(repository.sensor_defs, key=lambda item: item.name):
        lines.append(
            f"sensor {sensor.name} every {sensor.minimum_interval_seconds} s "
            f"{sensor.default_status.value}"
        )
    return "\n".join(lines) + "\n"


def test_the_graph_is_the_reviewed_one(definitions):
    """Would let back: a dependency, schedule or check that disappears without anyone deciding so.

    To take a change on purpose: RESMON_UPDATE_GOLDEN=1 pytest tests/test_definitions.py
    """
    text = graph_text(definitions)
    if os.environ.get("RESMON_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_asset_says_what_it_is(definitions):
    """Would let back: "No description found" as the first thing on an asset's page."""
    for spec in specs_of(definitions):
        assert spec.group_name == spec.key.path[0]
        assert spec.description, spec.key
        assert spec.owners == [OWNER]
        assert spec.kinds


def test_keys_and_statistics_are_explained_in_the_ui(definitions):
    """Would let back: a page of columns that says "percent" thirty times, and of keys nothing."""
    (spec,) = (x for x in specs_of(definitions) if x.key == AssetKey(["tier", "metrics_5min"]))
    told = {one.name: one.description for one in spec.metadata["dagster/column_schema"].columns}
    assert None not in told.values()
    assert told["cpu_pct_p95"] == "percent; 95th percentile of the bucket"
    assert told["expected_count"] == "samples; those that were due"


def test_everything_but_the_collector_and_the_alerts_is_in_the_pool(definitions):
    """Would let back: a backfill that takes both cores from the collector, or a collector or a
    notice that queues behind one."""
    graph = definitions.resolve_asset_graph()
    at_once = {
        AssetKey(["alert", "alerts"]),
        AssetKey(["raw", "server_resource_metrics"]),
        AssetKey(["raw", "filesystem_usage"]),  # external: no run of its own
    }
    for spec in specs_of(definitions):
        expected = set() if spec.key in at_once else {BATCH_POOL}
        assert set(graph.get(spec.key).pools or []) == expected, spec.key


def test_it_loads_without_environment_network_or_database(tmp_path):
    """Would let back: an import that reads a variable, opens a socket or needs the project's
    folder."""
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise AssertionError('a socket was opened while loading')\n"
        "socket.socket.connect = refuse\n"
        "from resmon_assets.definitions import defs\n"
        "print(len(list(defs.resolve_all_asset_specs())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(len(specs_of(build_defs())))


def test_retention_waits_for_every_watched_table_that_is_computed_from_what_it_drops():
    """Would let back: a new table whose raw is dropped before it is computed."""
    kept_for_long = {CAPACITY_FORECASTS, FORECAST_SCORES, HEADROOM}
    kept_for_long |= {UTILIZATION_TRENDS, DEGRADATION_REPORTS}
    wanted = set()
    for watched in WATCHED:
        if watched.key in kept_for_long:
            continue
        from_samples = watched.is_from_samples or watched.source is not None
        raw = table_of(RAW_SAMPLES if from_samples else RAW_FILE_SYSTEMS)
        source, reach = watched.source or raw, watched.reach
        wanted.add(Downstream(watched.table, source, window=watched.window, reach=reach))
        if watched.source is not None:
            wanted.add(Downstream(watched.table, raw, window=watched.window, reach="any"))
    assert set(DOWNSTREAM) == wanted
