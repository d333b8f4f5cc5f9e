"""Limits inherited down the tree, by hand and against PostgreSQL's way of walking it."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_assets import frames
from resmon_assets.rollup.quotas import LIMITS, QUOTAS, effective_limits, state_of
from resmon_assets.rollup.tree import TREE, closure
from resmon_resources import quotas

UNTIL = datetime(2026, 3, 10, 13, tzinfo=UTC)
HOUR = timedelta(hours=1)
AMOUNTS = st.one_of(st.none(), st.integers(0, 100), st.integers(0, quotas.MAXIMUM_LIMIT))


def tree_of(parents: dict[int, int | None]) -> pl.DataFrame:
    return closure(pl.DataFrame(list(parents.items()), schema=TREE, orient="row"))


def set_at(*rows: tuple[int, str, datetime, int | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=QUOTAS, orient="row")


CHAIN = tree_of({1: None, **{k: k - 1 for k in range(2, 11)}})
"""Ten organizations, each below the one before."""


def test_the_nearest_limit_above_holds_at_any_depth() -> None:
    """Would let back: a root's limit that reaches past a nearer one, or stops after a level."""
    held = effective_limits(
        set_at((1, "servers", UNTIL - HOUR, 100), (5, "servers", UNTIL - HOUR, 9)),
        CHAIN,
        until=UNTIL,
    )
    assert held.schema == LIMITS
    assert held.select("organization_id", "limit_value", "limit_organization_id").rows() == [
        *((k, 100, 1) for k in range(1, 5)),
        *((k, 9, 5) for k in range(5, 11)),
    ]


def test_a_limit_holds_from_its_instant_on_until_the_next() -> None:
    """Would let back: a past hour judged by today's limit, or by one set for its very end."""
    history = set_at(
        (1, "servers", UNTIL - 3 * HOUR, 10),
        (1, "servers", UNTIL - HOUR, 20),
        (1, "servers", UNTIL, 30),
    )
    values = {
        back: effective_limits(history, CHAIN, until=UNTIL - back * HOUR)["limit_value"].to_list()
        for back in (-1, 0, 1, 2, 3)
    }
    assert values == {-1: [30] * 10, 0: [20] * 10, 1: [10] * 10, 2: [10] * 10, 3: []}


def test_none_gives_way_to_the_limit_above() -> None:
    """Would let back: a limit that was taken away and still hides the one above, or lives on."""
    history = set_at(
        (1, "servers", UNTIL - 3 * HOUR, 10),
        (2, "servers", UNTIL - 3 * HOUR, 5),
        (2, "servers", UNTIL - HOUR, None),
        (3, "memory_bytes", UNTIL - 3 * HOUR, 7),
        (3, "memory_bytes", UNTIL - HOUR, None),
    )
    held = effective_limits(history, CHAIN, until=UNTIL)
    assert set(held["limit_organization_id"]) == {1}
    assert set(held["resource"]) == {"servers"}
    assert effective_limits(history.clear(), CHAIN, until=UNTIL).is_empty()


@pytest.mark.parametrize("seed", range(5))
def test_random_trees_give_what_walking_up_by_hand_gives(seed: int) -> None:
    """Would let back: a row per ancestor instead of one, or resources mixed up."""
    rng = random.Random(seed)  # noqa: S311 - cases, no secrets
    parents = {k: rng.choice([None, *range(1, k)]) if k > 1 else None for k in range(1, 60)}
    rows = [
        (
            rng.randrange(1, 60),
            rng.choice(frames.RESOURCES),
            UNTIL + timedelta(minutes=rng.randrange(-500, 60)),
            rng.choice([None, 0, 5, 2**62]),
        )
        for _ in range(150)
    ]
    in_force: dict[tuple[int, str], int | None] = {}
    for organization, resource, _, limit in sorted(
        (row for row in rows if row[2] < UNTIL), key=lambda row: row[2]
    ):
        in_force[organization, resource] = limit
    expected = []
    for organization in parents:
        for resource in sorted(frames.RESOURCES):
            above: int | None = organization
            while above is not None and in_force.get((above, resource)) is None:
                above = parents[above]
            if above is not None:
                expected.append((organization, resource, in_force[above, resource], above))
    # Two of one organization and resource at the same instant cannot be: the key forbids it.
    unique = {(row[0], row[1], row[2]): row for row in rows}
    assert len(unique) == len(rows)
    assert effective_limits(set_at(*rows), tree_of(parents), until=UNTIL).rows() == expected


@given(used=AMOUNTS, limit=AMOUNTS)
def test_frames_are_judged_as_single_values_are(used: int | None, limit: int | None) -> None:
    """Would let back: a table and a command line that disagree about a state."""
    frame = pl.DataFrame(
        {"used": [used], "limit": [limit]}, schema={"used": pl.Int64, "limit": pl.Int64}
    )
    state = frame.select(state_of(pl.col("used"), pl.col("limit"))).item()
    assert state == quotas.state_of(used, limit)


def test_resources_have_one_list_of_names() -> None:
    """Would let back: a resource that can be limited and is never judged."""
    assert frames.RESOURCES == quotas.RESOURCES
