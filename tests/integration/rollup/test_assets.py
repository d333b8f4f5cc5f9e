"""The organization rollups on a real PostgreSQL, run by Dagster in this process."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from dagster import AssetKey

from resmon_assets.frames import POSTGRES_TYPES, ROLLUP_KEY, ROLLUP_ROWS
from resmon_assets.naming import ROLLUP_1DAY, ROLLUP_1HOUR, ROLLUP_5MIN, table_of
from resmon_assets.rollup import refresh
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.window_checks import judge_stored
from resmon_resources.postgres_connection import load_query
from tests.integration.rollup.fleet import Tree
from tests.unit.rollup.builders import HOUR, ONE_HOUR, random_world

pytestmark = pytest.mark.integration

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MIDNIGHT = HOUR.replace(hour=0)


def agree(found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> bool:
    """Equal; floats to the last bits, which depend on the order of their addition."""
    return len(found) == len(wanted) and all(
        a == pytest.approx(b, rel=1e-12, abs=0) if isinstance(b, float) else a == b
        for one, other in zip(found, wanted, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def two_levels(tree: Tree) -> tuple[int, int, int]:
    """An hour of one server in `leaf` below `top`: (top, leaf, server)."""
    top = tree.below("top", None)
    leaf = tree.below("leaf", top)
    server = tree.server("web1", leaf)
    tree.sample(server, leaf, HOUR, HOUR + ONE_HOUR)
    return top, leaf, server


@pytest.mark.parametrize(
    ("key", "width", "partition"),
    [
        (ROLLUP_5MIN, 5 * MINUTE, HOUR),
        (ROLLUP_1HOUR, ONE_HOUR, HOUR),
        (ROLLUP_1DAY, DAY, MIDNIGHT),
    ],
)
def test_rows_are_what_plain_sql_gives_and_a_second_run_writes_none(
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
    key: AssetKey,
    width: timedelta,
    partition: datetime,
) -> None:
    """Depth 10, moves of organizations and servers within the hour, gaps; raw read in slices."""
    monkeypatch.setattr(refresh, "MAXIMUM_SLICE_ROWS", 300)
    tree.load(random_world(11))
    later = MIDNIGHT + 2 * DAY
    first = tree.roll_up(key, partition, now=later)
    assert first.success
    end = partition + max(width, ONE_HOUR)
    stored = tree.stored(key, partition, end)
    assert len(stored) > 10
    assert agree(stored, tree.by_sql(width, partition, end))
    assert first.success
    second = tree.roll_up(key, partition, now=later)
    assert second.figures("rows_written", "rows_deleted") == (0, 0)
    assert second.figures("dagster/partition_row_count") == first.figures("rows_new")


def test_running_hour_has_its_closed_buckets(tree: Tree) -> None:
    """Would let back: a bucket written while its samples still come."""
    two_levels(tree)
    run = tree.roll_up(ROLLUP_5MIN, HOUR, now=HOUR + 17 * MINUTE)
    assert run.figures("samples", "complete", "coverage_ratio") == (30, False, 1.0)
    # top as subtree, leaf as both; three buckets each
    assert run.figures("rows_new") == (9,)
    assert tree.roll_up(ROLLUP_5MIN, HOUR).figures("rows_new") == (27,)


def test_refresh_computes_what_changed_and_ends_as_from_scratch(tree: Tree) -> None:
    """Would let back: a running hour rolled up whole every five minutes; or a slot left behind."""
    top, leaf, _ = two_levels(tree)
    late = tree.server("late", leaf)
    for minute in (11, 16):
        run = tree.roll_up(ROLLUP_5MIN, HOUR, now=HOUR + minute * MINUTE)
    assert run.figures("samples", "rows_new") == (30, 3)
    tree.execute("select ops.bump_raw_hour(%s, 0, %s)", (HOUR, [1, 7]))
    tree.execute(
        "insert into raw.server_resource_metrics (server_id, organization_id, collected_at, "
        "cpu_pct) values (%s, %s, %s, 99), (%s, %s, %s, 98)",
        (
            *(late, leaf, HOUR + 7 * MINUTE),
            *(late, leaf, HOUR + 38 * MINUTE),
        ),
    )
    outcome = refresh.refresh_window(
        tree.postgres, ROLLUPS[0].table, start=HOUR, now=HOUR + 20 * MINUTE
    )
    assert (outcome.buckets_computed, outcome.samples_read, outcome.sample_count) == (2, 21, 41)
    assert outcome.stored is not None
    assert (outcome.stored.new, outcome.stored.changed) == (3, 3)
    tree.move(leaf, None, HOUR + 12 * MINUTE)
    assert tree.roll_up(ROLLUP_5MIN, HOUR).success
    stored = tree.stored(ROLLUP_5MIN, HOUR, HOUR + ONE_HOUR)
    assert agree(stored, tree.by_sql(5 * MINUTE, HOUR, HOUR + ONE_HOUR))
    assert len([row for row in stored if row[0] == top]) == 3


def test_late_samples_change_their_organization_and_those_above_it(tree: Tree) -> None:
    """Would let back: a late row that reaches the leaf and not the root; or all rows rewritten."""
    top, leaf, _ = two_levels(tree)
    other = tree.below("other", None)
    silent = tree.server("db1", other)
    tree.sample(silent, other, HOUR, HOUR + ONE_HOUR)
    late = tree.server("late", leaf)
    assert tree.roll_up(ROLLUP_1HOUR, HOUR).success
    tree.sample(late, leaf, HOUR, HOUR + 10 * MINUTE)
    assert tree.roll_up(ROLLUP_1HOUR, HOUR).figures("rows_new", "rows_changed") == (0, 3)
    rows = {row[:2]: row[3:5] for row in tree.stored(ROLLUP_1HOUR, HOUR, HOUR + ONE_HOUR)}
    assert rows[top, "subtree"] == rows[leaf, "direct"] == rows[leaf, "subtree"] == (140, 2)
    assert rows[other, "direct"] == (120, 1)
    assert (top, "direct") not in rows


def test_moved_organization_keeps_its_history(tree: Tree) -> None:
    """Would let back: an old hour that changes when it is computed again after a move."""
    top, leaf, server = two_levels(tree)
    tree.sample(server, leaf, HOUR + ONE_HOUR, HOUR + 2 * ONE_HOUR)
    other = tree.below("other", None)
    for hour in (HOUR, HOUR + ONE_HOUR):
        assert tree.roll_up(ROLLUP_1HOUR, hour).success
    tree.move(leaf, other, HOUR + ONE_HOUR + 15 * MINUTE)
    assert tree.roll_up(ROLLUP_1HOUR, HOUR).figures("rows_written", "rows_deleted") == (0, 0)
    moved = tree.roll_up(ROLLUP_1HOUR, HOUR + ONE_HOUR)
    assert moved.check("keeps_every_sample").passed
    rows = tree.stored(ROLLUP_1HOUR, HOUR + ONE_HOUR, HOUR + 2 * ONE_HOUR)
    counts = {row[:2]: row[3] for row in rows}
    assert counts[top, "subtree"] == 30
    assert counts[other, "subtree"] == 90
    assert counts[leaf, "subtree"] == counts[leaf, "direct"] == 120


def test_organization_that_becomes_a_root_within_the_hour_breaks_no_check(tree: Tree) -> None:
    """Would let back: a red window, and so no usage, after every such move."""
    _, leaf, _ = two_levels(tree)
    tree.move(leaf, None, HOUR + 20 * MINUTE)
    run = tree.roll_up(ROLLUP_1HOUR, HOUR)
    assert run.check("keeps_every_sample").passed
    assert not tree.is_red(ROLLUP_1HOUR, HOUR)


def test_gap_is_a_row_without_values(tree: Tree) -> None:
    """Would let back: an organization that vanishes when all its servers are silent."""
    leaf = tree.below("leaf", None)
    tree.server("web1", leaf)
    empty = tree.below("empty", None)
    run = tree.roll_up(ROLLUP_1HOUR, HOUR)
    assert run.success
    found = tree.execute(
        "select organization_id, scope, sample_count, expected_count, server_count, "
        f"expected_server_count, cpu_pct_p95, memory_used_bytes from {table_of(ROLLUP_1HOUR)}"
    )
    assert sorted(found) == [
        (leaf, "direct", 0, 120, 0, 1, None, None),
        (leaf, "subtree", 0, 120, 0, 1, None, None),
    ]
    assert empty not in {row[0] for row in found}
    assert run.check("covers_fleet").metadata["actual"].value == 0.0


def test_window_whose_raw_is_gone_is_refused_and_kept(tree: Tree) -> None:
    """Would let back: history overwritten by nothing after retention dropped raw."""
    two_levels(tree)
    assert tree.roll_up(ROLLUP_1HOUR, HOUR).success
    tree.execute("truncate raw.server_resource_metrics")
    before = tree.stored(ROLLUP_1HOUR, HOUR, HOUR + ONE_HOUR)
    run = tree.roll_up(ROLLUP_1HOUR, HOUR)
    assert not run.success
    assert "2026-03-01" in run.error
    assert tree.stored(ROLLUP_1HOUR, HOUR, HOUR + ONE_HOUR) == before


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("cpu_pct_max = cpu_pct_p95 - 1", "keeps_order"),
        ("cpu_pct_p95 = null", "keeps_order"),
        ("cpu_pct_max = 101", "keeps_range"),
        ("memory_used_bytes = -1", "keeps_range"),
        ("network_in_bytes = -1", "keeps_range"),
    ],
)
def test_row_that_cannot_be_makes_its_window_red(tree: Tree, change: str, rule: str) -> None:
    """Would let back: a check that cannot fail."""
    two_levels(tree)
    assert tree.roll_up(ROLLUP_1HOUR, HOUR).check(rule).passed
    tree.execute(f"update {table_of(ROLLUP_1HOUR)} set {change} where scope = 'direct'")
    judgements = judge_stored(
        tree.postgres,
        ROLLUPS[1],
        windows=[HOUR],
        rising=[("cpu_pct_p95", "cpu_pct_max"), ("server_count", "sample_count")],
        together=[("cpu_pct_core_sum", "cpu_pct_p95", "cpu_pct_max")],
    )
    assert [j.rule for j in judgements if j.red] == [rule]
    assert tree.is_red(ROLLUP_1HOUR, HOUR)


@pytest.mark.parametrize("asset", ROLLUPS, ids=lambda asset: asset.name)
def test_declared_columns_are_those_of_the_table(tree: Tree, asset: Any) -> None:
    """A migration without its change in frames.py would fail at night, in a run."""
    with tree.postgres.connect() as connection:
        rows = connection.execute(
            load_query("window", "read_columns"), {"table": asset.table.name}
        ).fetchall()
        key = connection.execute(
            "select array_agg(a.attname::text order by k.place) from pg_index as i "
            "cross join unnest(i.indkey) with ordinality as k (number, place) "
            "join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.number "
            "where i.indisprimary and i.indrelid = %s::regclass",
            [asset.table.name],
        ).fetchone()
    assert rows == [(c.name, POSTGRES_TYPES[c.dtype], c.is_nullable) for c in ROLLUP_ROWS]
    assert key == (list(ROLLUP_KEY),)


def test_view_derives_shares_from_what_rows_carry(tree: Tree) -> None:
    """Would let back: an average of averages, or a share of nothing."""
    top, leaf, _ = two_levels(tree)
    big = tree.server("big", top)
    tree.sample(big, top, HOUR, HOUR + ONE_HOUR, cpu_pct=80.0)
    tree.execute(
        "update raw.server_resource_metrics set cpu_pct = 20, cpu_count = 2, "
        "memory_used_bytes = 100, memory_total_bytes = 400, network_in_bytes = 30 "
        "where organization_id = %s",
        (leaf,),
    )
    tree.execute(
        "update raw.server_resource_metrics set cpu_count = 6, memory_used_bytes = 300, "
        "memory_total_bytes = 400, network_in_bytes = 0 where organization_id = %s",
        (top,),
    )
    assert tree.roll_up(ROLLUP_1HOUR, HOUR).success
    row = tree.execute(
        "select organization_name, coverage_ratio, cpu_pct_avg, cpu_pct_max, cpu_core_count, "
        "memory_used_bytes, memory_used_pct, network_in_bytes_per_second, bucket_end "
        "from resmon.organization_metrics "
        "where granularity = '1hour' and scope = 'subtree' and organization_id = %s",
        (top,),
    )
    assert row == [("top", 1.0, 65.0, 80.0, 8.0, 400.0, 50.0, 1.0, HOUR + ONE_HOUR)]
