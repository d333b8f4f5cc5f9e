"""`resmon detect` and `resmon forecast` from file to file, without a database or an environment."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from resmon_cli import detect_file, forecast_file
from resmon_cli.main import cli
from resmon_resources.errors import FileUnusable

START = datetime(2026, 3, 1, tzinfo=UTC)
FIVE_MINUTES, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
COUNT = 4 * 288
LEAP = START + 4 * DAY - HOUR


def resmon(*arguments: str | Path) -> Result:
    """Runs the command in this process; an error of ours is raised, as `main` reports it."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def stamps(count: int, step: timedelta) -> list[datetime]:
    """Instants one after another."""
    return [START + k * step for k in range(count)]


@pytest.fixture
def measurements(tmp_path: Path) -> Path:
    """Two servers with two metrics for four days; cpu of `a` and its memory leap at LEAP."""
    generator = np.random.default_rng(4)
    frames = []
    for series in ("a", "b"):
        for metric, level in (("cpu", 20.0), ("memory", 50.0)):
            values = generator.normal(level, 1.0, COUNT)
            if series == "a":
                values[COUNT - 12 :] += 40.0
            frames.append(
                pl.DataFrame({"timestamp": stamps(COUNT, FIVE_MINUTES), "value": values}).select(
                    pl.lit(series).alias("series"),
                    "timestamp",
                    pl.lit(metric).alias("metric"),
                    "value",
                )
            )
    path = tmp_path / "in.parquet"
    frame = pl.concat(frames).sort("timestamp", "metric", maintain_order=True)
    frame.with_row_index("row").write_parquet(path)
    return path


def test_every_row_has_its_verdict_in_its_place(measurements: Path, tmp_path: Path) -> None:
    """Would let back: verdicts of one series told to the rows of another."""
    output = tmp_path / "out.parquet"
    result = resmon("detect", measurements, "--output", output)
    given, found = pl.read_parquet(measurements), pl.read_parquet(output)
    assert "Judged 4,608 rows of 2 series" in result.stderr
    assert result.stdout == ""
    names = ["series", "timestamp", "metric", "row"]
    assert found.select(names).equals(given.select(names))
    assert found["anomaly_score"].is_between(0, 1).all()
    alarms = found.filter("is_anomaly").select("series", "metric", "timestamp")
    assert {("a", "cpu"), ("a", "memory")} <= set(
        alarms.filter(pl.col("timestamp") == LEAP).select("series", "metric").rows()
    )
    assert alarms.filter(pl.col("timestamp") >= LEAP)["series"].unique().to_list() == ["a"]


