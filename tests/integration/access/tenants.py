"""Rows of several organizations in every table that readers read, made to be recognised.

The tree: `holding` with `acme` (below it `acme-eu`) and `globex` (below it `globex-eu`) below it,
and `umbrella` apart. What belongs to `holding`, `globex` and `umbrella` shows in each row by its
ids, names and numbers, so that a leak is found by looking for them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from tests.integration.access.conftest import Server

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NOON = DAY + timedelta(hours=12)

HOLDING, ACME, ACME_EU, GLOBEX, GLOBEX_EU, UMBRELLA = (
    *(600100001, 700100001, 700100002),
    *(812300001, 812300002, 812300003),
)
PARENTS = {
    HOLDING: ("holding", None),
    ACME: ("acme", HOLDING),
    ACME_EU: ("acme-eu", ACME),
    GLOBEX: ("globex", HOLDING),
    GLOBEX_EU: ("globex-eu", GLOBEX),
    UMBRELLA: ("umbrella", None),
}
OURS = (ACME, ACME_EU)
THEIRS = (HOLDING, GLOBEX, GLOBEX_EU, UMBRELLA)
NOWHERE = 500000001
"""The id of nothing."""

FOREIGN = re.compile(r"8[.]?123|globex|umbrella|holding", re.IGNORECASE)
"""Found in the text of a row that belongs to globex or umbrella, and in the name of holding."""

ABOVE = re.compile(r"6[.]?001000")
"""Found in rows of `holding`. Its id is told to those below it: as parent, and with a limit."""

PARTITIONED = {
    "raw.server_resource_metrics": "day",
    "raw.filesystem_usage": "day",
    "tier.metrics_1min": "day",
    "tier.metrics_5min": "week",
    "tier.metrics_1hour": "month",
    "tier.metrics_1day": "year",
    "tier.filesystem_1day": "year",
    "rollup.organization_metrics_5min": "week",
    "rollup.organization_metrics_1hour": "month",
    "rollup.organization_metrics_1day": "year",
    "rollup.organization_resource_usage": "month",
    "anomaly.anomaly_reports": "month",
    "anomaly.utilization_trends": "month",
    "anomaly.degradation_reports": "month",
    "forecast.headroom": "month",
    "forecast.capacity_forecasts": "month",
    "forecast.forecast_scores": "month",
}

_TEXTS = {
    "status": "ok",
    "method": "best",
    "severity": "warning",
    "verdict": "underused",
    "metric": "cpu_pct",
    "detector": "default",
    "kind": "deviation",
    "mount": "/",
    "resource": "servers",
    "state": "open",
    "rule": "cpu_high",
    "cause": "ok",
}
_NUMBERS = ("smallint", "integer", "bigint", "real", "double precision")


@dataclass(frozen=True)
class Tenants:
    """The database with these rows.

    Attributes:
        server: where it is.
        database: its name.
    """

    server: "Server"
    database: str

    @contextmanager
    def reader(self, role: str = "acme_reader") -> Iterator[psycopg.Connection[Any]]:
        """A connection of a role with its password."""
        with self.server.connect(self.database, role) as connection:
            yield connection

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection that sees everything."""
        with self.server.superuser(self.database) as connection:
            yield connection


def server_ids(organization_id: int) -> tuple[int, int]:
    """Ids of its two servers."""
    return organization_id + 10, organization_id + 20


def servers_of(organization_ids: Sequence[int]) -> list[int]:
    """Ids of the servers of these organizations."""
    return [server_id for one in organization_ids for server_id in server_ids(one)]


def add_rows(
    connection: psycopg.Connection[Any], organization_ids: Sequence[int] = tuple(PARENTS)
) -> None:
    """Organizations with two servers each, and a row of each in every table that readers read."""
    for one in organization_ids:
        name, parent_id = PARENTS[one]
        _insert(
            connection,
            "inventory.organizations",
            {"organization_id": one, "name": name, "parent_id": parent_id, "created_at": DAY},
        )
        for number, server_id in enumerate(server_ids(one)):
            _insert(
                connection,
                "inventory.servers",
                {
                    "server_id": server_id,
                    "organization_id": one,
                    "name": f"{name}-web{number}",
                    "transport": "ssh",
                    "host": f"{name}.example.org",
                    "tags": [f"of-{name}"],
                    "created_at": DAY,
                    "changed_at": DAY,
                },
            )
    for table, width in PARTITIONED.items():
        connection.execute(
            "select ops.ensure_partitions(%s, %s, %s, %s)",
            [table, width, DAY, DAY + timedelta(days=1)],
        )
    for one in organization_ids:
        _add_rows_of(connection, one)
    connection.execute("update ops.commit_counter set value = 2")
    connection.execute(
        "insert into ops.window_state "
        "(asset, window_start, revision, computed_at, complete_until, row_count, sample_count) "
        "values ('forecast.headroom', %s, 1, %s, %s, 1, 1)",
        [DAY, NOON, DAY + timedelta(days=1)],
    )


def readable_relations(connection: psycopg.Connection[Any], role: str) -> dict[str, list[str]]:
    """Every relation of ours that a role may select from, with the columns that it may."""
    rows = connection.execute(
        "select format('%%I.%%I', n.nspname, c.relname), "
        "array_agg(a.attname::text order by attnum) "
        "from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
        "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' "
        "and c.relkind in ('r', 'p', 'v', 'm', 'f') "
        "and has_schema_privilege(%(role)s, n.oid, 'usage') "
        "and has_column_privilege(%(role)s, c.oid, a.attnum, 'select') group by 1 order by 1",
        {"role": role},
    ).fetchall()
    return dict(rows)


