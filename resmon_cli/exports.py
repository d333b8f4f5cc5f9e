"""`resmon export`: metrics, anomalies, forecasts, usage and alerts as files for other programs.

Belongs here: arguments. What happens when an export is interrupted is in exporting.py, what can be
exported in resmon_resources/exports.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from resmon_cli.lazy import NamedGroup
from resmon_cli.options import time_range
from resmon_resources.alert_records import SEVERITIES

DataSet = Literal["metrics", "anomalies", "forecasts", "usage", "alerts"]
"""What can be exported."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _common(command: _Command) -> _Command:
    """Give a command --from, --to, --format, --output, --resume and --organization."""
    for option in (
        click.option(
            "--resume",
            is_flag=True,
            help="Go on with FILE.partial of an interrupted export; anew where there is none.",
        ),
        click.option(
            "--output",
            type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
            metavar="FILE",
            help="File to write; default, and -: standard output.",
        ),
        click.option(
            "--format",
            "kind",
            type=click.Choice(["csv", "json", "ndjson", "parquet"]),
            required=True,
            help="csv and ndjson (a JSON object per line) can be gone on with.",
        ),
        time_range(since="-7d"),
        click.option("--organization", help="Only this organization with all below it."),
    ):
        command = option(command)
    return command


_server = click.option(
    "--server", "servers", multiple=True, help="Only this server; several: each of them."
)
_severity = click.option(
    "--severity", "severities", multiple=True, type=click.Choice(SEVERITIES), help="Only these."
)


@click.group("export", cls=NamedGroup)
def export_command() -> None:
    """Rows of schema resmon as CSV, NDJSON, JSON or Parquet.

    Rows are in the order of their key, oldest first, and are streamed: an export needs no more
    memory than some ten thousand rows. Times are UTC, with microseconds; numbers read back as they
    were. In CSV nothing between two commas is not measured, and "" is an empty text.

    Rows go to FILE.partial, which becomes FILE at the end. An export as csv or ndjson that was
    interrupted goes on with --resume, and the same options.

    TIME is ISO 8601 (UTC when no offset is given), `now`, or back from now: -30m, -2h, -7d.

    \b
    resmon export metrics --from -30d --granularity 1hour --format parquet --output hours.parquet
    resmon export metrics --server web-1 --metric cpu_pct --granularity raw --format csv
    resmon export alerts --severity critical --format ndjson | jq .reason
    """  # noqa: D301 - click takes a backspace, not the letters


@export_command.command("metrics")
@_common
@click.option("--metric", "metrics", multiple=True, help="Only columns of this metric.")
@_server
@click.option(
    "--granularity",
    type=click.Choice(["raw", "1min", "5min", "1hour", "1day"]),
    default="5min",
    show_default=True,
    help="raw samples, or statistics per bucket.",
)
def export_metrics(**asked: Any) -> None:  # Any: click
    """Samples or statistics of servers, by collected_at or bucket_start."""
    _export("metrics", asked)


@export_command.command("anomalies")
@_common
@_severity
@click.option("--metric", "metrics", multiple=True, help="Only of this metric; * of servers.")
@_server
def export_anomalies(**asked: Any) -> None:  # Any: click
    """Episodes of unusual behaviour and drifts, by started_at."""
    _export("anomalies", asked)


@export_command.command("forecasts")
@_common
@click.option("--metric", "metrics", multiple=True, help="Only of this metric.")
@_server
def export_forecasts(**asked: Any) -> None:  # Any: click
    """Forecasts of servers, file systems and organizations, by bucket_start (the UTC day)."""
    _export("forecasts", asked)


@export_command.command("usage")
@_common
@click.option("--metric", "metrics", multiple=True, help="Only of this resource.")
def export_usage(**asked: Any) -> None:  # Any: click
    """Usage of organizations against their quotas, by bucket_start (the hour)."""
    _export("usage", asked)


@export_command.command("alerts")
@_common
@_severity
@click.option("--rule", "rules", multiple=True, help="Only of this rule.")
@_server
def export_alerts(**asked: Any) -> None:  # Any: click
    """Alerts as they stand now, by opened_at."""
    _export("alerts", asked)


def _export(name: DataSet, asked: dict[str, Any]) -> None:  # Any: click's
    """Load what exports, and export."""
    from resmon_cli import exporting  # noqa: PLC0415 - polars: half a second and 80 MB

    exporting.export(name, **asked)
