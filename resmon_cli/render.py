"""How values look in a terminal: bytes, rates, percents, ages, statuses, tables.

Belongs here: formatting that several commands share. Reads nothing; knows no database.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime

import click
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from resmon_resources.words import bytes_column, short_duration

NOTHING = "-"
"""Shown for what was not measured; zero is shown as zero."""

Cell = str | Text
"""What a cell of a table may hold."""

_WIDTH_WITHOUT_TERMINAL = 160
"""A pipe has no width; most tables fit into this without a fold, and `grep` wants whole lines."""
_UNBOUNDED = 10_000
_LONGEST_WORD = 40
"""What is longer without a blank (paths, URLs) may be cut."""
_SHORTEST_CUT = 8
_CRITICAL_PCT, _WARNING_PCT = 90.0, 75.0

STATUS_STYLES: Mapping[str, str] = {
    "healthy": "green",
    "warning": "yellow",
    "critical": "bold red",
    "error": "bold magenta",
    "stale": "dim",
    "waiting": "cyan",
    "paused": "dim",
    "offline": "dim",
    "deleted": "dim strike",
    "active": "green",
}


def bytes_text(value: float | None) -> str:
    """`1.5 GiB`; binary units, three significant digits at most."""
    return NOTHING if value is None else bytes_column(value)


def rate_text(bytes_per_second: float | None) -> str:
    """`1.5 MiB/s`."""
    return NOTHING if bytes_per_second is None else f"{bytes_text(bytes_per_second)}/s"


def percent_text(value: float | None, *, warning_from: float = _WARNING_PCT) -> Text:
    """`42 %`, coloured from `warning_from` and from 90 on."""
    if value is None:
        return Text(NOTHING, style="dim")
    style = ""
    if value >= _CRITICAL_PCT:
        style = STATUS_STYLES["critical"]
    elif value >= warning_from:
        style = STATUS_STYLES["warning"]
    return Text(f"{value:.0f} %" if value >= 10 else f"{value:.1f} %", style=style)  # noqa: PLR2004


def share_pct(part: float | None, whole: float | None) -> float | None:
    """`part` of `whole` in percent; None when either was not measured or the whole is nothing."""
    return None if part is None or not whole else 100.0 * part / whole


def used_text(used: float | None, total: float | None) -> str:
    """`3.1 GiB of 16.0 GiB, 19 %`."""
    share = percent_text(share_pct(used, total)).plain
    return f"{bytes_text(used)} of {bytes_text(total)}, {share}"


def duration_text(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.5 h`, `12 d`: one unit, for ages and uptimes."""
    return NOTHING if seconds is None else short_duration(seconds)


def ago_text(moment: datetime, *, now: datetime) -> str:
    """`12 min ago`."""
    return f"{short_duration((now - moment).total_seconds())} ago"


def number_text(value: float | None, *, digits: int = 2) -> str:
    """A plain number with a fixed count of decimals."""
    # Adding zero turns -0.0 into 0.0.
    return NOTHING if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def time_text(moment: datetime | None) -> str:
    """`2026-03-01 12:00:30`, UTC."""
    return NOTHING if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso_text(moment: datetime | None) -> str | None:
    """`2026-03-01T12:00:30Z` for machines; None stays None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def status_text(status: str) -> Text:
    """A status or state in its colour."""
    return Text(status, style=STATUS_STYLES.get(status, ""))


class FittingTable(Table):
    """A table that leaves columns out where the terminal is too narrow for all of them.

    Rich makes columns narrower until they fit, down to nothing, and cuts names in the middle.
    """

    spare: Sequence[str] = ()
    """Headings of the columns to do without, in this order, until the rest fits."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The widest form that fits, else the narrowest; words are cut only where none does."""
        shown = copy(self)
        for count in range(len(self.spare) + 1):
            left = [one for one in self.columns if one.header not in self.spare[:count]]
            shown.columns = [replace(one, _index=index) for index, one in enumerate(left)]
            if _fit(shown, console, options, longest_word=_LONGEST_WORD):
                break
        else:
            # Nothing more to do without: the longest words are cut, and no shorter than need be.
            any(
                _fit(shown, console, options, longest_word=length)
                for length in range(_LONGEST_WORD - 1, _SHORTEST_CUT - 1, -1)
            )
        yield from Table.__rich_console__(shown, console, options)


def _fit(table: Table, console: Console, options: ConsoleOptions, *, longest_word: int) -> bool:
    """Give columns that may be folded as much as there is, but each its longest word at least.

    False, and nothing is changed, where there is not enough for that.
    """
    unbounded = options.update(max_width=_UNBOUNDED)
    whole = Measurement.get(console, unbounded, table).maximum
    if whole <= options.max_width:
        return True
    foldable = [column for column in table.columns if not column.no_wrap]
    widest, narrowest = [], []
    for column in foldable:
        texts = [
            Text.from_markup(c) if isinstance(c, str) else c for c in (column.header, *column.cells)
        ]
        measures = [Measurement.get(console, unbounded, text) for text in texts]
        widest.append(max(one.maximum for one in measures))
        narrowest.append(min(max(one.minimum for one in measures), longest_word))
    room = options.max_width - (whole - sum(widest))
    if not foldable or sum(narrowest) > room:
        return False
    widths = list(widest)
    while sum(widths) > room:
        # The widest gives way first: what is short stays on one line.
        reducible = [place for place, width in enumerate(widths) if width > narrowest[place]]
        widths[max(reducible, key=widths.__getitem__)] -= 1
    for column, width in zip(foldable, widths, strict=True):
        column.width = width
    return True


def plain_table(*columns: str, right: Iterable[str] = (), spare: Sequence[str] = ()) -> Table:
    """An empty table in the style of all commands; the columns named in `right` are numbers.

    Args:
        columns: headings.
        right: those of numbers.
        spare: those that a narrow terminal does without, in this order.
    """
    table = FittingTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.spare = spare
    numbers = set(right)
    for column in columns:
        if column in numbers:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


def console(*, is_error: bool = False) -> Console:
    """A console on standard output (or error); wide when that is not a terminal."""
    stream = sys.stderr if is_error else sys.stdout
    width = None
    if not stream.isatty() and not os.environ.get("COLUMNS"):
        width = _WIDTH_WITHOUT_TERMINAL
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def print_json(value: object) -> None:
    """A value as indented JSON on standard output; moments as ISO 8601 in UTC."""
    click.echo(json.dumps(value, indent=2, default=_json_of))


def note(message: str) -> None:
    """A remark that is not part of the result: to standard error."""
    click.echo(message, err=True)


def _json_of(value: object) -> object:
    """What json does not know by itself."""
    if isinstance(value, datetime):
        return iso_text(value)
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)
