"""What a server can still take: expected figures are worked by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from resmon_assets.forecast.headroom import (
    FORECASTS,
    HOURS,
    METRICS,
    SERVERS,
    WINDOW_HOURS,
    headroom_rows,
    window_usage,
)
from resmon_assets.frames import HEADROOM_ROWS, schema_of

DAY = datetime(2026, 3, 28, tzinfo=UTC)
GIB = 2.0**30


def server(server_id=1, *, organization=1, cores=8):
    return pl.DataFrame([(server_id, organization, cores)], schema=SERVERS, orient="row")


def usage(server_id=1, *, cpu=40.0, memory=16 * GIB, disk=50 * GIB, hours=WINDOW_HOURS):
    return pl.DataFrame(
        {
            "server_id": [server_id],
            "measured_hours": [hours],
            "cpu_pct_p95_28d": [cpu],
            "memory_used_bytes_p95_28d": [memory],
            "disk_used_bytes_p95_28d": [disk],
        },
        schema_overrides={
            "server_id": pl.Int32(),
            "measured_hours": pl.Int32(),
            **{f"{metric}_p95_28d": pl.Float64() for metric in METRICS.values()},
        },
    )


def forecasts(server_id=1, *, cpu=30.0, memory=12 * GIB, disk=60 * GIB, size=32 * GIB):
    rows = [
        (server_id, "cpu_pct", 100.0, cpu, cpu),
        (server_id, "memory_used_bytes", size, memory, memory),
        (server_id, "disk_used_bytes", 100 * GIB, disk, disk),
    ]
    return pl.DataFrame(rows, schema=FORECASTS, orient="row")


def row(servers=None, used=None, ahead=None):
    rows = headroom_rows(
        server() if servers is None else servers,
        usage() if used is None else used,
        forecasts() if ahead is None else ahead,
        day=DAY,
    )
    assert rows.schema == schema_of(HEADROOM_ROWS)
    return rows.row(0, named=True)


def test_headroom_is_what_is_left_to_the_target_above_past_and_forecast():
    """Lets back: a server that is full in a month called empty, or the reverse."""
    found = row()
    # CPU 80 - 40 of the past; memory 85 - 50 of the past; disk 85 - 60 of the forecast.
    assert found["cpu_headroom_pct"] == pytest.approx(40.0)
    assert found["cpu_headroom_cores"] == pytest.approx(3.2)
    assert found["memory_headroom_pct"] == pytest.approx(35.0)
    assert found["memory_headroom_bytes"] == pytest.approx(11.2 * GIB)
    assert found["disk_headroom_pct"] == pytest.approx(25.0)
    assert found["disk_headroom_bytes"] == pytest.approx(25 * GIB)
    assert found["limiting_resource"] == "disk"
    assert found["headroom_ratio"] == pytest.approx(25 / 85)
    assert (found["verdict"], found["suggestion"]) == ("balanced", None)
    assert (found["coverage_ratio"], found["confidence_ratio"]) == (1.0, 1.0)


def test_underused_server_is_told_the_size_that_would_fit():
    """Lets back: a suggestion that leaves p95 above its target, or one in odd sizes."""
    found = row(used=usage(cpu=15.0, memory=6 * GIB), ahead=forecasts(cpu=10.0, memory=6 * GIB))
    assert found["verdict"] == "underused"
    # 8 cores x 15 / 80 = 1.5 -> 2; 6 / 0.85 = 7.06 -> 7.25 GiB.
    assert found["suggested_cpu_count"] == 2
    assert found["suggested_memory_bytes"] == pytest.approx(7.25 * GIB)
    assert found["suggestion"] == (
        "2 instead of 8 cores and 7.25 instead of 32 GiB of memory would put the p95 of 28 days at "
        "its target."
    )


def test_overloaded_server_is_told_only_what_is_short():
    """Lets back: more memory for a server that lacks cores."""
    found = row(used=usage(cpu=95.0), ahead=forecasts(cpu=96.0))
    assert found["verdict"] == "overloaded"
    assert found["cpu_headroom_pct"] == pytest.approx(-16.0)
    assert found["limiting_resource"] == "cpu"
    assert found["suggestion"] == (
        "10 instead of 8 cores would put the p95 of 28 days at its target."
    )


def test_full_disk_is_overloaded_and_its_cure_is_not_guessed():
    """Lets back: a server with a full disk called underused because it idles."""
    found = row(used=usage(cpu=5.0, memory=GIB, disk=95 * GIB), ahead=forecasts(disk=96 * GIB))
    assert (found["verdict"], found["limiting_resource"]) == ("overloaded", "disk")
    assert found["suggestion"] is None


@pytest.mark.parametrize(
    ("hours", "verdict"),
    [(335, "unknown"), (336, "balanced"), (537, "balanced"), (538, "underused")],
)
def test_verdict_needs_coverage(hours, verdict):
    """Lets back: a server called underused after its first quiet day."""
    found = row(used=usage(cpu=5.0, memory=GIB, hours=hours))
    assert found["verdict"] == verdict
    assert (found["suggested_cpu_count"] is None) == (verdict == "unknown")


def test_without_forecasts_the_past_speaks_with_half_the_confidence():
    """Lets back: no row, or full confidence, for a server whose history is short."""
    ahead = forecasts().with_columns(
        pl.lit(None, dtype=pl.Float32).alias("upper_80_7d"),
        pl.lit(None, dtype=pl.Float32).alias("upper_80_30d"),
    )
    found = row(ahead=ahead)
    assert found["disk_headroom_pct"] == pytest.approx(35.0)
    assert found["confidence_ratio"] == pytest.approx(0.5)


def test_server_of_which_nothing_is_known_has_a_row_and_no_rank():
    """Lets back: a silent server ranked first because nothing runs on it."""
    servers = pl.concat([server(1, cores=None), server(2)])
    rows = headroom_rows(servers, usage(2), forecasts(2), day=DAY)
    silent, known = rows.to_dicts()
    assert silent["verdict"] == "unknown"
    assert (
        silent["rank_in_fleet"] is silent["headroom_ratio"] is silent["limiting_resource"] is None
    )
    assert silent["measured_hours"] == 0
    assert (known["rank_in_fleet"], known["rank_in_organization"]) == (1, 1)


def test_ranks_are_by_room_in_the_fleet_and_in_each_organization():
    """Lets back: ranks that skip, that start at zero, or that differ from run to run."""
    cpu = {1: 60.0, 2: 20.0, 3: 40.0, 4: 40.0}
    servers = pl.concat(server(i, organization=1 if i < 3 else 2) for i in cpu)
    used = pl.concat(usage(i, cpu=value, memory=GIB, disk=GIB) for i, value in cpu.items())
    ahead = pl.concat(forecasts(i, cpu=1.0, memory=GIB, disk=GIB) for i in cpu)
    rows = headroom_rows(servers, used, ahead, day=DAY)
    assert rows["rank_in_fleet"].to_list() == [4, 1, 2, 3]
    assert rows["rank_in_organization"].to_list() == [2, 1, 1, 2]


def test_window_is_the_percentile_of_its_measured_hours():
    """Lets back: hours with three samples that weigh as much as whole ones, or another quantile."""
    random = np.random.default_rng(8)
    values = random.uniform(0, 100, 100).astype(np.float32)
    frame = pl.DataFrame(
        {
            "server_id": 1,
            "bucket_start": [DAY + timedelta(hours=k) for k in range(100)],
            "sample_count": [120] * 90 + [59] * 10,
            "expected_count": 120,
            **{f"{metric}_p95": values for metric in METRICS.values()},
        },
        schema_overrides=HOURS,
    ).select(HOURS.names())
    (found,) = window_usage(frame).to_dicts()
    assert found["measured_hours"] == 90
    expected = np.percentile(values[:90].astype(np.float64), 95)
    assert found["cpu_pct_p95_28d"] == pytest.approx(expected)
