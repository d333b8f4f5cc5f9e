"""Columns of the tables as polars sees them, with units: named here and nowhere else.

Belongs here: names, dtypes and units in the order of the tables (a test compares them with the
database), and the names of metrics and statistics. Computes nothing. Imports polars only.
"""

from dataclasses import dataclass
from itertools import product

import polars as pl

INSTANT = pl.Datetime("us", "UTC")
"""How every instant is held: microseconds, aware UTC, as timestamptz."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: as in the database.
        dtype: polars type that holds every value of the database's type exactly.
        unit: what one step of the number means; empty for identifiers and instants.
        is_nullable: whether null, "not measured", can occur.
    """

    name: str
    dtype: pl.DataType
    unit: str = ""
    is_nullable: bool = True


POSTGRES_TYPES: dict[pl.DataType, str] = {
    INSTANT: "timestamp with time zone",
    pl.Int16(): "smallint",
    pl.Int32(): "integer",
    pl.Int64(): "bigint",
    pl.Float32(): "real",
    pl.Float64(): "double precision",
    pl.String(): "text",
    pl.Boolean(): "boolean",
    pl.Date(): "date",
    pl.List(pl.Float32()): "real[]",
}
"""PostgreSQL's name of the type that each dtype stands for."""


METRICS = {
    "cpu_pct": "percent",
    "memory_used_bytes": "bytes",
    "disk_used_bytes": "bytes",
    "network_in_bytes_per_second": "bytes per second",
    "network_out_bytes_per_second": "bytes per second",
}
"""Quantities that the tiers hold statistics of, and their units."""

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
STATISTICS = ("avg", "min", "max", *PERCENTILES)

KEY = ("server_id", "organization_id", "bucket_start")
"""Primary key of every tier table, in its order: time last, so that an hour's rows extend a run of
keys and the index keeps half the size (docs/decisions/0008-compact-rows.md)."""

RAW_SAMPLES = (
    Column("collected_at", INSTANT, is_nullable=False),
    Column("memory_used_bytes", pl.Int64(), "bytes"),
    Column("memory_total_bytes", pl.Int64(), "bytes"),
    Column("disk_used_bytes", pl.Int64(), "bytes"),
    Column("disk_total_bytes", pl.Int64(), "bytes"),
    Column("network_in_bytes", pl.Int64(), "bytes since the previous reading"),
    Column("network_out_bytes", pl.Int64(), "bytes since the previous reading"),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("elapsed_ms", pl.Int32(), "milliseconds since the previous reading"),
    Column("uptime_seconds", pl.Int32(), "seconds"),
    Column("cpu_pct", pl.Float32(), "percent"),
    Column("load_1m", pl.Float32(), "runnable tasks"),
    Column("load_5m", pl.Float32(), "runnable tasks"),
    Column("load_15m", pl.Float32(), "runnable tasks"),
    Column("clock_skew_seconds", pl.Float32(), "seconds"),
    Column("cpu_count", pl.Int16(), "cores"),
    Column("commit_sequence", pl.Int64()),
)
"""raw.server_resource_metrics."""

ARCHIVED_SAMPLES = (
    "server_id",
    "organization_id",
    "collected_at",
    "cpu_pct",
    "cpu_count",
    "memory_used_bytes",
    "memory_total_bytes",
    "disk_used_bytes",
    "disk_total_bytes",
    "network_in_bytes",
    "network_out_bytes",
    "elapsed_ms",
    "load_1m",
    "load_5m",
    "load_15m",
    "uptime_seconds",
    "clock_skew_seconds",
)
"""Columns of raw that are archived, in the order of its files: all but commit_sequence, which means
something to live consumers only and is null in restored rows."""

RAW_FILE_SYSTEMS = (
    Column("collected_at", INSTANT, is_nullable=False),
    Column("total_bytes", pl.Int64(), "bytes"),
    Column("used_bytes", pl.Int64(), "bytes"),
    Column("available_bytes", pl.Int64(), "bytes"),
    Column("inodes_total", pl.Int64(), "inodes"),
    Column("inodes_used", pl.Int64(), "inodes"),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("mount", pl.String(), is_nullable=False),
    Column("device", pl.String(), is_nullable=False),
    Column("type", pl.String()),
)
"""raw.filesystem_usage."""

FILE_SYSTEM_KEY = ("server_id", "mount", "organization_id", "bucket_start")
"""Primary key of tier.filesystem_1day, in its order."""

