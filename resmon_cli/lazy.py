"""Groups of commands: imported when they are called, and suggested when they are mistyped.

Belongs here: only that. Which commands there are stands in the modules of the groups.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from resmon_resources.words import suggestion

Modules = Mapping[str, tuple[str, str]]
"""Command -> (module, one line of help). The module has a click command called `<name>_command`, a
dash in the name being an underscore there."""


class NamedGroup(click.Group):
    """A group that suggests a command for one that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; the error of an unknown name says which one is close."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            ctx.fail(f"No such command {name!r}.{suggestion(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class LazyGroup(NamedGroup):
    """A group whose commands are imported when they are called."""

    def __init__(self, *arguments: Any, modules: Modules, **settings: Any) -> None:  # click's own
        super().__init__(*arguments, **settings)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the modules."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of `cmd_name`; None when there is no such command."""
        if cmd_name not in self._modules:
            return None
        module = importlib.import_module(self._modules[cmd_name][0])
        name = f"{cmd_name.replace('-', '_')}_command"
        command = getattr(module, name)
        if not isinstance(command, click.Command):
            msg = f"{module.__name__}.{name} is not a command"
            raise TypeError(msg)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._modules.items()])