def test_csv_says_what_parquet_says(measurements: Path, tmp_path: Path) -> None:
    """Would let back: a format that changes stamps or digits, and so the verdicts."""
    as_csv = tmp_path / "in.csv"
    frame = pl.read_parquet(measurements).with_columns(pl.col("timestamp").dt.epoch("s"))
    frame.write_csv(as_csv)
    resmon("detect", measurements, "--output", tmp_path / "a.csv")
    resmon("detect", as_csv, "--output", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    head = (tmp_path / "a.csv").read_text().splitlines()[:2]
    assert head[0] == "series,timestamp,metric,anomaly_score,is_anomaly,row"
    assert head[1].startswith("a,2026-03-01T00:00:00Z,cpu,0")
    assert head[1].endswith("false,0")


@pytest.mark.parametrize("level", ["metric", "server"])
def test_parts_do_not_change_verdicts(
    measurements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Would let back: a large file that is judged otherwise than its series alone."""
    resmon("detect", measurements, "--level", level, "--output", tmp_path / "a.parquet")
    monkeypatch.setattr(detect_file, "ROWS_AT_A_TIME", 1)
    resmon("detect", measurements, "--level", level, "--output", tmp_path / "b.parquet")
    order = ["series", "timestamp", "metric"]
    whole, parts = (pl.read_parquet(tmp_path / f"{name}.parquet").sort(order) for name in "ab")
    assert whole.equals(parts)


def test_server_level_has_one_row_per_series_and_time(measurements: Path, tmp_path: Path) -> None:
    """Would let back: a verdict per metric under the name of the server's."""
    output = tmp_path / "out.parquet"
    resmon("detect", measurements, "--level", "server", "--output", output)
    found = pl.read_parquet(output)
    assert found.columns == ["series", "timestamp", "metric", "anomaly_score", "is_anomaly"]
    assert found.height == found.n_unique(["series", "timestamp"]) == 2 * COUNT
    assert found["metric"].unique().to_list() == ["*"]


def test_chosen_metric_and_plain_rule(measurements: Path, tmp_path: Path) -> None:
    """Would let back: --metric or --detector without an effect."""
    output = tmp_path / "out.parquet"
    resmon(*("detect", measurements, "--metric", "cpu", "--detector", "ratio", "--output", output))
    found = pl.read_parquet(output)
    assert found.height == 2 * COUNT
    assert found["metric"].unique().to_list() == ["cpu"]
    # 20 -> 60: twice its mean away from it, and the score is r / (r + 0.5).
    leap = found.filter((pl.col("series") == "a") & (pl.col("timestamp") == LEAP))
    assert leap["is_anomaly"].to_list() == [True]
    assert leap["anomaly_score"][0] == pytest.approx(0.8, abs=0.02)
    refused = resmon(
        *("detect", measurements, "--level", "server", "--detector", "ratio", "--output", output)
    )
    assert refused.exit_code == 2
    assert "The plain rule judges single metrics" in refused.stderr


@pytest.fixture
def daily(tmp_path: Path) -> Path:
    """Twenty days of a series that rises, of one that does not, and of one never measured."""
    path = tmp_path / "daily.csv"
    lines = ["series,timestamp,value"]
    for day in range(20):
        date = f"{START + day * DAY:%Y-%m-%d}"
        lines += [f"disk,{date},{100 + 5 * day}", f"idle,{date},7", f"away,{date},"]
    path.write_text("\n".join(lines))
    return path


def test_forecast_has_every_step_of_every_series(daily: Path, tmp_path: Path) -> None:
    """Would let back: a series that is left out in silence, or a stamp beside its step."""
    output = tmp_path / "out.parquet"
    result = resmon("forecast", daily, "--horizon", "7", "--step", "1d", "--output", output)
    found = pl.read_parquet(output)
    assert found.columns == list(forecast_file.COLUMNS)
    assert found["series"].unique(maintain_order=True).to_list() == ["disk", "idle"]
    assert "Left out 1 series without any value: away." in result.stderr
    for _, points in found.group_by("series"):
        assert points["step"].to_list() == list(range(1, 8))
        assert points["timestamp"].to_list() == [START + (19 + k) * DAY for k in range(1, 8)]
    in_order = ("lower_95", "lower_80", "value", "upper_80", "upper_95")
    for low, high in pairwise(in_order):
        assert (found[low] <= found[high]).all()
    idle = found.filter(pl.col("series") == "idle")
    assert idle["value"].to_list() == pytest.approx([7.0] * 7)


def test_forecast_by_parts_is_the_same(
    daily: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a series whose forecast depends on its neighbours."""
    resmon("forecast", daily, "--horizon", "3", "--step", "1d", "--output", tmp_path / "a.csv")
    monkeypatch.setattr(forecast_file, "ROWS_AT_A_TIME", 1)
    resmon("forecast", daily, "--horizon", "3", "--step", "1d", "--output", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_rows_finer_than_the_step_are_averaged(tmp_path: Path) -> None:
    """Would let back: a forecast of the last five minutes instead of the hours."""
    path, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    values = np.tile([0.0, 20.0], 48 * 6)
    frame = pl.DataFrame({"timestamp": stamps(48 * 12, FIVE_MINUTES), "value": values})
    frame.with_columns(series=pl.lit(7)).write_parquet(path)
    resmon("forecast", path, "--horizon", "5", "--step", "1h", "--output", output)
    found = pl.read_parquet(output)
    assert found["series"].to_list() == [7] * 5
    assert found["value"].to_list() == pytest.approx([10.0] * 5, abs=0.5)
    assert found["timestamp"][0] == START + 48 * HOUR - FIVE_MINUTES + HOUR


def test_file_without_any_value_is_refused(tmp_path: Path) -> None:
    """Would let back: an empty result that looks like success."""
    path = tmp_path / "in.csv"
    path.write_text("series,timestamp,value\na,2026-03-01,\n")
    with pytest.raises(FileUnusable, match="every value is empty"):
        resmon("forecast", path, "--horizon", "1", "--step", "1d", "--output", tmp_path / "o.csv")
    assert not (tmp_path / "o.csv").exists()


def test_error_is_one_line_and_status_1(tmp_path: Path) -> None:
    """Would let back: a stack trace, status 0, a need for a database, or half a file."""
    path, output = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("series,timestamp,metric,value\na,2026-03-01,cpu,high\n")
    program = "from resmon_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "detect", str(path), "--output", str(output)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": ""},
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {path}, line 2: value is 'high'.")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]