FILE_SYSTEM_DAYS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    Column("used_bytes_avg", pl.Float64(), "bytes"),
    Column("used_bytes_min", pl.Int64(), "bytes"),
    Column("used_bytes_max", pl.Int64(), "bytes"),
    Column("used_bytes_last", pl.Int64(), "bytes"),
    Column("available_bytes_min", pl.Int64(), "bytes"),
    Column("available_bytes_last", pl.Int64(), "bytes"),
    Column("total_bytes_last", pl.Int64(), "bytes"),
    Column("inodes_used_avg", pl.Float64(), "inodes"),
    Column("inodes_used_min", pl.Int64(), "inodes"),
    Column("inodes_used_max", pl.Int64(), "inodes"),
    Column("inodes_used_last", pl.Int64(), "inodes"),
    Column("inodes_total_last", pl.Int64(), "inodes"),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("sample_count", pl.Int32(), "samples", is_nullable=False),
    Column("measured_count", pl.Int32(), "samples", is_nullable=False),
    Column("mount", pl.String(), is_nullable=False),
    Column("device", pl.String(), is_nullable=False),
    Column("type", pl.String()),
)
"""tier.filesystem_1day."""

TIER_INPUT = (
    "server_id",
    "organization_id",
    "collected_at",
    "cpu_pct",
    "memory_used_bytes",
    "disk_used_bytes",
    "network_in_bytes",
    "network_out_bytes",
    "elapsed_ms",
)
"""Columns of raw that the tiers are computed from."""

TIER_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("sample_count", pl.Int32(), "samples", is_nullable=False),
    Column("expected_count", pl.Int32(), "samples", is_nullable=False),
    *(
        Column(f"{metric}_{statistic}", pl.Float32(), unit)
        for (metric, unit), statistic in product(METRICS.items(), STATISTICS)
    ),
)
"""tier.metrics_1min, _5min, _1hour and _1day."""

RESOURCES = ("servers", "cpu_cores", "memory_bytes", "storage_bytes", "bandwidth_bytes_per_month")
"""What a quota can limit; the names are those of resmon_resources/quotas.py (tested)."""

RESOURCE_USAGE_KEY = ("organization_id", "bucket_start")

RESOURCE_USAGE_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("measured_until", INSTANT, is_nullable=False),
    Column("server_count", pl.Int32(), "servers", is_nullable=False),
    Column("measured_server_count", pl.Int32(), "servers", is_nullable=False),
    Column("cpu_cores", pl.Int32(), "cores"),
    Column("memory_total_bytes", pl.Int64(), "bytes"),
    Column("memory_used_bytes", pl.Int64(), "bytes"),
    Column("storage_total_bytes", pl.Int64(), "bytes"),
    Column("storage_used_bytes", pl.Int64(), "bytes"),
    Column("network_in_bytes", pl.Int64(), "bytes since the month began"),
    Column("network_out_bytes", pl.Int64(), "bytes since the month began"),
    *(
        column
        for resource in RESOURCES
        for column in (
            Column(f"{resource}_limit", pl.Int64(), resource),
            Column(f"{resource}_limit_organization_id", pl.Int32()),
            Column(f"{resource}_state", pl.String()),
        )
    ),
)
"""rollup.organization_resource_usage."""

ROLLUP_KEY = ("organization_id", "scope", "bucket_start")
"""Primary key of every table of organization metrics, in its order."""

DIRECT, SUBTREE = "direct", "subtree"
"""Scopes of a rollup: the servers of the organization itself; those and all below it."""

ROLLUP_INPUT = (
    "server_id",
    "organization_id",
    "collected_at",
    "cpu_pct",
    "cpu_count",
    "memory_used_bytes",
    "memory_total_bytes",
    "disk_used_bytes",
    "disk_total_bytes",
    "network_in_bytes",
    "network_out_bytes",
)
"""Columns of raw that the rollups are computed from."""

