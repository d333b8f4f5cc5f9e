"""What a server can still take: headroom, verdict, rank, and the size that would fit.

Belongs here: the arithmetic of `forecast/headroom`. Pure: no database, no Dagster, no clock.

Demand is what must be carried: the higher of what 28 days have shown at the 95th percentile and the
upper edge of the 80 % band of the forecast 30 days ahead. Headroom is what is left from there to a
target below the capacity.

The 95th percentile of 28 days is taken over the 95th percentiles of its hours: percentiles do not
add up, and the samples of 28 days are not kept. It lies at or above the exact one for load that
comes in bursts within the hour (its busy minutes count as the whole hour): on the safe side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from resmon_assets.frames import HEADROOM_ROWS, INSTANT, TIER_ROWS, schema_of

WINDOW_DAYS = 28
"""Four weeks: every day of the week four times, and the work at the end of a month once."""

WINDOW_HOURS = 24 * WINDOW_DAYS

TARGETS = {"cpu": 80.0, "memory": 85.0, "disk": 85.0}
"""Percent of the capacity up to which a resource may be used. The status of a server is warning
from 75 % of CPU and memory and 85 % of disk at any instant; at the 95th percentile a little more
is allowed, and nothing near 90 %, where it is critical."""

UNDERUSED = {"cpu": 20.0, "memory": 40.0}
"""A server is underused when both stay below for all of the window: half the cores and half the
memory would still be below the targets."""

MINIMUM_COVERAGE = 0.5
"""Share of the hours of the window, below which no verdict is given: two weeks."""

UNDERUSED_COVERAGE = 0.8
"""To call a server underused asks for more: the busy week may be the one that is missing."""

WITHOUT_FORECAST = 0.5
"""Confidence is halved when a resource has no forecast: only the past speaks."""

MEMORY_STEP_BYTES = 2.0**28
"""Sizes of memory are suggested in steps of 256 MiB."""

_PERCENT = 100.0
_P95 = 0.95

METRICS = {"cpu": "cpu_pct", "memory": "memory_used_bytes", "disk": "disk_used_bytes"}
"""Metric of each resource."""

HOURS = schema_of(
    TIER_ROWS,
    only=(
        "server_id",
        "bucket_start",
        "sample_count",
        "expected_count",
        *(f"{metric}_p95" for metric in METRICS.values()),
    ),
)
"""Columns of the hourly tier that are read."""

FORECASTS = pl.Schema(
    {
        "server_id": pl.Int32(),
        "metric": pl.String(),
        "capacity": pl.Float64(),
        "upper_80_7d": pl.Float32(),
        "upper_80_30d": pl.Float32(),
    }
)
"""Forecasts of the day by the method `best`; edges are null with too little data."""

SERVERS = pl.Schema(
    {"server_id": pl.Int32(), "organization_id": pl.Int32(), "cpu_count": pl.Int16()}
)
"""Servers of the day, one row each; cores are null when never measured."""


@dataclass(frozen=True, slots=True)
class _Resource:
    """Names of the columns of one resource while it is computed, all in percent of capacity."""

    name: str

    @property
    def p95(self) -> pl.Expr:
        """Use at the 95th percentile of the window."""
        return pl.col(f"{self.name}_p95_pct")

    @property
    def ahead(self) -> pl.Expr:
        """Upper edge of the forecast 30 days ahead."""
        return pl.col(f"{self.name}_ahead_pct")

    @property
    def headroom(self) -> pl.Expr:
        """Points from the demand to the target; null when nothing was measured."""
        demand = pl.max_horizontal(self.p95, self.ahead)
        return pl.when(self.p95.is_not_null()).then(TARGETS[self.name] - demand)


_RESOURCES = tuple(_Resource(name) for name in METRICS)


def window_usage(hours: pl.DataFrame) -> pl.DataFrame:
    """Fold the hours of a window, per server.

    An hour counts with at least half of its expected samples.

    Args:
        hours: schema `HOURS`, all hours of each server in the window.

    Returns:
        server_id, measured_hours, and `<metric>_p95_28d` (Float64, null when never measured): the
        95th percentile, interpolated, of the hours' 95th percentiles.
    """
    is_measured = (pl.col("sample_count") > 0) & (
        pl.col("sample_count") * 2 >= pl.col("expected_count")
    )
    return (
        hours.filter(is_measured)
        .group_by("server_id")
        .agg(
            pl.col("bucket_start").n_unique().cast(pl.Int32).alias("measured_hours"),
            *(
                pl.col(f"{metric}_p95")
                .cast(pl.Float64)
                .quantile(_P95, interpolation="linear")
                .alias(f"{metric}_p95_28d")
                for metric in METRICS.values()
            ),
        )
    )


def headroom_rows(
    servers: pl.DataFrame, usage: pl.DataFrame, forecasts: pl.DataFrame, *, day: datetime
) -> pl.DataFrame:
    """What every server can still take at the end of a day.

    Args:
        servers: schema `SERVERS`, unique by server.
        usage: from `window_usage`; servers without a row were not measured.
        forecasts: schema `FORECASTS`, unique by server and metric.
        day: start of the UTC day.

    Returns:
        Schema `frames.HEADROOM_ROWS`, a row per server of `servers`, by server. Rank 1 has the
        most room; servers of which nothing is known have none.
    """
    joined = servers.sort("server_id").join(
        usage, on="server_id", how="left", validate="1:1", maintain_order="left"
    )
    for name, metric in METRICS.items():
        of_metric = forecasts.filter(pl.col("metric") == metric).select(
            "server_id",
            pl.col("capacity").alias(f"{name}_capacity"),
            pl.col("upper_80_7d").alias(f"{metric}_upper_80_7d"),
            pl.col("upper_80_30d").alias(f"{metric}_upper_80_30d"),
        )
        joined = joined.join(
            of_metric, on="server_id", how="left", validate="1:1", maintain_order="left"
        )
    rows = joined.with_columns(
        pl.col("measured_hours").fill_null(0), bucket_start=pl.lit(day, dtype=INSTANT)
    )
    rows = _with_shares(rows)
    rows = rows.with_columns(
        *(r.headroom.alias(f"{r.name}_headroom_pct") for r in _RESOURCES),
        coverage_ratio=(pl.col("measured_hours") / WINDOW_HOURS).clip(0.0, 1.0),
    )
    rows = _with_limit(rows)
    rows = rows.with_columns(_verdict().alias("verdict"), *_sizes())
    rows = _with_ranks(rows)
    rows = rows.with_columns(_suggestion().alias("suggestion"))
    return rows.select(pl.col(name).cast(dtype) for name, dtype in schema_of(HEADROOM_ROWS).items())


def _with_shares(rows: pl.DataFrame) -> pl.DataFrame:
    """Use and forecast of every resource in percent of its capacity."""
    columns = []
    for name, metric in METRICS.items():
        # What CPU is a share of is 100 %, whatever a forecast says.
        capacity = pl.lit(_PERCENT) if name == "cpu" else pl.col(f"{name}_capacity")
        known = pl.when(capacity > 0).then(capacity)
        columns += [
            (_PERCENT * pl.col(f"{metric}_p95_28d") / known).alias(f"{name}_p95_pct"),
            (_PERCENT * pl.col(f"{metric}_upper_80_30d").cast(pl.Float64) / known).alias(
                f"{name}_ahead_pct"
            ),
        ]
    return rows.with_columns(columns)


def _with_limit(rows: pl.DataFrame) -> pl.DataFrame:
    """The resource of which the smallest share of its target is left, and that share."""
    shares = {r.name: pl.col(f"{r.name}_headroom_pct") / TARGETS[r.name] for r in _RESOURCES}
    least = pl.min_horizontal(*shares.values())
    limiting: pl.Expr = pl.lit(None, dtype=pl.String)
    for name, share in reversed(shares.items()):
        limiting = pl.when(share == least).then(pl.lit(name)).otherwise(limiting)
    has_forecasts = pl.all_horizontal(r.ahead.is_not_null() for r in _RESOURCES)
    return rows.with_columns(
        headroom_ratio=least,
        limiting_resource=limiting,
        confidence_ratio=pl.col("coverage_ratio")
        * pl.when(has_forecasts).then(1.0).otherwise(WITHOUT_FORECAST),
        memory_total_bytes=pl.col("memory_capacity"),
        disk_total_bytes=pl.col("disk_capacity"),
        cpu_headroom_cores=pl.col("cpu_headroom_pct") / _PERCENT * pl.col("cpu_count"),
        memory_headroom_bytes=pl.col("memory_headroom_pct") / _PERCENT * pl.col("memory_capacity"),
        disk_headroom_bytes=pl.col("disk_headroom_pct") / _PERCENT * pl.col("disk_capacity"),
    )


def _verdict() -> pl.Expr:
    """underused, balanced, overloaded or unknown.

    Overloaded by what was measured alone: a forecast says when, not that it is.
    """
    is_over = pl.any_horizontal(r.p95 >= TARGETS[r.name] for r in _RESOURCES)
    is_under = pl.all_horizontal(
        *(r.p95 < UNDERUSED[r.name] for r in _RESOURCES if r.name in UNDERUSED),
        pl.col("coverage_ratio") >= UNDERUSED_COVERAGE,
    )
    is_known = (
        (pl.col("coverage_ratio") >= MINIMUM_COVERAGE)
        & pl.col("cpu_p95_pct").is_not_null()
        & pl.col("memory_p95_pct").is_not_null()
    )
    return (
        pl.when(~is_known)
        .then(pl.lit("unknown"))
        .when(is_over.fill_null(value=False))
        .then(pl.lit("overloaded"))
        .when(is_under)
        .then(pl.lit("underused"))
        .otherwise(pl.lit("balanced"))
    )


def _sizes() -> list[pl.Expr]:
    """Cores and memory that would put the 95th percentile of the window at its target."""
    is_covered = pl.col("coverage_ratio") >= MINIMUM_COVERAGE
    cores = (pl.col("cpu_count") * pl.col("cpu_p95_pct") / TARGETS["cpu"]).ceil().clip(1.0)
    memory = pl.col("memory_used_bytes_p95_28d") / (TARGETS["memory"] / _PERCENT)
    return [
        pl.when(is_covered).then(cores).alias("suggested_cpu_count"),
        pl.when(is_covered)
        .then((memory / MEMORY_STEP_BYTES).ceil().clip(1.0) * MEMORY_STEP_BYTES)
        .alias("suggested_memory_bytes"),
    ]


def _with_ranks(rows: pl.DataFrame) -> pl.DataFrame:
    """Ranks by headroom, the most first; equal headroom by server, so that a rerun is the same."""
    ranked = (
        rows.filter(pl.col("headroom_ratio").is_not_null())
        .sort("headroom_ratio", "server_id", descending=[True, False])
        .select("server_id", "organization_id")
        .with_columns(
            rank_in_fleet=pl.int_range(1, pl.len() + 1),
            rank_in_organization=pl.int_range(1, pl.len() + 1).over("organization_id"),
        )
        .drop("organization_id")
    )
    return rows.join(ranked, on="server_id", how="left", validate="1:1", maintain_order="left")


def _suggestion() -> pl.Expr:
    """Which size would fit, in words; null when the present one does, or nothing is known."""
    parts: Mapping[str, tuple[pl.Expr, pl.Expr, str]] = {
        "cores": (pl.col("suggested_cpu_count"), pl.col("cpu_count"), "cores"),
        "memory": (
            pl.col("suggested_memory_bytes") / 2**30,
            pl.col("memory_total_bytes") / 2**30,
            "GiB of memory",
        ),
    }
    words = []
    for wanted, present, unit in parts.values():
        is_shrink = (pl.col("verdict") == "underused") & (wanted < present)
        is_growth = (pl.col("verdict") == "overloaded") & (wanted > present)
        text = pl.format("{} instead of {} " + unit, _number(wanted), _number(present))
        words.append(pl.when(is_shrink | is_growth).then(text))
    both = pl.concat_str(words, separator=" and ", ignore_nulls=True)
    return pl.when(both != "").then(
        pl.format("{} would put the p95 of 28 days at its target.", both)
    )


def _number(value: pl.Expr) -> pl.Expr:
    """A size for a person: 4, 7.5, 0.25."""
    text = value.cast(pl.Float64).round(2).cast(pl.String)
    return text.str.strip_suffix(".0")
