"""Raw samples and the tree -> one row per organization, bucket and scope.

Belongs here: the arithmetic of the rollups. Pure: no database, no Dagster, no clock.

What the figures mean is told in docs/decisions/0009-organizations.md. In short: counts and bytes
are sums over samples; CPU carries the sum of percent times cores and the sum of cores, to be
divided last; its p95 is that of all samples together; a total of memory, disk or cores adds up each
server's mean over its own samples in the bucket.

Samples are folded in three steps, each of which leaves fewer rows: per server within a stretch of
constant ancestors; per stretch; per organization and scope. A server that had samples in several
stretches of one bucket (it moved, or its organization did) is put together again for every scope
that holds more than one of them, so that it counts once there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from resmon_assets.frames import DIRECT, INSTANT, ROLLUP_ROWS, SUBTREE, schema_of
from resmon_assets.rollup.percentiles import CellValues, Keys, keys_of
from resmon_assets.rollup.tree import Stretches
from resmon_assets.tier.expectation import expected_counts
from resmon_resources.errors import SampleUnusable

P95 = 0.95

UNITS_PER_PERCENT = 2**27
"""CPU percent times cores is summed per server as an integer in this unit, so that neither order of
arrival nor slices leave a trace. A float4 from 0.0625 on is a whole number of units, a smaller one
is off by 4e-9 at most; a day at 5 s of 32,767 busy cores stays below 2^63."""

TOTALS = ("memory_used_bytes", "memory_total_bytes", "disk_used_bytes", "disk_total_bytes")
_NETWORK = ("network_in_bytes", "network_out_bytes")

_SERVER = ["stretch", "bucket", "server_id"]
_MEASURED = ("cpu_count", *TOTALS)
"""Quantities of which a server has a mean: a sum and a count of the samples that hold them."""


@dataclass(frozen=True, slots=True)
class Folded:
    """Samples of some servers, folded.

    Attributes:
        servers: stretch, bucket (Int32, from 0), server_id, and sums over the samples; unique by
            the three, in no order.
        readings: stretch and bucket of each CPU reading, and its value, as `percentiles.keys_of`
            gives them: 8 bytes for each of a day's 28.8 million.
    """

    servers: pl.DataFrame
    readings: Keys


def fold_samples(raw: pl.DataFrame, cut: Stretches, *, start: datetime, width: timedelta) -> Folded:
    """Fold samples per server, bucket and stretch.

    Args:
        raw: columns `frames.ROLLUP_INPUT`, in any order; all samples of a server in the window.
        cut: the window's stretches; holds every organization of `raw`.
        start: of the window, aware UTC; no sample is before it.
        width: length of the half-open buckets.

    Raises:
        SampleUnusable: a CPU reading is infinite or not a number, or a sample's organization or
            instant is not among the stretches.
    """
    _refuse_not_finite(raw)
    weight = pl.max_horizontal(pl.col("cpu_count").fill_null(1).cast(pl.Int64), 1)
    units = (pl.col("cpu_pct").cast(pl.Float64) * UNITS_PER_PERCENT).round().cast(pl.Int64)
    placed = _placed(raw, cut.stretches).with_columns(
        bucket=_bucket(pl.col("collected_at"), start=start, width=width)
    )
    has_cpu = pl.col("cpu_pct").is_not_null()
    servers = (
        placed.with_columns(
            cpu_units=units * weight,
            cpu_core_sample_count=pl.when(has_cpu).then(weight).otherwise(0),
        )
        .group_by(_SERVER)
        .agg(
            pl.len().cast(pl.Int64).alias("sample_count"),
            _sum("cpu_units"),
            pl.col("cpu_core_sample_count").sum(),
            pl.col("cpu_pct").max().alias("cpu_pct_max"),
            *(pl.col(name).cast(pl.Int64).sum() for name in _MEASURED),
            *(pl.col(name).count().cast(pl.Int64).alias(f"{name}_n") for name in _MEASURED),
            *(_sum(name) for name in _NETWORK),
        )
    )
    read = placed.filter(has_cpu)
    cells = (read["bucket"] * cut.stretches.height + read["stretch"]).cast(pl.UInt32)
    return Folded(servers, keys_of(cells.to_numpy(), read["cpu_pct"].to_numpy()))


def put_together(parts: Sequence[Folded]) -> Folded:
    """The folded samples of all slices of servers; there is at least one slice."""
    return Folded(
        pl.concat([part.servers for part in parts]),
        np.concatenate([part.readings for part in parts]),
    )


def expected_by_stretch(
    periods: pl.DataFrame, cut: Stretches, *, start: datetime, end: datetime, width: timedelta
) -> pl.DataFrame:
    """Count the scheduled instants of active servers per stretch, bucket and server.

    Args:
        periods: as `expected_counts` takes them, cut to [start, end).
        cut: the window's stretches; holds every organization of `periods`.
        start: first bucket's start.
        end: end of the last bucket.
        width: length of a bucket.

    Returns:
        stretch, bucket, server_id, expected_count (Int64, > 0).
    """
    within = (
        periods.join(cut.stretches, on="organization_id", how="inner", suffix="_stretch")
        .with_columns(
            pl.max_horizontal("valid_from", "valid_from_stretch").alias("valid_from"),
            pl.min_horizontal("valid_to", "valid_to_stretch").alias("valid_to"),
            # Counted per stretch where the tiers count per organization.
            pl.col("stretch").alias("organization_id"),
        )
        .filter(pl.col("valid_from") < pl.col("valid_to"))
        .select(periods.columns)
    )
    return expected_counts(within, start=start, end=end, width=width).select(
        pl.col("organization_id").alias("stretch"),
        _bucket(pl.col("bucket_start"), start=start, width=width).alias("bucket"),
        "server_id",
        pl.col("expected_count").cast(pl.Int64),
    )


def organization_rows(
    folded: Folded, expected: pl.DataFrame, cut: Stretches, *, start: datetime, width: timedelta
) -> pl.DataFrame:
    """Roll folded samples up the tree.

    Args:
        folded: of all servers of the window; its readings are used up.
        expected: from `expected_by_stretch`, over the same buckets.
        cut: the same stretches.
        start: of the window.
        width: length of a bucket.

    Returns:
        Schema `frames.ROLLUP_ROWS`, sorted by `frames.ROLLUP_KEY`: a row wherever samples came or
        were expected. A server that was silent in the whole bucket counts only as expected.
    """
    servers = folded.servers.join(expected, on=_SERVER, how="full", coalesce=True).with_columns(
        pl.col("sample_count", "expected_count", "cpu_core_sample_count").fill_null(0)
    )
    targets = _targets(cut)
    is_whole = pl.struct("bucket", "server_id").is_unique()
    marked = servers.with_columns(is_whole.alias("is_whole"))
    split = (
        marked.filter(~pl.col("is_whole"))
        .join(targets, on="stretch", how="inner")
        .group_by("target", "bucket", "server_id")
        .agg(*_sums_of_a_server())
        .sort("target", "bucket", "server_id")
        .select("target", "bucket", *_shares())
    )
    whole = (
        marked.filter("is_whole")
        .sort("stretch", "bucket", "server_id")
        .select("stretch", "bucket", *_shares())
    )
    whole = _added(whole, "stretch").join(targets, on="stretch", how="inner", maintain_order="left")
    rows = _added(
        # Sums of floats are added in one order, that of the tree, whatever came first.
        pl.concat([whole.sort("target", "bucket", "stretch").select(split.columns), split]).sort(
            "target", "bucket", maintain_order=True
        ),
        "target",
    )
    return _finished(rows, _percentiles(folded.readings, cut, targets, rows), start, width)


def _refuse_not_finite(raw: pl.DataFrame) -> None:
    """Integers are always finite; a float column could hold what no probe can have measured."""
    wrong = raw.filter(~pl.col("cpu_pct").is_finite())
    if wrong.height:
        first = wrong.sort("server_id", "collected_at").row(0, named=True)
        msg = (
            f"Rolling samples up, the one of server {first['server_id']} at "
            f"{first['collected_at'].isoformat()} has cpu_pct {first['cpu_pct']} ({wrong.height} "
            "such samples). No probe measures that: the row was written by something else. Correct "
            "it in raw.server_resource_metrics, then compute the window again."
        )
        raise SampleUnusable(msg)


def _bucket(instant: pl.Expr, *, start: datetime, width: timedelta) -> pl.Expr:
    """Number of the bucket that holds an instant, from 0 at the window's start."""
    step = width // timedelta(microseconds=1)
    first = pl.lit(start, dtype=INSTANT).dt.epoch("us")
    return ((instant.dt.epoch("us") - first) // step).cast(pl.Int32)


def _placed(raw: pl.DataFrame, stretches: pl.DataFrame) -> pl.DataFrame:
    """Samples with the stretch of their organization at their instant."""
    lone = pl.len().over("organization_id") == 1
    steady = stretches.filter(lone).select("organization_id", "stretch")
    moving = stretches.filter(~lone)
    placed = raw.join(steady, on="organization_id", how="left", maintain_order="left")
    if moving.height:
        moved = (
            raw.join(moving.select("organization_id").unique(), on="organization_id", how="semi")
            .sort("collected_at")
            .join_asof(
                moving.select("organization_id", "stretch", "valid_from").sort("valid_from"),
                left_on="collected_at",
                right_on="valid_from",
                by="organization_id",
                strategy="backward",
                check_sortedness=False,
            )
            .select(placed.columns)
        )
        placed = pl.concat([placed.filter(pl.col("stretch").is_not_null()), moved])
    lost = placed["stretch"].null_count() + raw.height - placed.height
    if lost:
        msg = (
            f"Rolling samples up, {lost} of {raw.height} belong to organizations that are not in "
            "the tree. The organizations of a window must be read in the snapshot of its samples."
        )
        raise SampleUnusable(msg)
    return placed


def _targets(cut: Stretches) -> pl.DataFrame:
    """stretch, target: where each stretch counts to.

    A target is an organization in a scope as one number: twice its id, and one more for subtree.
    """
    direct = cut.stretches.select("stretch", (pl.col("organization_id") * 2).alias("target"))
    subtree = cut.scopes.select("stretch", (pl.col("ancestor_id") * 2 + 1).alias("target"))
    return pl.concat([direct, subtree])


def _sum(name: str) -> pl.Expr:
    """The sum of what was measured; null when nothing was."""
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)


