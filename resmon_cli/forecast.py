"""`resmon forecast`: the forecasts of the platform on anyone's file.

Belongs here: the options. The work is in `forecast_file.py`, imported when there is some, so that
`--help` is quick. Needs no database and no environment.
"""

from pathlib import Path
from typing import Literal

import click

MOST_STEPS = 10_000
"""More than a year of hours; beyond that a horizon is a slip of the finger."""


@click.command("forecast")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "--horizon",
    type=click.IntRange(1, MOST_STEPS),
    required=True,
    metavar="N",
    help="How many steps ahead.",
)
@click.option("--step", type=click.Choice(["1d", "1h"]), required=True, help="Length of a step.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="File to write: .csv, .parquet or .pq.",
)
def forecast_command(
    *, source: Path, horizon: int, step: Literal["1d", "1h"], output: Path
) -> None:
    """Forecast every series of a file of measurements, CSV or Parquet.

    INPUT has the columns series, timestamp, value: daily or hourly values as --step says, each
    series by itself, thousands in one call. A time without a zone is UTC. Gaps and repeated times
    are fine; an empty value was not measured. Rows that come more often than a step are averaged.

    OUT has series, timestamp, step (1 to N), value, lower_80, upper_80, lower_95, upper_95, model.
    The time of step k is the series' last time in INPUT plus k steps. Four of five values are
    expected to fall between lower_80 and upper_80.

    \b
    Example:
      resmon forecast disk.csv --horizon 30 --step 1d --output forecast.csv
    """  # noqa: D301 - click's mark for lines that stay as they are
    from resmon_cli import forecast_file  # noqa: PLC0415 - polars and scipy: seconds

    forecast_file.run(source, output, horizon=horizon, step=step)
