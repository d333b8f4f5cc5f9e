"""What `resmon forecast` does with a file: read, forecast some series at a time, write.

Belongs here: rows on their way between a file and the pure functions of resmon_assets/forecast/.
Decides nothing about forecasts.
"""

import time
from pathlib import Path
from typing import Literal

import polars as pl

from resmon_assets.forecast.models import forecast_rows
from resmon_cli import long_form, progress, render
from resmon_cli.progress import Tell, within
from resmon_resources.errors import FileUnusable

ROWS_AT_A_TIME = 500_000
"""Whole series are forecast together up to this many rows of input; it bounds memory."""

NEEDED = ("series", "timestamp", "value")
COLUMNS = (
    *("series", "timestamp", "step", "value"),
    *("lower_80", "upper_80", "lower_95", "upper_95", "model"),
)

Step = Literal["1d", "1h"]

_LISTED_SERIES = 5


def run(source: Path, output: Path, *, horizon: int, step: Step) -> None:
    """Forecast the series of `source` and write the points to `output`.

    Raises:
        FileUnusable: a file cannot be read or written, a row is not a measurement, or there is no
            value at all; nothing is written then.
    """
    begun = time.perf_counter()
    long_form.check_places(source, output)
    with progress.bar(f"Reading {source.name}"):
        read = long_form.read_long_form(source, needed=NEEDED)
    frame, unmeasured = without_unmeasured(read.frame, path=source)
    with progress.bar("Forecasting") as tell:
        points = forecast(frame, horizon=horizon, step=step, tell=tell)
    with progress.bar(f"Writing {output.name}"):
        long_form.write_frame(points.with_columns(pl.col("series").cast(read.series_dtype)), output)
    if unmeasured:
        more = ", …" if len(unmeasured) > _LISTED_SERIES else ""
        render.note(
            f"Left out {len(unmeasured):,} series without any value: "
            f"{', '.join(unmeasured[:_LISTED_SERIES])}{more}."
        )
    render.note(
        f"Forecast {frame['series'].n_unique():,} series in {time.perf_counter() - begun:.1f} s. "
        f"Wrote {points.height:,} rows to {output}."
    )


def without_unmeasured(frame: pl.DataFrame, *, path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The rows of series that have a value, and the names of those that have none.

    Raises:
        FileUnusable: no series has a value.
    """
    counts = frame.group_by("series", maintain_order=True).agg(pl.col("value").count())
    unmeasured: list[str] = counts.filter(pl.col("value") == 0)["series"].to_list()
    if len(unmeasured) == counts.height:
        msg = f"{path}: every value is empty. There is nothing to forecast from."
        raise FileUnusable(msg, path=str(path))
    if not unmeasured:
        return frame, []
    return frame.filter(~pl.col("series").is_in(unmeasured)), unmeasured


def forecast(frame: pl.DataFrame, *, horizon: int, step: Step, tell: Tell) -> pl.DataFrame:
    """Points of every series, `horizon` steps each, series in order of their first appearance.

    Args:
        frame: series, timestamp (us, UTC), value; null is a gap.
        horizon: steps.
        step: their length.
        tell: progress in rows of the input.
    """
    parts, done = [], 0
    for part in long_form.groups_of_series(frame, most_rows=ROWS_AT_A_TIME):
        made = forecast_rows(
            part.select(NEEDED),
            horizon=horizon,
            step=step,
            on_progress=within(tell, done=done, size=part.height, total=frame.height),
        )
        parts.append(made.points.select(COLUMNS))
        done += part.height
        tell(done, frame.height)
    return pl.concat(parts)
