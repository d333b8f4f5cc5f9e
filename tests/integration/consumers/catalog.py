"""Schema resmon as PostgreSQL's catalog has it: views, columns, functions, and their comments.

Belongs here: reading the catalog and taking comments apart. A comment of a view ends with a line
`Key: a, b.` and a line `References: a to x; b to y.`; one of a function has a line `name: text` for
each parameter and column that its first line does not explain.
"""

import re
from dataclasses import dataclass
from typing import Self

import psycopg


@dataclass(frozen=True)
class Column:
    """A column of a view or function, or a parameter."""

    name: str
    type: str
    text: str
    default: str | None = None


@dataclass(frozen=True)
class View:
    """A view of schema resmon.

    Attributes:
        name: without the schema.
        text: what a row is.
        key: columns that identify a row; a null is a value of its own.
        references: (column, view whose key it holds).
        columns: in their order.
    """

    name: str
    text: str
    key: tuple[str, ...]
    references: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, name: str, comment: str, columns: tuple[Column, ...]) -> Self:
        """Take a comment apart.

        Raises:
            ValueError: a line is neither a key nor references.
        """
        text, *lines = comment.split("\n")
        key: tuple[str, ...] = ()
        references: tuple[tuple[str, str], ...] = ()
        for line in lines:
            match = re.fullmatch(r"(Key|References): (.*)\.", line)
            if match is None:
                msg = f"The comment of view {name} has a line that tells no key: {line}"
                raise ValueError(msg)
            if match[1] == "Key":
                key = tuple(match[2].split(", "))
            else:
                pairs = (part.split(" to ") for part in match[2].split("; "))
                references = tuple((column, target) for column, target in pairs)
        return cls(name, text, key, references, columns)


@dataclass(frozen=True)
class Function:
    """A function of schema resmon.

    Attributes:
        name: without the schema.
        text: what it gives.
        parameters: in their order.
        columns: of its rows; empty when it returns one value.
        returns: type of the value, or empty.
    """

    name: str
    text: str
    parameters: tuple[Column, ...]
    columns: tuple[Column, ...]
    returns: str


def views_of(connection: psycopg.Connection) -> list[View]:
    """All views by name."""
    found = connection.execute(
        """select c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''),
            array_agg(a.attname::text order by a.attnum),
            array_agg(format_type(a.atttypid, a.atttypmod) order by a.attnum),
            array_agg(coalesce(col_description(c.oid, a.attnum), '') order by a.attnum)
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'resmon'::regnamespace and c.relkind in ('v', 'm', 'r', 'p')
        group by c.oid, c.relname
        order by c.relname"""
    ).fetchall()
    return [
        View.of(name, comment, tuple(map(Column, names, types, texts)))
        for name, comment, names, types, texts in found
    ]


def functions_of(connection: psycopg.Connection) -> list[Function]:
    """All functions by name."""
    found = connection.execute(
        """select p.proname, coalesce(obj_description(p.oid, 'pg_proc'), ''),
            p.pronargs,
            coalesce(p.proargnames, '{}'),
            array(
                select format_type(t.oid, null)
                from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
                    with ordinality as t (oid, place)
                order by t.place
            ),
            array(
                select pg_get_function_arg_default(p.oid, n)
                from generate_series(1, p.pronargs) as n
                order by n
            ),
            case when p.proretset and p.proallargtypes is not null then ''
                else pg_get_function_result(p.oid) end
        from pg_proc as p
        where p.pronamespace = 'resmon'::regnamespace
        order by p.proname, p.oid::regprocedure::text"""
    ).fetchall()
    functions = []
    for name, comment, count, names, types, defaults, returns in found:
        text, *lines = comment.split("\n")
        told = dict(line.split(": ", 1) for line in lines)
        columns = [
            Column(column, kind, told.pop(column, ""), default)
            for column, kind, default in zip(
                names, types, [*defaults, *[None] * len(names)], strict=False
            )
        ]
        if told:
            msg = f"The comment of function {name} explains what it has not: {', '.join(told)}"
            raise ValueError(msg)
        functions.append(
            Function(name, text, tuple(columns[:count]), tuple(columns[count:]), returns)
        )
    return functions
