"""The `resmon` command: its subcommands, loaded when called, and one place that reports errors.

Belongs here: the list of commands and the translation of our errors to exit status 1. Imports no
command module at load, so that `resmon status` does not pay for Dagster.
"""

import sys
import warnings

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
    """Entry point: our own errors become one message and exit status 1."""
    # Dagster calls its own parameter beta, once per asset that a command loads.
    warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
    try:
        cli.main(standalone_mode=True)
    except ResmonError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