def _sums_of_a_server() -> list[pl.Expr]:
    """A server's rows of several stretches as one."""
    counted = [f"{name}_n" for name in _MEASURED]
    return [
        pl.col("sample_count", "expected_count", "cpu_core_sample_count").sum(),
        *(_sum(name) for name in ("cpu_units", *_MEASURED, *counted, *_NETWORK)),
        pl.col("cpu_pct_max").max(),
    ]


def _shares() -> list[pl.Expr]:
    """What one server adds to a scope."""
    return [
        pl.col("sample_count", "expected_count", "cpu_core_sample_count", "cpu_pct_max"),
        (pl.col("sample_count") > 0).cast(pl.Int32).alias("server_count"),
        (pl.col("expected_count") > 0).cast(pl.Int32).alias("expected_server_count"),
        (pl.col("cpu_units").cast(pl.Float64) / UNITS_PER_PERCENT).alias("cpu_pct_core_sum"),
        *(
            pl.when(pl.col(f"{name}_n") > 0)
            .then(pl.col(name).cast(pl.Float64) / pl.col(f"{name}_n"))
            .alias(name)
            for name in _MEASURED
        ),
        pl.col(*_NETWORK),
    ]


def _added(shares: pl.DataFrame, by: str) -> pl.DataFrame:
    """Shares of equal `by` and bucket, added in the order in which they stand; sorted by both."""
    counts = ("sample_count", "expected_count", "cpu_core_sample_count")
    servers = ("server_count", "expected_server_count")
    return shares.group_by(by, "bucket", maintain_order=True).agg(
        pl.col(*counts, *servers).sum(),
        *(_sum(name) for name in ("cpu_pct_core_sum", *_MEASURED, *_NETWORK)),
        pl.col("cpu_pct_max").max(),
    )


