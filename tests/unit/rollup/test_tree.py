"""The closure of the tree of organizations against walking up it, organization by organization."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmon_assets.rollup.tree import (
    CLOSURE,
    TREE,
    TREE_PERIODS,
    closure,
    closure_in_time,
    cut_into_stretches,
)
from resmon_resources.errors import InventoryInvalid

START = datetime(2026, 3, 1, 5, tzinfo=UTC)
END = START + timedelta(hours=1)
Period = tuple[int, int | None, int, int]


def tree_of(parents: dict[int, int | None]) -> pl.DataFrame:
    """A tree from organization -> parent."""
    return pl.DataFrame(list(parents.items()), schema=TREE, orient="row")


def periods_of(*rows: Period) -> pl.DataFrame:
    """Stretches under a parent, in minutes of the hour."""
    return pl.DataFrame(
        [(o, p, START + timedelta(minutes=a), START + timedelta(minutes=b)) for o, p, a, b in rows],
        schema=TREE_PERIODS,
        orient="row",
    )


def walked(parents: dict[int, int | None], organization: int) -> list[int]:
    """The organization and those above it, step by step."""
    found = [organization]
    while (above := parents.get(found[-1])) is not None:
        found.append(above)
    return found


@settings(max_examples=50)
@given(st.lists(st.integers(min_value=0, max_value=40), max_size=40))
def test_closure_is_what_a_walk_up_the_tree_finds(choices: list[int]) -> None:
    """A level that stops early, or that loses a branch, leaves servers out of their subtrees."""
    parents = {k + 1: (c % k + 1 if k and c else None) for k, c in enumerate(choices)}
    expected = [
        (organization, above, distance)
        for organization in parents
        for distance, above in enumerate(walked(parents, organization))
    ]
    found = closure(tree_of(parents))
    assert found.schema == CLOSURE
    assert found.rows() == expected


def test_chain_of_a_thousand_is_walked_to_its_root() -> None:
    """Would let back: a fixed depth, or recursion that ends at Python's limit."""
    found = closure(tree_of({k: k - 1 if k > 1 else None for k in range(1, 1001)}))
    assert found.height == 1000 * 1001 // 2
    assert found.filter(pl.col("organization_id") == 1000)["distance"].max() == 999


def test_empty_tree_has_an_empty_closure() -> None:
    """Would let back: a first start without organizations that fails."""
    assert closure(tree_of({})).is_empty()


def test_circle_is_refused() -> None:
    """Would let back: a run that never ends."""
    with pytest.raises(InventoryInvalid, match="lie below themselves"):
        closure(tree_of({1: 2, 2: 3, 3: 1}))


def test_moves_that_form_no_circle_at_any_instant_are_no_circle() -> None:
    """A below B, later B below A: each is true in its time."""
    periods = periods_of((1, 2, 0, 30), (1, None, 30, 60), (2, None, 0, 30), (2, 1, 30, 60))
    found = closure_in_time(periods, pl.Series([1, 2], dtype=pl.Int32), start=START, end=END)
    above = found.filter(pl.col("distance") == 1)
    assert above.select("organization_id", "ancestor_id").rows() == [(1, 2), (2, 1)]
    assert above["valid_from"].to_list() == [START, START + timedelta(minutes=30)]


def test_move_cuts_the_window_of_all_below_and_of_no_other() -> None:
    """Would let back: samples from before a move that count to the new parent."""
    periods = periods_of(
        (1, None, 0, 60), (2, None, 0, 60), (3, 1, 0, 20), (3, 2, 20, 60), (4, 3, 0, 60)
    )
    cut = cut_into_stretches(
        closure_in_time(periods, pl.Series([1, 2, 4], dtype=pl.Int32), start=START, end=END)
    )
    assert cut.stretches.select("stretch", "organization_id").rows() == [
        (0, 1),
        (1, 4),
        (2, 2),
        (3, 4),
    ]
    assert cut.stretches["valid_to"].to_list()[1] == START + timedelta(minutes=20)
    assert cut.stretches["valid_from"].to_list()[3] == START + timedelta(minutes=20)
    assert cut.scopes.rows() == [(0, 1), (1, 1), (1, 3), (1, 4), (2, 2), (3, 2), (3, 3), (3, 4)]


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 59), st.integers(0, 12)), max_size=3),
        min_size=1,
        max_size=12,
    )
)
def test_stretches_tell_the_ancestors_of_every_minute(
    moves: list[list[tuple[int, int]]],
) -> None:
    """Random moves of random organizations, asked minute by minute."""
    rows: list[Period] = []
    by_minute: dict[tuple[int, int], int | None] = {}
    for k, changes in enumerate(moves):
        starts = {0: 0} | dict(changes)
        edges = sorted(starts)
        for begin, end in zip(edges, [*edges[1:], 60], strict=True):
            parent = starts[begin] % k + 1 if k and starts[begin] else None
            rows.append((k + 1, parent, begin, end))
            by_minute |= {(k + 1, minute): parent for minute in range(begin, end)}
    ids = pl.Series(range(1, len(moves) + 1), dtype=pl.Int32)
    cut = cut_into_stretches(closure_in_time(periods_of(*rows), ids, start=START, end=END))
    scopes = cut.scopes.group_by("stretch").agg("ancestor_id")
    found = {
        (organization, minute): sorted(above)
        for organization, begin, end, above in cut.stretches.join(scopes, on="stretch")
        .select("organization_id", "valid_from", "valid_to", "ancestor_id")
        .iter_rows()
        for minute in range((begin - START).seconds // 60, int((end - START).total_seconds()) // 60)
    }
    expected = {
        (k, minute): sorted(walked({o: by_minute[o, minute] for o in range(1, len(moves) + 1)}, k))
        for k in range(1, len(moves) + 1)
        for minute in range(60)
    }
    assert found == expected
