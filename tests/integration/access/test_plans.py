"""What row-level security costs: the same partitions, the same indexes, hardly a page more.

Times are in benchmarks/queries.py (rls_ratio); here are plans and pages, which do not depend on
the machine.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from tests.fixtures_postgres import create_database, drop_database
from tests.integration.access.conftest import ADMIN, grant

pytestmark = pytest.mark.integration

NAME = "resmon_access_plans"
SERVER_COUNT = 200
ORGANIZATION_COUNT = 20
GRANTED = 1
"""The root of a tree of all: its reader sees each row, and pays for each."""

QUERIES: Mapping[str, str] = {
    "a server at 5min": "select bucket_start, cpu_pct_avg from resmon.metric_aggregations "
    "where granularity = '5min' and server_id = 7 "
    "and bucket_start >= '2026-03-02Z' and bucket_start < '2026-03-03Z' order by bucket_start",
    "a server with its name": "select bucket_start, server_name, cpu_pct_avg "
    "from resmon.metric_aggregations where granularity = '1hour' and server_id = 7 "
    "and bucket_start >= '2026-03-01Z' and bucket_start < '2026-03-11Z'",
    "eight servers": "select server_id, bucket_start, cpu_pct_avg from resmon.metric_aggregations "
    "where granularity = '5min' and server_id = any (array[1, 2, 3, 4, 5, 6, 7, 8]) "
    "and bucket_start >= '2026-03-02Z' and bucket_start < '2026-03-03Z'",
    "overview": "select * from resmon.server_status",
    "an organization": "select * from resmon.organization_metrics where granularity = '1hour' "
    "and organization_id = 3 and scope = 'subtree' "
    "and bucket_start >= '2026-03-01Z' and bucket_start < '2026-03-31Z'",
    "top": "select server_id, max(cpu_pct_p95) from resmon.metric_aggregations "
    "where granularity = '5min' and bucket_start >= '2026-03-02Z' "
    "and bucket_start < '2026-03-03Z' group by server_id order by 2 desc limit 20",
}


@pytest.fixture(scope="module")
def connections(password_server, owned_template) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """The owner and two readers of a fleet that all of them see whole."""
    create_database(password_server.url, NAME, template=owned_template)
    with password_server.superuser(NAME) as connection:
        connection.execute(f"alter database {NAME} owner to resmon_owner")
        connection.execute(
            "insert into inventory.organizations (name, parent_id, created_at) "
            "select 'o' || n, nullif(least(n - 1, 1), 0), '2026-01-01Z' "
            "from generate_series(1, %s) as n",
            [ORGANIZATION_COUNT],
        )
        connection.execute(
            "insert into inventory.servers "
            "(organization_id, name, transport, host, created_at, changed_at) "
            "select 1 + n %% %s, 's' || n, 'ssh', 'h', '2026-01-01Z', '2026-01-01Z' "
            "from generate_series(1, %s) as n",
            [ORGANIZATION_COUNT, SERVER_COUNT],
        )
        connection.execute(
            "insert into raw.server_status (server_id, status, last_attempt_at) "
            "select server_id, 'healthy', '2026-03-03Z' from inventory.servers"
        )
        for table, width, step, days in (
            ("metrics_5min", "week", "5 minutes", 3),
            ("metrics_1hour", "month", "1 hour", 30),
        ):
            connection.execute(
                "select ops.ensure_partitions(%s, %s, '2026-02-01Z', '2026-05-01Z')",
                [f"tier.{table}", width],
            )
            connection.execute(
                f"insert into tier.{table} (bucket_start, server_id, organization_id, "
                "sample_count, expected_count, cpu_pct_avg, cpu_pct_p95) "
                "select t, s.server_id, s.organization_id, 10, 10, s.server_id, s.server_id "
                "from generate_series('2026-03-01Z'::timestamptz, "
                f"'2026-03-01Z'::timestamptz + interval '{days} days', interval '{step}') as t "
                "cross join inventory.servers as s"
            )
        connection.execute(
            "select ops.ensure_partitions('rollup.organization_metrics_1hour', 'month', "
            "'2026-02-01Z', '2026-05-01Z')"
        )
        connection.execute(
            "insert into rollup.organization_metrics_1hour (bucket_start, organization_id, scope, "
            "sample_count, expected_count, cpu_core_sample_count, server_count, "
            "expected_server_count) select t, o.organization_id, 'subtree', 1, 1, 1, 1, 1 "
            "from generate_series('2026-03-01Z'::timestamptz, '2026-04-01Z', interval '1 hour') "
            "as t cross join inventory.organizations as o"
        )
        grant(connection, "acme_reader", GRANTED)
        grant(connection, "all_reader", None)
        connection.execute("vacuum analyze")
    opened = {
        role: psycopg.connect(password_server.dsn(NAME, role), autocommit=True)
        for role in (ADMIN, "acme_reader", "all_reader")
    }
    for connection in opened.values():
        connection.execute("set max_parallel_workers_per_gather = 0")
    yield opened
    for connection in opened.values():
        connection.close()
    drop_database(password_server.url, NAME)


def plan_of(connection: psycopg.Connection[Any], query: str) -> dict[str, Any]:
    """The plan of a query that ran, as PostgreSQL tells it; warmed up first."""
    connection.execute(query)
    row = connection.execute(f"explain (analyze, buffers, format json) {query}").fetchone()
    return row[0][0]["Plan"]


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan, from the top."""
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes_of(part))]


