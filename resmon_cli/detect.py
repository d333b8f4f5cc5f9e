"""`resmon detect`: the detectors of the platform on anyone's file.

Belongs here: the options. The work is in `detect_file.py`, imported when there is some, so that
`--help` is quick. Needs no database and no environment.
"""

from pathlib import Path
from typing import Literal

import click


@click.command("detect")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "--metric",
    "metrics",
    metavar="M",
    multiple=True,
    help="Only rows of this metric; may be given several times. Default: all.",
)
@click.option(
    "--level",
    type=click.Choice(["metric", "server"]),
    default="metric",
    show_default=True,
    help="metric: each series and metric by itself. server: all metrics of a series together.",
)
@click.option(
    "--detector",
    type=click.Choice(["default", "ratio"]),
    default="default",
    show_default=True,
    help="default learns each series' own behaviour; ratio: 50 % off the last hour's mean.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="File to write: .csv, .parquet or .pq.",
)
def detect_command(
    *,
    source: Path,
    metrics: tuple[str, ...],
    level: Literal["metric", "server"],
    detector: Literal["default", "ratio"],
    output: Path,
) -> None:
    """Find anomalies in a file of measurements, CSV or Parquet.

    INPUT has the columns series, timestamp, metric, value: one row per value, each series in the
    order in which it was measured. A time without a zone is UTC. Gaps, repeated and backward times
    are fine; an empty value was not measured. No row is judged by rows behind it.

    OUT has series, timestamp, metric, anomaly_score (0 to 1), is_anomaly (the row that would wake
    somebody; an alarm is not repeated). At level metric it has one row per row, in their order, and
    `row` too if INPUT has it; at level server one per series and time, with metric *.

    \b
    Example:
      resmon detect cpu.csv --output anomalies.csv
      resmon detect fleet.parquet --level server --output anomalies.parquet
    """  # noqa: D301 - click's mark for lines that stay as they are
    from resmon_cli import detect_file  # noqa: PLC0415 - polars: half a second and 80 MB

    if level == "server" and detector == "ratio":
        msg = "The plain rule judges single metrics. Leave out --level server, or --detector ratio."
        raise click.UsageError(msg)
    detect_file.run(source, output, metrics=metrics, level=level, detector=detector)
