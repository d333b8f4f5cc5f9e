"""A bar on standard error while a command computes; nothing when that is not a terminal.

Belongs here: how progress of a known amount looks. Knows nothing of what is being done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from resmon_cli import render

Tell = Callable[[int, int], None]
"""Told how much is done, and of how much."""


@contextmanager
def bar(text: str) -> Iterator[Tell]:
    """Show `text` and a bar; the function that is given moves it.

    Args:
        text: what is being done: Reading cpu.csv.
    """
    console = render.console(is_error=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as it:
        task = it.add_task(text, total=None)

        def tell(done: int, total: int) -> None:
            it.update(task, completed=done, total=total)

        yield tell


@contextmanager
def rate_bar(text: str) -> Iterator[Callable[[float, int], None]]:
    """As `bar`, with rows and rows a second; told the share that is done (0 to 1), and rows."""
    console = render.console(is_error=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f} rows/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as it:
        task = it.add_task(text, total=1.0, rows=0, rate=0.0)

        def tell(share: float, rows: int) -> None:
            rate = rows / max(it.tasks[0].elapsed or 0.0, 0.001)
            it.update(task, completed=share, rows=rows, rate=rate)

        yield tell


def step_bars(*more: str, is_quiet: bool = False, is_transient: bool = False) -> Progress:
    """Bars that are added and moved by whoever gets them: how many of how many, and for how long.

    Args:
        more: texts with fields of a bar, shown behind the numbers: {task.fields[told]}.
        is_quiet: show nothing, on a terminal neither.
        is_transient: gone when all is done.
    """
    console = render.console(is_error=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(text, markup=False) for text in more),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=is_transient,
        disable=is_quiet or not console.is_terminal,
    )


def within(tell: Tell, *, done: int, size: int, total: int) -> Tell:
    """Progress of a part of `size`, before which `done` was done, as progress of the whole."""

    def tell_part(steps: int, of_steps: int) -> None:
        tell(done + size * steps // max(of_steps, 1), total)

    return tell_part
