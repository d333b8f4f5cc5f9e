"""The tree of organizations: who lies below whom, now and at every instant of a window.

Belongs here: the closure of the tree, and the cutting of a window into stretches in which an
organization's ancestors stay the same. Pure: no database, no Dagster, no clock. How the history of
the tree is kept is told in docs/decisions/0009-organizations.md.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from resmon_assets.frames import INSTANT
from resmon_resources.errors import InventoryInvalid

TREE = pl.Schema({"organization_id": pl.Int32(), "parent_id": pl.Int32()})
"""The tree at one instant: `parent_id` is null at a root."""

TREE_PERIODS = pl.Schema({**TREE, "valid_from": INSTANT, "valid_to": INSTANT})
"""Rows of inventory.organization_period: half-open stretches under one parent."""

CLOSURE = pl.Schema(
    {"organization_id": pl.Int32(), "ancestor_id": pl.Int32(), "distance": pl.Int32()}
)

_WHENEVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 2, tzinfo=UTC))
"""Any window: the closure of a tree that does not move has no times."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """A window cut so that an organization's ancestors do not change within a stretch.

    Attributes:
        stretches: stretch, organization_id, valid_from, valid_to; sorted by stretch. Numbers
            (Int32, 0 and up) follow the tree: where nothing moves, those of a subtree have no
            others among them. The stretches of an organization cover the window without gaps.
        scopes: stretch, ancestor_id: each stretch counts to these organizations, itself included;
            sorted by both.
    """

    stretches: pl.DataFrame
    scopes: pl.DataFrame


def closure(tree: pl.DataFrame) -> pl.DataFrame:
    """Every organization with itself and each organization above it.

    Args:
        tree: schema `TREE`, one row per organization. A parent without a row of its own is a root.

    Returns:
        Schema `CLOSURE`: `distance` 0 for itself, 1 for the parent, and so on; sorted by
        organization_id, distance. The same frame read by ancestor_id gives subtrees.

    Raises:
        InventoryInvalid: the tree holds a circle.
    """
    start, end = _WHENEVER
    periods = tree.select(
        *TREE, valid_from=pl.lit(start, dtype=INSTANT), valid_to=pl.lit(end, dtype=INSTANT)
    )
    return closure_in_time(periods, tree["organization_id"], start=start, end=end).select(*CLOSURE)


def closure_in_time(
    periods: pl.DataFrame, organizations: pl.Series, *, start: datetime, end: datetime
) -> pl.DataFrame:
    """Each organization with those above it, and when in [start, end) they were.

    One level at a time: a row of the level below is joined with the stretches under which its
    ancestor had a parent, and keeps the time that both share.

    Args:
        periods: schema `TREE_PERIODS`; the stretches of one organization do not overlap. Where an
            organization has none it is a root.
        organizations: ids to start from, each once; only they and what is above them is walked.
        start: aware UTC.
        end: aware UTC, after `start`.

    Returns:
        Schema `CLOSURE` with valid_from and valid_to, within [start, end), sorted by
        organization_id, distance, valid_from.

    Raises:
        InventoryInvalid: at some instant the tree holds a circle.
    """
    above = periods.filter(pl.col("parent_id").is_not_null()).select(
        pl.col("organization_id").alias("ancestor_id"),
        "parent_id",
        pl.col("valid_from").alias("parent_from"),
        pl.col("valid_to").alias("parent_to"),
    )
    level = pl.DataFrame(
        {"organization_id": organizations, "ancestor_id": organizations},
        schema={"organization_id": pl.Int32(), "ancestor_id": pl.Int32()},
    ).with_columns(
        distance=pl.lit(0, dtype=pl.Int32),
        valid_from=pl.lit(start, dtype=INSTANT),
        valid_to=pl.lit(end, dtype=INSTANT),
    )
    deepest = above["ancestor_id"].n_unique()
    levels: list[pl.DataFrame] = []
    while level.height:
        levels.append(level)
        if len(levels) > deepest + 1:
            circle = sorted(level["organization_id"].unique().to_list())[:5]
            msg = (
                f"Reading the tree of organizations between {start.isoformat()} and "
                f"{end.isoformat()}: organizations {circle} lie below themselves. Such a tree can "
                "only have been written past inventory.organizations; correct "
                "inventory.organization_period."
            )
            raise InventoryInvalid(msg)
        level = (
            level.join(above, on="ancestor_id", how="inner")
            .select(
                "organization_id",
                pl.col("parent_id").alias("ancestor_id"),
                pl.col("distance") + 1,
                pl.max_horizontal("valid_from", "parent_from").alias("valid_from"),
                pl.min_horizontal("valid_to", "parent_to").alias("valid_to"),
            )
            .filter(pl.col("valid_from") < pl.col("valid_to"))
        )
    found = levels or [level]
    return pl.concat(found).sort("organization_id", "distance", "valid_from")


def cut_into_stretches(in_time: pl.DataFrame) -> Stretches:
    """Cut each organization's window where its ancestors change.

    Args:
        in_time: from `closure_in_time`.
    """
    edges = (
        pl.concat(
            [
                in_time.select("organization_id", pl.col("valid_from").alias("edge")),
                in_time.select("organization_id", pl.col("valid_to").alias("edge")),
            ]
        )
        .unique()
        .sort("organization_id", "edge")
    )
    stretches = (
        edges.select(
            "organization_id",
            pl.col("edge").alias("valid_from"),
            pl.col("edge").shift(-1).over("organization_id").alias("valid_to"),
        )
        .drop_nulls("valid_to")
        .with_row_index("found")
    )
    above = stretches.join(in_time, on="organization_id", how="inner", suffix="_above").filter(
        pl.col("valid_from_above") <= pl.col("valid_from"),
        pl.col("valid_to") <= pl.col("valid_to_above"),
    )
    numbers = _in_order_of_the_tree(above)
    return Stretches(
        stretches.join(numbers, on="found", how="inner")
        .select("stretch", "organization_id", "valid_from", "valid_to")
        .sort("stretch"),
        above.join(numbers, on="found", how="inner")
        .select("stretch", "ancestor_id")
        .sort("stretch", "ancestor_id"),
    )


def _in_order_of_the_tree(above: pl.DataFrame) -> pl.DataFrame:
    """found, stretch: stretches numbered by their paths from the root."""
    paths = (
        above.sort("found", "distance", descending=[False, True])
        .group_by("found", maintain_order=True)
        .agg("ancestor_id")
    )
    # By Python, because polars sorts no lists: 5,000 organizations of depth 10 take 5 ms.
    ordered = sorted(paths.iter_rows(), key=lambda row: (row[1], row[0]))
    return pl.DataFrame(
        {"found": [found for found, _ in ordered], "stretch": range(len(ordered))},
        schema={"found": pl.UInt32(), "stretch": pl.Int32()},
    )
