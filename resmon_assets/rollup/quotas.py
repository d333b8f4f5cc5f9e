"""Which limit holds for each organization, and how a usage is judged by it.

Belongs here: inheritance down the tree and the states, over frames. Limits as people write them,
and one usage judged by itself, are in resmon_resources/quotas.py. Pure: no database, no clock.
"""

from datetime import datetime

import polars as pl

from resmon_assets.frames import INSTANT

QUOTAS = pl.Schema(
    {
        "organization_id": pl.Int32(),
        "resource": pl.String(),
        "valid_from": INSTANT,
        "limit_value": pl.Int64(),
    }
)
"""Rows of inventory.quotas: null takes the limit away."""

LIMITS = pl.Schema(
    {
        "organization_id": pl.Int32(),
        "resource": pl.String(),
        "limit_value": pl.Int64(),
        "limit_organization_id": pl.Int32(),
    }
)


def effective_limits(
    quotas: pl.DataFrame, closure: pl.DataFrame, *, until: datetime
) -> pl.DataFrame:
    """The limit of each organization and resource: its own, else that of the nearest above it.

    Args:
        quotas: schema `QUOTAS`, the whole history or more than is needed.
        closure: from `tree.closure`: organization_id, ancestor_id, distance.
        until: limits that held just before this instant; one set for it begins later.

    Returns:
        Schema `LIMITS`, only where there is a limit; sorted by organization_id, resource.
    """
    own = (
        quotas.filter(pl.col("valid_from") < until)
        .sort("valid_from")
        .group_by("organization_id", "resource", maintain_order=True)
        .agg(pl.col("limit_value").last())
        .drop_nulls("limit_value")
        .rename({"organization_id": "limit_organization_id"})
    )
    return (
        closure.join(own, left_on="ancestor_id", right_on="limit_organization_id", how="inner")
        .rename({"ancestor_id": "limit_organization_id"})
        .sort("organization_id", "resource", "distance")
        .unique(["organization_id", "resource"], keep="first", maintain_order=True)
        .select(*LIMITS)
    )


def state_of(used: pl.Expr, limit: pl.Expr) -> pl.Expr:
    """State of a usage against its limit, exact for any Int64: ok, warn80, warn90, exceeded.

    Null when the usage is not known or nothing limits it; a limit of 0 is kept by using nothing.
    The same as `resmon_resources.quotas.state_of`, which says why.
    """
    return (
        pl.when(used.is_null() | limit.is_null())
        .then(None)
        .when(used == 0)
        .then(pl.lit("ok"))
        .when(used >= limit)
        .then(pl.lit("exceeded"))
        .when(used >= limit - limit // 10)
        .then(pl.lit("warn90"))
        .when(used >= limit - limit // 5)
        .then(pl.lit("warn80"))
        .otherwise(pl.lit("ok"))
    )