ROLLUP_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    Column("sample_count", pl.Int64(), "samples", is_nullable=False),
    Column("expected_count", pl.Int64(), "samples", is_nullable=False),
    Column("cpu_pct_core_sum", pl.Float64(), "percent times cores, over samples"),
    Column("cpu_core_sample_count", pl.Int64(), "cores, over samples", is_nullable=False),
    Column("cpu_core_count", pl.Float64(), "cores"),
    Column("memory_used_bytes", pl.Float64(), "bytes"),
    Column("memory_total_bytes", pl.Float64(), "bytes"),
    Column("disk_used_bytes", pl.Float64(), "bytes"),
    Column("disk_total_bytes", pl.Float64(), "bytes"),
    Column("network_in_bytes", pl.Int64(), "bytes"),
    Column("network_out_bytes", pl.Int64(), "bytes"),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("server_count", pl.Int32(), "servers", is_nullable=False),
    Column("expected_server_count", pl.Int32(), "servers", is_nullable=False),
    Column("cpu_pct_max", pl.Float32(), "percent"),
    Column("cpu_pct_p95", pl.Float32(), "percent"),
    Column("scope", pl.String(), is_nullable=False),
)
"""rollup.organization_metrics_5min, _1hour and _1day."""

WHOLE_SERVER = "*"
"""Metric of an episode in which several metrics of a server moved together."""

EPISODE_KEY = ("server_id", "metric", "detector", "kind", "started_at", "revision")
"""Primary key of every table of episodes, in its order."""

EPISODE_ROWS = (
    Column("started_at", INSTANT, is_nullable=False),
    Column("ended_at", INSTANT),
    Column("peak_at", INSTANT, is_nullable=False),
    Column("superseded_at", INSTANT),
    Column("peak_value", pl.Float64()),
    Column("baseline", pl.Float64()),
    Column("usual_low", pl.Float64()),
    Column("usual_high", pl.Float64()),
    Column("change_percent", pl.Float64()),
    Column("score", pl.Float32(), "share of 1", is_nullable=False),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("revision", pl.Int32(), is_nullable=False),
    Column("has_late_input", pl.Boolean(), is_nullable=False),
    Column("metric", pl.String(), is_nullable=False),
    Column("detector", pl.String(), is_nullable=False),
    Column("kind", pl.String(), is_nullable=False),
    Column("severity", pl.String(), is_nullable=False),
    Column("reason", pl.String(), is_nullable=False),
    Column("quiet_reason", pl.String()),
)
"""anomaly.anomaly_reports and anomaly.degradation_reports: values are in the unit of the metric."""

DEGRADATION_KEY = (*EPISODE_KEY, "bucket_start")
"""Primary key of anomaly.degradation_reports, in its order."""

DEGRADATION_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    *EPISODE_ROWS,
    Column("least_rise", pl.Float64(), "the metric's", is_nullable=False),
    Column("end_reason", pl.String()),
)
"""anomaly.degradation_reports: what each day knew of each episode."""

UTILIZATION_TREND_KEY = ("server_id", "metric", "bucket_start")
"""Primary key of anomaly.utilization_trends, in its order."""

UTILIZATION_TREND_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    *(
        column
        for span in (7, 30)
        for column in (
            Column(f"mean_{span}d", pl.Float32(), "the metric's"),
            Column(f"slope_per_day_{span}d", pl.Float32()),
            Column(f"p_value_{span}d", pl.Float32(), "probability"),
            Column(f"change_percent_{span}d", pl.Float32()),
        )
    ),
    Column("measured_days_7d", pl.Int16(), "days", is_nullable=False),
    Column("measured_days_30d", pl.Int16(), "days", is_nullable=False),
    Column("is_deseasonalised", pl.Boolean(), is_nullable=False),
    Column("metric", pl.String(), is_nullable=False),
    Column("direction_7d", pl.String()),
    Column("direction_30d", pl.String()),
)
"""anomaly.utilization_trends: slopes and changes may be negative and have no unit in the sense of
`judge_range`."""

HEADROOM_KEY = ("server_id", "bucket_start")
"""Primary key of forecast.headroom, in its order."""

