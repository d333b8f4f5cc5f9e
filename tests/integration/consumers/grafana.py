"""What Grafana does with a dashboard before a query reaches PostgreSQL.

Belongs here: reading of dashboards, variables and macros as Grafana's data source for PostgreSQL
replaces them. No database.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resmon_resources.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "dashboards"
MACRO = re.compile(r"\$(__[A-Za-z]+)\(([^)]*)\)")
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Query:
    """A statement of a dashboard.

    Attributes:
        board: uid of its dashboard.
        title: of the panel, annotation or variable.
        sql: with macros and variables.
        format: time_series or table; variable of a variable.
        fields: columns that the panel names.
    """

    board: str
    title: str
    sql: str
    format: str
    fields: frozenset[str] = frozenset()


def boards() -> list[dict[str, Any]]:
    """All dashboards."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("json/*.json"))]


def panels_of(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Panels, those of closed rows too."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries_of(board: Mapping[str, Any]) -> Iterator[Query]:
    """Statements of variables, annotations and panels."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(board["uid"], variable["name"], variable["query"], "variable")
    for annotation in board["annotations"]["list"]:
        if "target" in annotation:
            sql = annotation["target"]["rawSql"]
            yield Query(board["uid"], annotation["name"], sql, "annotation")
    for panel in panels_of(board):
        for target in panel.get("targets", []):
            yield Query(
                board["uid"], panel["title"], target["rawSql"], target["format"], fields_of(panel)
            )


def fields_of(panel: Mapping[str, Any]) -> frozenset[str]:
    """Columns that a panel names: in overrides, links, sorting and transformations."""
    text = json.dumps(panel)
    named = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    named |= set(re.findall(r"\$\{__data\.fields\.(\w+)\}", text))
    named |= {one["displayName"] for one in panel["options"].get("sortBy", [])}
    for transformation in panel.get("transformations", []):
        named |= set(transformation["options"].get("fields", []))
    return frozenset(named)


def interpolated(
    sql: str, values: Mapping[str, str | Sequence[str]], *, start: datetime, end: datetime
) -> str:
    """The statement that PostgreSQL gets: variables first, then macros.

    Args:
        sql: of a dashboard.
        values: of variables; several values are quoted and joined, as Grafana does.
        start: of the range of time, aware.
        end: of the range, aware.

    Raises:
        KeyError: a variable or macro that is not known.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name.startswith("__"):
            return match[0]
        value = values[name]
        if isinstance(value, str):
            return value.replace("'", "''")
        return ",".join(f"'{one}'" for one in value)

    def macro_of(match: re.Match[str]) -> str:
        arguments = [one.strip() for one in match[2].split(",")]
        return MACROS[match[1]](arguments, start, end)

    return MACRO.sub(macro_of, VARIABLE.sub(value_of, sql))


def instant(at: datetime) -> str:
    """An instant as Grafana writes it."""
    return f"'{at.strftime('%Y-%m-%dT%H:%M:%S.%f')}Z'"


def time_group(arguments: Sequence[str]) -> str:
    """The start of the interval that a time lies in, seconds since 1970."""
    length = arguments[1].strip("'")
    seconds = int(length[:-1]) * SECONDS[length[-1]]
    return f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}"


MACROS = {
    "__timeFrom": lambda _, start, end: instant(start),
    "__timeTo": lambda _, start, end: instant(end),
    "__timeFilter": lambda arguments, start, end: (
        f"{arguments[0]} BETWEEN {instant(start)} AND {instant(end)}"
    ),
    "__timeGroup": lambda arguments, start, end: time_group(arguments),
}