@dataclass(frozen=True)
class Function:
    """A function of ours that a reader may call.

    Attributes:
        name: schema and name.
        parameters: names of its parameters that go in.
        needed: how many of these have no default.
        is_definer: it runs with its owner's rights.
    """

    name: str
    parameters: tuple[str, ...]
    needed: int
    is_definer: bool


def callable_functions(connection: psycopg.Connection[Any], role: str) -> list[Function]:
    """Every function of ours that a role may call; triggers cannot be called."""
    rows = connection.execute(
        "select format('%%I.%%I', n.nspname, p.proname), "
        "coalesce(p.proargnames[:p.pronargs], '{}'), p.pronargs - p.pronargdefaults, p.prosecdef "
        "from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace "
        "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' "
        "and p.prorettype <> 'trigger'::regtype and has_schema_privilege(%(role)s, n.oid, 'usage') "
        "and has_function_privilege(%(role)s, p.oid, 'execute') order by 1",
        {"role": role},
    ).fetchall()
    return [
        Function(name, tuple(names), needed, is_definer) for name, names, needed, is_definer in rows
    ]


def _add_rows_of(connection: psycopg.Connection[Any], organization_id: int) -> None:
    """The rows of one organization and its servers."""
    name, _ = PARENTS[organization_id]
    for table in PARTITIONED:
        is_of_organization = table.startswith("rollup.")
        scopes = ("direct", "subtree") if "organization_metrics" in table else (None,)
        for server_id in (None,) if is_of_organization else server_ids(organization_id):
            for scope in scopes:
                _fill(connection, table, organization_id, server_id, name=name, scope=scope)
    for server_id in server_ids(organization_id):
        _fill(connection, "raw.server_status", organization_id, server_id, name=name)
        connection.execute(
            "insert into raw.collection_coverage "
            "(server_id, started_at, ended_at, cause, instant_count) values (%s, %s, %s, 'ok', 2)",
            [server_id, DAY, NOON],
        )
        _fill(connection, "alert.alerts", organization_id, server_id, name=name)
    connection.execute(
        "insert into alert.alert_events "
        "(at, written_at, alert_id, value, kind, severity, actor, message) "
        "select opened_at, opened_at, alert_id, value, 'opened', severity, 'resmon', reason "
        "from alert.alerts where organization_id = %s order by alert_id",
        [organization_id],
    )
    # One resource that only the organization above limits, one that each limits for itself.
    for resource in ("servers", "cpu_cores") if organization_id == HOLDING else ("cpu_cores",):
        _insert(
            connection,
            "inventory.quotas",
            {
                "organization_id": organization_id,
                "resource": resource,
                "valid_from": DAY,
                "limit_value": organization_id // 10,
                "set_at": DAY,
            },
        )


def _fill(
    connection: psycopg.Connection[Any],
    table: str,
    organization_id: int,
    server_id: int | None,
    *,
    name: str,
    scope: str | None = None,
) -> None:
    """One row with something in every column that its type and name say how to fill."""
    columns = connection.execute(
        "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull "
        "from pg_attribute as a where a.attrelid = %s::regclass and a.attnum > 0 "
        "and not a.attisdropped and a.attidentity = ''",
        [table],
    ).fetchall()
    given: dict[str, object] = {"organization_id": organization_id, "scope": scope}
    given |= {"server_id": server_id, "subject": f"server:{server_id}", "commit_sequence": 2}
    given |= {"group_alert_id": None, "details": "{}", "subject_name": f"{name}-web", "level": 1}
    given |= {"resolved_at": None, "acknowledged_at": None, "superseded_at": None, "ended_at": None}
    given |= {"resolved_by": None, "acknowledged_by": None, "measured_until": NOON, "revision": 1}
    given |= {
        "cpu_cores_state": "exceeded",
        "age_days": 1,
        "coverage_ratio": 1,
        "confidence_ratio": 1,
        "cause_detail": name,
    }
    if table == "raw.server_status":
        given |= {"status": "healthy", "cause": None}
    values = {
        column: given[column]
        if column in given
        else _value(column, type_name, is_needed=is_needed, organization_id=organization_id)
        for column, type_name, is_needed in columns
    }
    _insert(connection, table, values)


def _value(column: str, type_name: str, *, is_needed: bool, organization_id: int) -> object:
    """Something of this type; numbers begin with the same digits as the organization's id."""
    if type_name in _NUMBERS:
        digits = {"smallint": 4, "integer": 8}.get(type_name, 9)
        return int(str(organization_id)[:digits])
    if type_name == "real[]":
        return [float(str(organization_id)[:6])] * 30
    if type_name == "timestamp with time zone":
        return DAY
    if type_name == "boolean":
        return False
    if type_name == "text":
        known = _TEXTS.get(column)
        return known or (f"of {PARENTS[organization_id][0]}" if is_needed else None)
    return None


def _insert(connection: psycopg.Connection[Any], table: str, values: Mapping[str, object]) -> None:
    """One row; identities are set by hand."""
    connection.execute(
        sql.SQL("insert into {} ({}) overriding system value values ({})").format(
            sql.Identifier(*table.split(".")),
            sql.SQL(", ").join(sql.Identifier(column) for column in values),
            sql.SQL(", ").join(sql.Placeholder() for _ in values),
        ),
        list(values.values()),
    )
