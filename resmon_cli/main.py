"""The `resmon` command: its subcommands, loaded when called, and one place that reports errors.

Belongs here: the list of commands and the translation of our errors to exit status 1. Imports no
command module at load, so that `resmon status` does not pay for Dagster.
"""

import importlib
import sys
import warnings

import click

from resmon_resources.errors import ResmonError

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("resmon_cli.up", "Run everything: database, Dagster, collection, and a live table."),
    "env": ("resmon_cli.environment", "Print the variables that dagster and psql need in a shell."),
    "exec": ("resmon_cli.environment", "Run one command with these variables."),
    "db": ("resmon_cli.database", "Migrate the database, or open psql."),
    "org": ("resmon_cli.organizations", "Organizations: add, list, move, remove."),
    "quota": ("resmon_cli.quotas", "Limits of organizations: set, list with what is used."),
    "server": ("resmon_cli.servers", "Servers: add, import, list, show, test, pause, remove."),
    "retention": ("resmon_cli.retention", "How long tables are kept, and what is dropped."),
    "collect": ("resmon_cli.collect", "Collect from servers now."),
    "recompute": ("resmon_cli.recompute", "Compute windows of a range again."),
    "status": ("resmon_cli.status", "State and latest values of the fleet."),
    "metrics": ("resmon_cli.metrics", "Samples or statistics of servers, as a table or a file."),
    "detect": ("resmon_cli.detect", "Find anomalies in a file of measurements."),
    "forecast": ("resmon_cli.forecast", "Forecast the series of a file of measurements."),
    "demo": ("resmon_cli.demo", "A fleet that does not exist, to try Resmon with."),
    "archive": ("resmon_cli.archive", "Archived days of samples: list, verify, restore."),
}
"""Command -> (module, one line of help). The module has a click command called `<name>_command`."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of `cmd_name`; None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = getattr(module, f"{cmd_name}_command")
        if not isinstance(command, click.Command):
            msg = f"{module.__name__}.{cmd_name}_command is not a command"
            raise TypeError(msg)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
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
