"""The dashboards for Grafana with the role of a tenant, as dashboards/README.md sets it up."""

from datetime import timedelta

import pytest

from tests.integration.access.tenants import ABOVE, ACME, DAY, FOREIGN, GLOBEX, servers_of
from tests.integration.consumers.grafana import boards, interpolated, queries_of

pytestmark = pytest.mark.integration

QUERIES = [query for board in boards() for query in queries_of(board)]


@pytest.mark.parametrize("organization", [0, ACME, GLOBEX])
def test_a_tenant_sees_its_own_rows_in_every_panel(tenants, organization):
    """Would let back: a panel that a reader may not ask, or that tells one tenant of another,
    whatever organization the address of the dashboard names.
    """
    servers = servers_of([ACME, GLOBEX])
    answered = set()
    with tenants.reader("acme_reader") as reader:
        for query in QUERIES:
            several = query.board != "resmon-capacity"
            values = {
                "organization": str(organization),
                "server": [str(one) for one in servers] if several else str(servers[0]),
                "scope": "subtree",
                "series": "cpu_pct",
            }
            statement = interpolated(
                query.sql, values, start=DAY - timedelta(days=1), end=DAY + timedelta(days=2)
            )
            rows = reader.execute(statement.encode()).fetchall()
            for row in rows:
                assert not FOREIGN.search(str(row)), f"{query.board}, {query.title}: {row}"
                assert not ABOVE.search(str(row)), f"{query.board}, {query.title}: {row}"
            if rows:
                answered.add((query.board, query.title))
    assert len(answered) > len(QUERIES) / 3
