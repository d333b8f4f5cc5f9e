"""resmon.samples_after and its companions: what is returned, to whom, and at what cost."""

from datetime import timedelta

import pytest

from tests.integration.live.conftest import DAY_BEFORE, NOON, samples_of
from tests.one_database import commit

pytestmark = pytest.mark.integration


@pytest.fixture
def stored(postgres, fleet):
    """Three commits: all servers at noon, `other` a minute later, all of them a day too late."""
    with postgres.connect(autocommit=True) as connection:
        commit(connection, samples_of(fleet.all()))
        commit(connection, samples_of(fleet.servers["other"], NOON + timedelta(minutes=1)))
        commit(connection, samples_of(fleet.all(), DAY_BEFORE))
        connection.execute(
            "insert into raw.server_resource_metrics (collected_at, server_id, organization_id) "
            "values (%s, 1, 1)",
            [NOON + timedelta(hours=1)],
        )
        yield connection


def found(connection, *values, more=""):
    arguments = ", ".join(["%s"] * len(values)) + more
    return connection.execute(
        f"select commit_sequence, server_id, collected_at from resmon.samples_after({arguments})",
        values,
    ).fetchall()


def test_commits_come_in_their_order_late_rows_among_them(stored, fleet):
    """Lets back: rows of an outage that nobody sees because they are not of today."""
    everybody = fleet.ids("acme", "acme-eu", "other")
    assert found(stored, 0) == [
        *((1, server_id, NOON) for server_id in everybody),
        *((2, server_id, NOON + timedelta(minutes=1)) for server_id in fleet.ids("other")),
        *((3, server_id, DAY_BEFORE) for server_id in everybody),
    ]
    assert {row[0] for row in found(stored, 2)} == {3}
    assert found(stored, 3) == []


def test_an_organization_comes_with_those_below_it_or_alone(stored, fleet):
    """Lets back: a tenant's stream without its departments."""
    acme = fleet.organization_id("acme")
    both = fleet.ids("acme", "acme-eu")
    assert [row[1] for row in found(stored, 0, acme)] == [*both, *both]
    alone = found(stored, 0, acme, more=", p_include_subtree => false")
    assert [row[1] for row in alone] == [*fleet.ids("acme")] * 2
    assert found(stored, 0, 2**31 - 1) == []


def test_a_commit_is_never_cut(stored, fleet):
    """Lets back: a position that leaves out the rest of a commit, or reads its begin twice."""
    for max_rows, commits in ((1, {1}), (9, {1}), (10, {1, 2}), (13, {1, 2, 3})):
        rows = found(stored, 0, more=f", p_max_rows => {max_rows}")
        assert {row[0] for row in rows} == commits
        assert len(rows) == sum({1: 9, 2: 3, 3: 9}[number] for number in commits)


def test_the_names_and_values_are_those_of_the_view(stored):
    """Lets back: two places that tell the same column differently."""
    columns = [
        row[0]
        for row in stored.execute(
            "select unnest(proargnames[6:]) from pg_proc where proname = 'samples_after'"
        ).fetchall()
    ]
    listed = ", ".join(columns)
    of_view = stored.execute(
        f"select {listed} from resmon.server_resource_metrics where commit_sequence > 0 "
        "order by commit_sequence, server_id, collected_at"
    ).fetchall()
    assert of_view == stored.execute(f"select {listed} from resmon.samples_after(0)").fetchall()
    assert len(of_view) == 21


def test_a_look_reads_the_new_rows_and_nothing_else(stored):
    """Lets back: a consumer that reads the whole week with every look."""
    stored.execute(
        "insert into raw.server_resource_metrics "
        "(collected_at, server_id, organization_id, commit_sequence) "
        "select day + n * interval '1 second', 100 + n %% 9, 1 + n %% 3, 4 + n / 20 "
        "from generate_series(1, 20000) as n, unnest(array[%s, %s]::timestamptz[]) as day",
        [NOON, DAY_BEFORE],
    )
    stored.execute("analyze raw.server_resource_metrics")
    query = "explain (analyze, format json) select * from resmon.samples_after(%s, %s{})"

    def scans(more=""):
        nodes = [stored.execute(query.format(more), [1000, 1]).fetchone()[0][0]["Plan"]]
        for node in nodes:
            nodes += node.get("Plans", [])
        return [node for node in nodes if node.get("Schema") == "raw" or "metrics" in str(node)]

    def of_samples(nodes):
        return [
            node
            for node in nodes
            if str(node.get("Relation Name", "")).startswith("server_resource_metrics")
        ]

    read = of_samples(scans())
    assert {node["Relation Name"] for node in read} == {
        "server_resource_metrics_20260228",
        "server_resource_metrics_20260301",
        "server_resource_metrics_20260302",
    }
    assert {node["Node Type"] for node in read} == {"Index Scan"}
    assert {node["Index Cond"] for node in read} == {"(commit_sequence > '1000'::bigint)"}
    assert sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read) < 200
    recent = of_samples(scans(", p_since => '2026-03-01Z'"))
    assert {node["Relation Name"] for node in recent} == {
        "server_resource_metrics_20260301",
        "server_resource_metrics_20260302",
    }
