"""The reference of docs/sql.md and the contract of schema resmon, as text.

Belongs here: how views and functions of the catalog become Markdown and lines to compare. What
they say stands in the comments of sql/repeatable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.integration.consumers.catalog import Column, Function, View

BEGIN = "<!-- The reference is written from the comments in the database: edit those. -->"
END = "<!-- End of the reference. -->"

SOURCES = ("metric_aggregations", "server_resource_metrics", "headroom", "servers", "organizations")
"""Views that explain a column of a function that is theirs."""

TYPES = {
    "timestamp with time zone": "timestamptz",
    "double precision": "double precision",
    "timestamp with time zone[]": "timestamptz[]",
}
"""Types by the shorter name that everybody writes."""


def reference_of(views: Sequence[View], functions: Sequence[Function]) -> str:
    """The reference: lists with links, then a table per view and per function."""
    lines = ["### Views", "", "| View | |", "|---|---|"]
    lines += [f"| [{view.name}](#view-{view.name}) | {_first(view.text)} |" for view in views]
    lines += ["", "### Functions", "", "| Function | |", "|---|---|"]
    lines += [
        f"| [{function.name}](#function-{function.name}) | {_first(function.text)} |"
        for function in functions
    ]
    for view in views:
        lines += ["", *_view(view)]
    for function in functions:
        lines += ["", *_function(function, views)]
    return "\n".join(lines) + "\n"


def contract_of(views: Sequence[View], functions: Sequence[Function]) -> list[str]:
    """One line per view, column, function, parameter and column of a function, in their order."""
    lines = []
    for view in views:
        lines.append(f"view {view.name}")
        lines += [f"view {view.name} column {c.name} {c.type}" for c in view.columns]
    for function in functions:
        lines.append(f"function {function.name} {function.returns or 'rows'}")
        lines += [
            f"function {function.name} parameter {n} {c.name} {c.type}"
            + ("" if c.default is None else " optional")
            for n, c in enumerate(function.parameters, start=1)
        ]
        lines += [f"function {function.name} column {c.name} {c.type}" for c in function.columns]
    return lines


def _view(view: View) -> Iterator[str]:
    """Section of a view."""
    yield f"#### View {view.name}"
    yield ""
    yield view.text
    yield ""
    yield f"Key: {_names(view.key)}. " + " ".join(
        f"`{column}` is a key of [{target}](#view-{target})." for column, target in view.references
    )
    yield ""
    yield "| Column | Type | |"
    yield "|---|---|---|"
    yield from _rows(view.columns)


def text_of(function: Function, column: Column, views: Sequence[View]) -> str:
    """What a column of a function is: as its comment says, else as that of a view of that name.

    The view that has the function's name comes first, then those that functions are made of.
    """
    if column.text:
        return column.text
    order = [function.name, *SOURCES]
    for view in sorted(views, key=lambda v: order.index(v.name) if v.name in order else 99):
        for other in view.columns:
            if other.name == column.name:
                return other.text
    return ""


def _function(function: Function, views: Sequence[View]) -> Iterator[str]:
    """Section of a function."""
    yield f"#### Function {function.name}"
    yield ""
    yield function.text
    yield ""
    if function.returns:
        yield f"Returns {_type(function.returns)}."
        yield ""
    if function.parameters:
        yield "| Parameter | Type | Default | |"
        yield "|---|---|---|---|"
        for column in function.parameters:
            default = "" if column.default is None else f"`{_default(column.default)}`"
            yield f"| `{column.name}` | {_type(column.type)} | {default} | {_cell(column.text)} |"
    if function.columns:
        if function.parameters:
            yield ""
        yield "| Column | Type | |"
        yield "|---|---|---|"
        yield from _rows(
            [replace(column, text=text_of(function, column, views)) for column in function.columns]
        )


def _rows(columns: Sequence[Column]) -> Iterator[str]:
    """Rows of a table of columns."""
    for column in columns:
        yield f"| `{column.name}` | {_type(column.type)} | {_cell(column.text)} |"


def _names(names: Sequence[str]) -> str:
    """Names as code."""
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|")


def _first(text: str) -> str:
    """The first sentence, for a list."""
    return _cell(text.partition(". ")[0].removesuffix(".") + ".")


def _type(name: str) -> str:
    """A type by its short name."""
    return TYPES.get(name, name)


def _default(text: str) -> str:
    """A default without the cast that PostgreSQL writes behind it."""
    shown = text.partition("::")[0]
    return "null" if shown == "NULL" else shown
