"""What `resmon detect` does with a file: read, judge whole series at a time, write.

Belongs here: rows on their way between a file and the pure functions of resmon_assets/anomaly/, so
that memory stays bounded and every row comes back in its place. Decides nothing about anomalies.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from resmon_assets.anomaly.combined import detect_servers
from resmon_assets.anomaly.detector import detect_rows
from resmon_cli import long_form, progress, render
from resmon_cli.progress import Tell, within
from resmon_resources.words import counted

ROWS_AT_A_TIME = 4_000_000
"""Whole series are judged together up to this many rows. It bounds memory; more at a time gain
little, because the series of a part already advance together."""

NEEDED = ("series", "timestamp", "metric", "value")
EVERY_METRIC = "*"
"""Metric of rows that judge all metrics of a server together."""

Detector = Literal["default", "ratio"]


def run(
    source: Path,
    output: Path,
    *,
    metrics: Sequence[str],
    level: Literal["metric", "server"],
    detector: Detector,
) -> None:
    """Judge the rows of `source` and write the verdicts to `output`.

    Raises:
        FileUnusable: a file cannot be read or written, or a row is not a measurement; nothing is
            written then.
    """
    begun = time.perf_counter()
    long_form.check_places(source, output)
    carried = ("row",) if level == "metric" else ()
    with progress.bar(f"Reading {source.name}"):
        read = long_form.read_long_form(source, needed=NEEDED, carried=carried)
        frame = long_form.only_metrics(read.frame, metrics, path=source)
    with progress.bar("Detecting") as tell:
        if level == "metric":
            verdicts = judge_rows(frame, detector=detector, tell=tell)
        else:
            verdicts = judge_servers(frame, tell=tell)
    with progress.bar(f"Writing {output.name}"):
        long_form.write_frame(
            verdicts.with_columns(pl.col("series").cast(read.series_dtype)), output
        )
    render.note(
        f"Judged {frame.height:,} rows of {frame['series'].n_unique():,} series in "
        f"{time.perf_counter() - begun:.1f} s: "
        f"{counted(int(verdicts['is_anomaly'].sum()), 'alarm')}. "
        f"Wrote {verdicts.height:,} rows to {output}."
    )


def judge_rows(frame: pl.DataFrame, *, detector: Detector, tell: Tell) -> pl.DataFrame:
    """A verdict per row, in the order of the rows.

    Args:
        frame: series, timestamp (us, UTC), metric, value, and perhaps row.
        detector: which one.
        tell: progress in rows.

    Returns:
        series, timestamp, metric, anomaly_score (f64, 0 to 1), is_anomaly (bool), and row if given.
    """
    scores = np.empty(frame.height)
    alarms = np.empty(frame.height, dtype=bool)
    done = 0
    for part in long_form.groups_of_series(frame, most_rows=ROWS_AT_A_TIME):
        verdicts = detect_rows(
            part.select(NEEDED),
            detector=detector,
            on_progress=within(tell, done=done, size=part.height, total=frame.height),
        )
        _check_count(verdicts, part)
        positions = part["position"].to_numpy()
        scores[positions] = verdicts["anomaly_score"].to_numpy()
        alarms[positions] = verdicts["is_anomaly"].to_numpy()
        done += part.height
        tell(done, frame.height)
    kept = [name for name in ("series", "timestamp", "metric", "row") if name in frame.columns]
    return frame.select(
        *kept[:3],
        pl.Series("anomaly_score", scores),
        pl.Series("is_anomaly", alarms),
        *kept[3:],
    )


def judge_servers(frame: pl.DataFrame, *, tell: Tell) -> pl.DataFrame:
    """A verdict per series and timestamp, over all its metrics; series in order of appearance.

    Args:
        frame: series, timestamp (us, UTC), metric, value.
        tell: progress in rows.

    Returns:
        series, timestamp, metric (always `*`), anomaly_score, is_anomaly.
    """
    parts, done = [], 0
    for part in long_form.groups_of_series(frame, most_rows=ROWS_AT_A_TIME):
        verdicts = detect_servers(
            part.select(NEEDED),
            on_progress=within(tell, done=done, size=part.height, total=frame.height),
        )
        parts.append(
            verdicts.select(
                "series",
                "timestamp",
                pl.lit(EVERY_METRIC).alias("metric"),
                "anomaly_score",
                "is_anomaly",
            )
        )
        done += part.height
        tell(done, frame.height)
    return pl.concat(parts)


def _check_count(verdicts: pl.DataFrame, part: pl.DataFrame) -> None:
    """Each row has its verdict, or rows would be told each other's."""
    if verdicts.height != part.height:
        msg = f"{verdicts.height} verdicts for {part.height} rows is a defect of the detector."
        raise RuntimeError(msg)
