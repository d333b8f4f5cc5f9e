"""Options that several commands have, so that they are called and mean the same everywhere.

Belongs here: declarations. What --from and --to mean is in times.py.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def table_or_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --format table or json, and --json, which is shorter; it gets `as_json`."""

    @click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="For people, or for programs.",
    )
    @click.option("--json", "is_json", is_flag=True, help="The same as --format json.")
    @functools.wraps(command)
    def chosen(*arguments: Any, output_format: str, is_json: bool, **given: Any) -> Any:  # click's
        return command(*arguments, as_json=is_json or output_format == "json", **given)

    return chosen


def time_range(*, since: str | None) -> Callable[[_Command], _Command]:
    """Give a command --from and --to as `times.window_of` reads them: `from_text` and `to_text`.

    Args:
        since: begin where none is given; None: one must be given.
    """

    def give(command: _Command) -> _Command:
        begin = click.option(
            "--from",
            "from_text",
            metavar="TIME",
            help="Begin.",
            **({"required": True} if since is None else {"default": since, "show_default": True}),
        )
        end = click.option(
            "--to", "to_text", metavar="TIME", default="now", show_default=True, help="End, not in."
        )
        return begin(end(command))

    return give