HEADROOM_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    *(
        Column(f"{resource}_{name}", pl.Float64(), "bytes")
        for resource in ("memory", "disk")
        for name in (
            "total_bytes",
            "used_bytes_p95_28d",
            "used_bytes_upper_80_7d",
            "used_bytes_upper_80_30d",
        )
    ),
    Column("memory_headroom_bytes", pl.Float64()),
    Column("disk_headroom_bytes", pl.Float64()),
    Column("suggested_memory_bytes", pl.Float64(), "bytes"),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("rank_in_fleet", pl.Int32(), "servers"),
    Column("rank_in_organization", pl.Int32(), "servers"),
    Column("cpu_pct_p95_28d", pl.Float32(), "percent"),
    Column("cpu_pct_upper_80_7d", pl.Float32(), "percent"),
    Column("cpu_pct_upper_80_30d", pl.Float32(), "percent"),
    Column("cpu_headroom_pct", pl.Float32()),
    Column("memory_headroom_pct", pl.Float32()),
    Column("disk_headroom_pct", pl.Float32()),
    Column("cpu_headroom_cores", pl.Float32()),
    Column("headroom_ratio", pl.Float32()),
    Column("coverage_ratio", pl.Float32(), "share of the hours", is_nullable=False),
    Column("confidence_ratio", pl.Float32(), "share of 1", is_nullable=False),
    Column("cpu_count", pl.Int16(), "cores"),
    Column("suggested_cpu_count", pl.Int16(), "cores"),
    Column("measured_hours", pl.Int16(), "hours", is_nullable=False),
    Column("limiting_resource", pl.String()),
    Column("verdict", pl.String(), is_nullable=False),
    Column("suggestion", pl.String()),
)
"""forecast.headroom: what a server can still take may be negative, and has no unit here."""

SEVERITIES = ("info", "warning", "critical")
"""Of an episode, rising."""

HORIZON_DAYS = 30
"""Days that a capacity forecast looks ahead: elements of its arrays, element k is day D + k."""

LIMIT_PERCENTS = (85, 90, 100)
"""Shares of capacity whose day of being reached is told."""

CAPACITY_FORECAST_KEY = (
    "organization_id",
    "server_id",
    "metric",
    "mount",
    "method",
    "bucket_start",
)
"""Primary key of forecast.capacity_forecasts, in its order."""

BANDS = ("lower_80", "upper_80", "lower_95", "upper_95")

CAPACITY_FORECAST_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    Column("capacity", pl.Float64(), "the metric's"),
    Column("last_value", pl.Float64(), "the metric's"),
    # Without a unit in the sense of `judge_range`: they may be negative.
    Column("slope_per_day", pl.Float64()),
    Column("intercept", pl.Float64()),
    Column("r_squared", pl.Float64(), "share of the variance"),
    Column("p_value", pl.Float64(), "probability"),
    Column("scale", pl.Float64(), "the metric's"),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("history_days", pl.Int32(), "days", is_nullable=False),
    Column("backtest_mase", pl.Float32(), "mean absolute change from day to day"),
    *(
        Column(f"reach_{percent}_{name}", pl.Date())
        for percent in LIMIT_PERCENTS
        for name in ("on", "earliest", "latest")
    ),
    *(
        Column(name, pl.List(pl.Float32()), "the metric's, a value for each day ahead")
        for name in ("value", *BANDS)
    ),
    Column("metric", pl.String(), is_nullable=False),
    Column("mount", pl.String(), is_nullable=False),
    Column("method", pl.String(), is_nullable=False),
    Column("status", pl.String(), is_nullable=False),
    Column("trend", pl.String()),
    Column("model", pl.String()),
    *(Column(f"reach_{percent}_reason", pl.String()) for percent in LIMIT_PERCENTS),
    Column("choice", pl.String()),
)
"""forecast.capacity_forecasts."""

FORECAST_SCORE_KEY = (
    *("organization_id", "server_id", "metric", "mount", "method", "age_days"),
    "bucket_start",
)
"""Primary key of forecast.forecast_scores, in its order."""

FORECAST_SCORE_ROWS = (
    Column("bucket_start", INSTANT, is_nullable=False),
    Column("organization_id", pl.Int32(), is_nullable=False),
    Column("server_id", pl.Int32(), is_nullable=False),
    Column("value", pl.Float32(), "the metric's", is_nullable=False),
    Column("actual", pl.Float32(), "the metric's", is_nullable=False),
    Column("absolute_error", pl.Float32(), "the metric's", is_nullable=False),
    Column("scale", pl.Float32(), "the metric's"),
    Column("age_days", pl.Int16(), "days", is_nullable=False),
    Column("is_inside_80", pl.Boolean(), is_nullable=False),
    Column("is_inside_95", pl.Boolean(), is_nullable=False),
    Column("metric", pl.String(), is_nullable=False),
    Column("mount", pl.String(), is_nullable=False),
    Column("method", pl.String(), is_nullable=False),
)
"""forecast.forecast_scores."""


def schema_of(columns: tuple[Column, ...], *, only: tuple[str, ...] | None = None) -> pl.Schema:
    """Polars schema of `columns`, or of those named in `only`, in that order."""
    dtypes = {column.name: column.dtype for column in columns}
    return pl.Schema(dtypes if only is None else {name: dtypes[name] for name in only})
