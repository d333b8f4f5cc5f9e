"""The `resmon` command: its subcommands, loaded when called, and one place that reports errors.

Belongs here: the list of commands and the translation of our errors to exit status 1. Imports no
command module at load, so that `resmon status` does not pay for Dagster.
"""

import io
import os
import sys
import warnings
from pathlib import Path

import click

from resmon_cli.lazy import LazyGroup, Modules
from resmon_resources.errors import ResmonError

COMMANDS: Modules = {
    "up": ("resmon_cli.up", "Run everything: database, Dagster, collection, and a live table."),
    "env": ("resmon_cli.environment", "Print the variables that dagster and psql need in a shell."),
    "exec": ("resmon_cli.environment", "Run one command with these variables."),
    "db": ("resmon_cli.database", "Migrate the database, or open psql."),
    "org": ("resmon_cli.organizations", "Organizations: add, list, move, remove."),
    "quota": ("resmon_cli.quotas", "Limits of organizations: set, list with what is used."),
    "access": ("resmon_cli.access", "Which database roles read which organizations."),
    "server": ("resmon_cli.servers", "Servers: add, import, list, show, test, pause, remove."),
    "retention": ("resmon_cli.retention", "How long tables are kept, and what is dropped."),
    "collect": ("resmon_cli.collect", "Collect from servers now."),
    "alert": ("resmon_cli.alerts", "Alerts, their rules, and what they would have done."),
    "recompute": ("resmon_cli.recompute", "Compute windows of a range again."),
    "status": ("resmon_cli.status", "State and latest values of the fleet."),
    "metrics": ("resmon_cli.metrics", "Samples or statistics of servers, as a table or a file."),
    "export": ("resmon_cli.exports", "Metrics, anomalies, forecasts, usage, alerts as files."),
    "detect": ("resmon_cli.detect", "Find anomalies in a file of measurements."),
    "forecast": ("resmon_cli.forecast", "Forecast the series of a file of measurements."),
    "demo": ("resmon_cli.demo", "A fleet that does not exist, to try Resmon with."),
    "archive": ("resmon_cli.archive", "Archived days of samples: list, verify, restore."),
}


@click.group(
    cls=LazyGroup, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="resmon")
def cli() -> None:
    """Resmon watches fleets of servers: collected over SSH into PostgreSQL, tiers with Dagster."""


def main() -> None:
    """Entry point: our own errors, and outputs that are gone, become one message and exit status 1.

    A reader that went away (`resmon metrics ... | head`) needs no message.
    """
    # Dagster calls its own parameter beta, once per asset that a command loads.
    warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
    _open_streams()
    try:
        try:
            cli.main(standalone_mode=True)
        finally:
            sys.stdout.flush()
    except ResmonError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        _forget_output()
        sys.exit(1)
    except OSError as error:
        _forget_output()
        what = "Writing the output" if error.filename is None else f"Using {error.filename}"
        click.echo(f"Error: {what} failed: {error.strerror or error}.", err=True)
        sys.exit(1)


def _open_streams() -> None:
    """Outputs that were closed (`>&-`) swallow; letters that one cannot show become a sign."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _forget_output() -> None:
    """Standard output takes nothing any more: what is left of it must not fail at the end again."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