def pages_of(plan: dict[str, Any]) -> int:
    """Pages that a query looked at."""
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def relations_of(plan: dict[str, Any]) -> set[str]:
    """Tables and partitions that were scanned for rows; what policies ask is left out."""
    asked = {"access_grant", "organization_access"}
    return {node["Relation Name"] for node in nodes_of(plan) if "Relation Name" in node} - asked


@pytest.mark.parametrize("reader", ["acme_reader", "all_reader"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_reader_reads_the_pages_that_the_owner_reads(connections, name, reader):
    """Would let back: a policy that keeps a partition from being left out, or an index unused."""
    query = QUERIES[name]
    ours, theirs = (plan_of(connections[role], query) for role in (ADMIN, reader))
    assert ours["Actual Rows"] == theirs["Actual Rows"] > 0
    assert relations_of(theirs) == relations_of(ours)
    assert pages_of(theirs) <= 1.3 * pages_of(ours) + 20


@pytest.mark.parametrize("reader", ["acme_reader", "all_reader"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_policy_is_computed_once_and_partitions_go_while_planning(connections, name, reader):
    """Would let back: grants looked up for every row, or partitions opened to be left out."""
    nodes = nodes_of(plan_of(connections[reader], QUERIES[name]))
    policies = [node for node in nodes if node.get("Parent Relationship") == "InitPlan"]
    assert policies
    assert max(node["Actual Loops"] for node in policies) <= 1
    assert not [node for node in nodes if node.get("Subplans Removed")]
    per_row = [
        node
        for node in nodes
        if node.get("Parent Relationship") == "SubPlan" and node["Actual Loops"] > 1
    ]
    assert per_row == []


@pytest.mark.parametrize("reader", ["acme_reader", "all_reader"])
def test_server_and_time_are_conditions_of_the_index(connections, reader):
    """Would let back: operators that are not leakproof, which wait until the policy was asked."""
    for name, columns in (
        ("a server at 5min", ("server_id", "bucket_start")),
        ("eight servers", ("server_id", "bucket_start")),
        ("an organization", ("organization_id", "bucket_start")),
    ):
        nodes = nodes_of(plan_of(connections[reader], QUERIES[name]))
        conditions = " ".join(node.get("Index Cond", "") for node in nodes)
        assert all(column in conditions for column in columns), name


def test_a_name_that_is_not_asked_for_is_not_looked_up(connections):
    """Would let back: a join with the inventory in every query, because a policy stands on it."""
    for reader in ("acme_reader", "all_reader"):
        plan = plan_of(connections[reader], QUERIES["a server at 5min"])
        assert relations_of(plan) == {"metrics_5min_20260302"}