def _percentiles(
    readings: Keys, cut: Stretches, targets: pl.DataFrame, rows: pl.DataFrame
) -> pl.DataFrame:
    """target, bucket, cpu_pct_p95 of each row that has CPU readings."""
    stretch_count = cut.stretches.height
    bucket_count = rows.select(pl.col("bucket").max().fill_null(0) + 1).item()
    values = CellValues(readings, count=bucket_count * stretch_count)
    runs = (
        targets.sort("target", "stretch")
        .with_columns(run=pl.col("stretch") - pl.int_range(pl.len()).over("target"))
        .group_by("target", "run", maintain_order=True)
        .agg(pl.col("stretch").min().alias("begin"), (pl.col("stretch").max() + 1).alias("end"))
        .group_by("target", maintain_order=True)
        .agg("begin", "end")
    )
    wanted = (
        rows.filter(pl.col("cpu_pct_max").is_not_null())
        .select("target", "bucket")
        .join(runs, on="target", how="inner", maintain_order="left")
        .with_columns(
            begin=pl.col("begin") + pl.col("bucket") * stretch_count,
            end=pl.col("end") + pl.col("bucket") * stretch_count,
        )
    )
    is_cell = (pl.col("begin").list.len() == 1) & (
        pl.col("end").list.first() - pl.col("begin").list.first() == 1
    )
    one, many = wanted.filter(is_cell), wanted.filter(~is_cell)
    of_one = values.of_cells(one["begin"].list.first().cast(pl.UInt32).to_numpy(), P95)
    of_many = [
        values.of_runs(list(zip(begin, end, strict=True)), P95)
        for begin, end in many.select("begin", "end").iter_rows()
    ]
    return pl.concat([one, many]).select(
        "target",
        "bucket",
        pl.Series("cpu_pct_p95", np.concatenate([of_one, np.array(of_many)]), dtype=pl.Float64),
    )


def _finished(
    rows: pl.DataFrame, percentiles: pl.DataFrame, start: datetime, width: timedelta
) -> pl.DataFrame:
    """Rows of a rollup table: targets as organization and scope, buckets as instants."""
    step = width // timedelta(microseconds=1)
    schema = schema_of(ROLLUP_ROWS)
    return (
        rows.join(percentiles, on=["target", "bucket"], how="left", maintain_order="left")
        # Sorted by organization, scope and bucket, as `_added` left it: the table's key.
        .with_columns(
            organization_id=pl.col("target") // 2,
            scope=pl.when(pl.col("target") % 2 == 0)
            .then(pl.lit(DIRECT))
            .otherwise(pl.lit(SUBTREE)),
            bucket_start=pl.lit(start, dtype=INSTANT)
            + pl.duration(microseconds=pl.col("bucket").cast(pl.Int64) * step),
        )
        .rename({"cpu_count": "cpu_core_count"})
        .select(schema.names())
        .cast(schema)
    )
