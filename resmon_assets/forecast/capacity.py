"""What is forecast, and the rows of forecast.capacity_forecasts that come of it.

Belongs here: which series there are (servers, file systems, organizations), their values by day,
which of them get a new model today, and a row per series and method. The models themselves are in
`models.py` and `linear.py`, the days of limits in `limits.py`. Pure: no database, no Dagster, no
clock.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from resmon_assets.forecast.limits import (
    MINIMUM_DAYS,
    Floats,
    Growth,
    Limits,
    Line,
    growth_of,
    limit_days,
)
from resmon_assets.forecast.linear import fit_lines, project_lines
from resmon_assets.forecast.models import CHOICES, forecast_rows
from resmon_assets.frames import (
    BANDS,
    CAPACITY_FORECAST_ROWS,
    HORIZON_DAYS,
    INSTANT,
    LIMIT_PERCENTS,
    schema_of,
)

DAY = timedelta(days=1)

HISTORY_DAYS = 60
"""Days that a forecast is made from: eight weeks of a weekly season, and short enough to forget how
a server was used a quarter ago."""

RECENT_DAYS = 7
"""A series without a value for longer than this is not forecast: its server is down or its mount
gone."""

CHOSEN_EVERY_DAYS = 7
"""A series' model is chosen once a week; on which day of the week is told by a hash of its key."""

KEPT_CHOICE_DAYS = 13
"""How old a choice may be before the model is chosen anew: a week may have been missed."""

LINEAR, BEST = "linear", "best"
OK, INSUFFICIENT_DATA = "ok", "insufficient_data"

CPU, MEMORY, DISK = "cpu_pct", "memory_used_bytes", "disk_used_bytes"
FILE_SYSTEM = "filesystem_used_bytes"
SERVERS, CORES, BANDWIDTH = "servers", "cpu_cores", "bandwidth_bytes_per_day"

SERVER_METRICS = (CPU, MEMORY, DISK)
ORGANIZATION_METRICS = (CPU, MEMORY, DISK, SERVERS, CORES, BANDWIDTH)

FULL_PERCENT = 100.0

SERVER_DAYS = pl.Schema(
    {
        "bucket_start": INSTANT,
        "server_id": pl.Int32(),
        "sample_count": pl.Int64(),
        CPU: pl.Float64(),
        MEMORY: pl.Float64(),
        DISK: pl.Float64(),
    }
)
"""Daily means of servers; a day on which a server moved has a row for each organization."""

FILE_SYSTEM_DAYS = pl.Schema(
    {
        "bucket_start": INSTANT,
        "server_id": pl.Int32(),
        "mount": pl.String(),
        "sample_count": pl.Int64(),
        FILE_SYSTEM: pl.Float64(),
        "capacity": pl.Float64(),
    }
)
"""Daily means of mounts; capacity is what was used and available together in the last row."""

ORGANIZATION_DAYS = pl.Schema(
    {
        "bucket_start": INSTANT,
        "organization_id": pl.Int32(),
        CPU: pl.Float64(),
        MEMORY: pl.Float64(),
        DISK: pl.Float64(),
        SERVERS: pl.Float64(),
        CORES: pl.Float64(),
        BANDWIDTH: pl.Float64(),
        "memory_total_bytes": pl.Float64(),
        "disk_total_bytes": pl.Float64(),
    }
)
"""Days of organizations with all below them."""

ACTIVE_SERVERS = pl.Schema({"server_id": pl.Int32(), "organization_id": pl.Int32()})
"""Servers that are to be collected at the end of the day, and whose they are."""

SERVER_CAPACITIES = pl.Schema(
    {
        "server_id": pl.Int32(),
        "memory_total_bytes": pl.Float64(),
        "disk_total_bytes": pl.Float64(),
    }
)

SUBJECTS = pl.Schema(
    {
        "organization_id": pl.Int32(),
        "server_id": pl.Int32(),
        "metric": pl.String(),
        "mount": pl.String(),
        "capacity": pl.Float64(),
        "upper": pl.Float64(),
    }
)
"""Series by their key, what limits are a share of, and what no value can exceed; null: nothing."""

SUBJECT_KEY = ("organization_id", "server_id", "metric", "mount")

CHOICE_TEXTS = pl.Schema({**{name: SUBJECTS[name] for name in SUBJECT_KEY}, "choice": pl.String()})
"""Choices of earlier days as they are stored: JSON of a row of `models.CHOICES` without series."""

_QUOTAS = {
    MEMORY: "memory_bytes",
    DISK: "storage_bytes",
    SERVERS: "servers",
    CORES: "cpu_cores",
    BANDWIDTH: "bandwidth_bytes_per_month",
}
"""Which limit holds for which metric of an organization."""

_ROWS = schema_of(CAPACITY_FORECAST_ROWS)
_POINTS = ("value", *BANDS)
_CHOICE_COLUMNS = tuple(name for name in CHOICES if name != "series")


@dataclass(frozen=True, slots=True)
class Series:
    """Histories that end on one day.

    Attributes:
        subjects: schema `SUBJECTS`, a row per series.
        values: shape (series, HISTORY_DAYS), a column per day, the last one is the day; NaN: not
            measured.
    """

    subjects: pl.DataFrame
    values: Floats

    def take(self, rows: NDArray[np.intp]) -> "Series":
        """Some of the series, in the order of `rows`."""
        return Series(self.subjects[rows], self.values[rows])


def first_day(day: datetime) -> datetime:
    """Start of the first day of the history that ends with the UTC day `day`."""
    return day - (HISTORY_DAYS - 1) * DAY


def server_series(
    days: pl.DataFrame, active: pl.DataFrame, capacities: pl.DataFrame, *, day: datetime
) -> Series:
    """CPU, memory and disk of the active servers that ever had a value in the history.

    Args:
        days: schema `SERVER_DAYS`, of the days from `first_day(day)` to `day`; those left out count
            as not measured.
        active: schema `ACTIVE_SERVERS`.
        capacities: schema `SERVER_CAPACITIES`, a row per server that is known.
        day: start of the last day of the history, UTC.
    """
    merged = _merged(days, keys=("server_id",), metrics=SERVER_METRICS)
    parts = []
    for metric in SERVER_METRICS:
        known = merged.filter(pl.col(metric).is_not_null()).select("server_id").unique()
        capacity = {
            CPU: pl.lit(FULL_PERCENT),
            MEMORY: pl.col("memory_total_bytes"),
            DISK: pl.col("disk_total_bytes"),
        }[metric]
        subjects = (
            active.join(known, on="server_id", how="semi")
            .join(capacities, on="server_id", how="left")
            .select(
                "organization_id",
                "server_id",
                pl.lit(metric).alias("metric"),
                pl.lit("").alias("mount"),
                capacity.cast(pl.Float64).alias("capacity"),
            )
        )
        parts.append(_series(subjects, merged, metric, on=("server_id",), day=day))
    return _joined(parts)


def file_system_series(days: pl.DataFrame, active: pl.DataFrame, *, day: datetime) -> Series:
    """Every mount of the active servers that was measured within the last `RECENT_DAYS`.

    A mount that is gone ends; one that comes back goes on with the history that it had.

    Args:
        days: schema `FILE_SYSTEM_DAYS`.
        active: schema `ACTIVE_SERVERS`.
        day: start of the last day of the history, UTC.
    """
    merged = _merged(days, keys=("server_id", "mount"), metrics=(FILE_SYSTEM, "capacity"))
    subjects = (
        merged.filter(
            pl.col(FILE_SYSTEM).is_not_null() & (pl.col("bucket_start") > day - RECENT_DAYS * DAY)
        )
        .sort("bucket_start")
        .group_by("server_id", "mount", maintain_order=True)
        .agg(pl.col("capacity").drop_nulls().last())
        .join(active, on="server_id", how="inner")
        .select(
            "organization_id",
            "server_id",
            pl.lit(FILE_SYSTEM).alias("metric"),
            "mount",
            "capacity",
        )
    )
    return _series(subjects, merged, FILE_SYSTEM, on=("server_id", "mount"), day=day)


def organization_series(days: pl.DataFrame, limits: pl.DataFrame, *, day: datetime) -> Series:
    """Every organization with all below it that had servers within the last `RECENT_DAYS`.

    Limits are a share of its quota, its own or inherited; without one, of the memory and the disks
    that its servers have. A quota of traffic holds for a UTC month and is compared by its daily
    share. A quota may be exceeded, so it bounds no forecast.

    Args:
        days: schema `ORGANIZATION_DAYS`.
        limits: schema `rollup.quotas.LIMITS`, that hold at the end of the day.
        day: start of the last day of the history, UTC.
    """
    recent = days.filter(pl.col("bucket_start") > day - RECENT_DAYS * DAY).sort("bucket_start")
    totals = recent.group_by("organization_id", maintain_order=True).agg(
        pl.col("memory_total_bytes", "disk_total_bytes").drop_nulls().last()
    )
    of_month = float((_next_month(day) - day.replace(day=1)) // DAY)
    parts = []
    for metric in ORGANIZATION_METRICS:
        own = limits.filter(pl.col("resource") == _QUOTAS.get(metric, "")).select(
            "organization_id", pl.col("limit_value").cast(pl.Float64)
        )
        capacity = {
            CPU: pl.lit(FULL_PERCENT),
            MEMORY: pl.coalesce("limit_value", "memory_total_bytes"),
            DISK: pl.coalesce("limit_value", "disk_total_bytes"),
            BANDWIDTH: pl.col("limit_value") / of_month,
        }.get(metric, pl.col("limit_value"))
        known = recent.filter(pl.col(metric).is_not_null()).select("organization_id").unique()
        subjects = (
            totals.join(known, on="organization_id", how="semi")
            .join(own, on="organization_id", how="left")
            .select(
                "organization_id",
                pl.lit(0, pl.Int32).alias("server_id"),
                pl.lit(metric).alias("metric"),
                pl.lit("").alias("mount"),
                # Nothing is a share of a limit of 0.
                pl.when(capacity > 0).then(capacity).cast(pl.Float64).alias("capacity"),
            )
        )
        parts.append(
            _series(
                subjects,
                days,
                metric,
                on=("organization_id",),
                day=day,
                is_bounded=metric == CPU,
            )
        )
    return _joined(parts)


def joined_series(parts: Sequence[Series]) -> Series:
    """All series, sorted by their key, so that the same inputs give the same order."""
    whole = _joined(parts)
    order = (
        whole.subjects.with_row_index("row").sort(*SUBJECT_KEY)["row"].to_numpy().astype(np.intp)
    )
    return whole.take(order)


def is_due(subjects: pl.DataFrame, *, day: datetime) -> pl.Series:
    """Whether a series' model is chosen on this day of the week: a seventh of them each day.

    By CRC-32 of the key's text, which no release of a library changes.
    """
    turn = day.toordinal() % CHOSEN_EVERY_DAYS
    keys = subjects.select(pl.concat_str(pl.col(SUBJECT_KEY), separator="/").alias("key"))["key"]
    return pl.Series(
        "is_due",
        [zlib.crc32(key.encode()) % CHOSEN_EVERY_DAYS == turn for key in keys],
        dtype=pl.Boolean,
    )


def forecast_part(series: Series, choices: pl.DataFrame, *, day: datetime) -> pl.DataFrame:
    """Rows of some series, two for each: `linear` and `best`.

    A series with fewer than `MINIMUM_DAYS` values, or none within the last `RECENT_DAYS`, has rows
    without a forecast. What comes of a series depends on itself alone, so that parts may be
    computed apart.

    Args:
        series: histories.
        choices: schema `CHOICE_TEXTS`; series without a choice here get a new one.
        day: start of the last day of the history, UTC.

    Returns:
        Schema `frames.CAPACITY_FORECAST_ROWS`.
    """
    is_enough = (np.isfinite(series.values).sum(axis=1) >= MINIMUM_DAYS) & np.isfinite(
        series.values[:, -RECENT_DAYS:]
    ).any(axis=1)
    short = series.take(np.flatnonzero(~is_enough))
    parts = [_rows_without(short, method, day=day) for method in (LINEAR, BEST)]
    full = series.take(np.flatnonzero(is_enough))
    if full.subjects.height:
        parts += _forecast_full(full, choices, day=day)
    return pl.concat(parts)


def _forecast_full(
    series: Series, choices: pl.DataFrame, *, day: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of both methods of series with enough values."""
    history = _history(series, day=day)
    bounds = pl.DataFrame(
        {
            "series": np.arange(series.subjects.height, dtype=np.int64),
            "lower": np.zeros(series.subjects.height),
            "upper": series.subjects["upper"],
        }
    )
    chosen = _chosen(series.subjects, choices)
    fits = fit_lines(history)
    line_points = project_lines(fits, horizon=HORIZON_DAYS, bounds=bounds)
    best_points, best_choices = _best(history, bounds, chosen)
    growth = growth_of(series.values)
    fitted = (
        pl.DataFrame({"series": bounds["series"]})
        .join(fits, on="series", how="left", maintain_order="left")
        .select("slope_per_day", "intercept", "r_squared", "p_value", "trend")
    )
    told = pl.DataFrame({"series": bounds["series"]}).join(
        best_choices.with_columns(_choice_text()),
        on="series",
        how="left",
        maintain_order="left",
    )
    is_new = pl.Series(~np.isin(bounds["series"].to_numpy(), chosen["series"].to_numpy()))
    rows = []
    for method, points, line in (
        (LINEAR, line_points, growth.whole),
        (BEST, best_points, growth.now),
    ):
        ahead = _by_series(points, series.subjects.height)
        limits = _limits(series, growth, line, ahead if method == BEST else None)
        of_model = (
            {"model": pl.lit("linear"), "backtest_mase": pl.lit(None, pl.Float32), "choice": None}
            if method == LINEAR
            else {
                "model": told["model"],
                "backtest_mase": told["backtest_mase"].cast(pl.Float32),
                "choice": told.select(
                    pl.when(is_new).then(pl.col("choice")).alias("choice")
                ).to_series(),
            }
        )
        rows.append(
            _common(series, method, OK, day=day)
            .with_columns(fitted)
            .with_columns(**of_model)
            .with_columns(
                pl.Series(name, ahead[name].astype(np.float32)).arr.to_list().alias(name)
                for name in _POINTS
            )
            .with_columns(_reached(limits, day=day))
            .select(_ROWS.names())
            .cast(_ROWS)
        )
    return rows[0], rows[1]


def _best(
    history: pl.DataFrame, bounds: pl.DataFrame, chosen: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Points and choices: those with a choice are fitted, the others choose."""
    points, choices = [], []
    has_choice = pl.col("series").is_in(chosen["series"].implode())
    for part, given in ((history.filter(has_choice), chosen), (history.filter(~has_choice), None)):
        if part.is_empty():
            continue
        made = forecast_rows(part, horizon=HORIZON_DAYS, step="1d", bounds=bounds, chosen=given)
        points.append(made.points)
        choices.append(made.choices)
    return pl.concat(points), pl.concat(choices)


def _rows_without(series: Series, method: str, *, day: datetime) -> pl.DataFrame:
    """Rows of series with too little data: no forecast, and why no day is told."""
    common = _common(series, method, INSUFFICIENT_DATA, day=day)
    missing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in _ROWS.items()
        if name not in common.columns and not name.endswith("_reason")
    ]
    reasons = [pl.lit(INSUFFICIENT_DATA).alias(f"reach_{p}_reason") for p in LIMIT_PERCENTS]
    return common.with_columns(*missing, *reasons).select(_ROWS.names()).cast(_ROWS)


def _common(series: Series, method: str, status: str, *, day: datetime) -> pl.DataFrame:
    """What all rows have."""
    values = series.values
    measured = np.isfinite(values)
    steps = np.abs(np.diff(values, axis=1))
    known = np.isfinite(steps)
    count = known.sum(axis=1)
    scale = np.where(known, steps, 0.0).sum(axis=1) / np.maximum(count, 1)
    return series.subjects.drop("upper").with_columns(
        pl.lit(day).cast(INSTANT).alias("bucket_start"),
        pl.Series("last_value", values[:, -1]).fill_nan(None),
        pl.Series("scale", np.where(count > 0, scale, np.nan)).fill_nan(None),
        pl.Series("history_days", measured.sum(axis=1).astype(np.int32)),
        pl.lit(method).alias("method"),
        pl.lit(status).alias("status"),
    )


def _limits(series: Series, growth: Growth, line: Line, ahead: dict[str, Floats] | None) -> Limits:
    """Days on which the limits of the series are reached."""
    capacity = series.subjects["capacity"].fill_null(float("nan")).to_numpy()
    percents = np.array(LIMIT_PERCENTS, dtype=np.float64) / FULL_PERCENT
    path = None if ahead is None else (ahead["value"], ahead["lower_80"], ahead["upper_80"])
    return limit_days(
        growth, line, capacity[:, None] * percents[None, :], capacity=capacity, path=path
    )


def _reached(limits: Limits, *, day: datetime) -> list[pl.Series]:
    """Columns of the days of limits."""
    start = np.datetime64(date(day.year, day.month, day.day), "D")
    columns = []
    for column, percent in enumerate(LIMIT_PERCENTS):
        for name in ("on", "earliest", "latest"):
            ahead = getattr(limits, name)[:, column]
            dates = pl.Series(f"reach_{percent}_{name}", start + ahead.astype("timedelta64[D]"))
            columns.append(dates.to_frame().select(_where(dates, ahead > 0)).to_series())
        reason = limits.reason[:, column].tolist()
        columns.append(pl.Series(f"reach_{percent}_reason", reason, dtype=pl.String))
    return columns


def _where(values: pl.Series, is_told: NDArray[np.bool_]) -> pl.Expr:
    """The values where they are told, else null."""
    return pl.when(pl.Series(is_told)).then(pl.col(values.name)).alias(values.name)


def _by_series(points: pl.DataFrame, count: int) -> dict[str, Floats]:
    """Points as arrays of shape (series, HORIZON_DAYS); a row for every series.

    Raises:
        ValueError: a series or a step is missing.
    """
    ordered = points.sort("series", "step")
    if ordered.height != count * HORIZON_DAYS:
        msg = f"{ordered.height} points for {count} series of {HORIZON_DAYS} days"
        raise ValueError(msg)
    return {
        name: ordered[name].to_numpy().astype(np.float64).reshape(count, HORIZON_DAYS)
        for name in _POINTS
    }


def _history(series: Series, *, day: datetime) -> pl.DataFrame:
    """Series, timestamp and value of all measured days, and of the last day in any case."""
    known = np.isfinite(series.values)
    known[:, -1] = True
    row, column = np.nonzero(known)
    first = np.datetime64(first_day(day).astimezone(UTC).replace(tzinfo=None), "us")
    stamps = first + column.astype("timedelta64[D]")
    return pl.DataFrame(
        {
            "series": row.astype(np.int64),
            "timestamp": pl.Series(stamps).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "value": pl.Series(series.values[row, column]).fill_nan(None),
        }
    )


def _chosen(subjects: pl.DataFrame, choices: pl.DataFrame) -> pl.DataFrame:
    """Stored choices of these series, schema `models.CHOICES`.

    One of an older release, which lacks something that is needed now, is left out: chosen anew.
    """
    texts = (
        subjects.select(SUBJECT_KEY)
        .with_row_index("series")
        .join(choices, on=SUBJECT_KEY, how="inner", maintain_order="left")
    )
    fields = pl.Struct({name: CHOICES[name] for name in _CHOICE_COLUMNS})
    needed = [name for name in _CHOICE_COLUMNS if name != "backtest_mase"]
    return (
        texts.select(
            pl.col("series").cast(CHOICES["series"]),
            pl.col("choice").str.json_decode(fields).alias("fields"),
        )
        .unnest("fields")
        .drop_nulls(needed)
    )


def _choice_text() -> pl.Expr:
    """A row of choices as JSON."""
    return pl.struct(_CHOICE_COLUMNS).struct.json_encode().alias("choice")


def _merged(days: pl.DataFrame, *, keys: Sequence[str], metrics: Sequence[str]) -> pl.DataFrame:
    """One row per day: the two of a day on which a server moved as a mean over their samples."""
    weight = pl.col("sample_count").cast(pl.Float64)
    means = [
        ((pl.col(metric) * weight).sum() / weight.filter(pl.col(metric).is_not_null()).sum()).alias(
            metric
        )
        for metric in metrics
    ]
    grouping = [*keys, "bucket_start"]
    is_alone = pl.len().over(grouping) == 1
    moved = days.filter(~is_alone)
    merged = moved.group_by(grouping, maintain_order=True).agg(means)
    return pl.concat(
        [
            days.filter(is_alone).select(*grouping, *metrics),
            merged.with_columns(pl.col(metrics).fill_nan(None)).select(*grouping, *metrics),
        ]
    )


def _series(
    subjects: pl.DataFrame,
    days: pl.DataFrame,
    metric: str,
    *,
    on: Sequence[str],
    day: datetime,
    is_bounded: bool = True,
) -> Series:
    """Series of one metric: its subjects with their bound, and their values by day."""
    rows = (
        days.select(*on, "bucket_start", pl.col(metric).alias("value"))
        .drop_nulls("value")
        .join(subjects.select(*on).with_row_index("row"), on=list(on), how="inner")
        .select(
            "row", (pl.col("bucket_start") - first_day(day)).dt.total_days().alias("at"), "value"
        )
    )
    values = np.full((subjects.height, HISTORY_DAYS), np.nan)
    values[rows["row"].to_numpy(), rows["at"].to_numpy()] = rows["value"].to_numpy()
    bounded = subjects.with_columns(
        # What is used now was possible, whatever the capacity says.
        pl.max_horizontal(
            "capacity",
            pl.Series("known", np.where(np.isfinite(values), values, 0.0).max(axis=1, initial=0.0)),
        )
        if is_bounded and subjects.height
        else pl.lit(None, pl.Float64).alias("capacity")
    )
    upper = pl.when(subjects["capacity"].is_not_null()).then(bounded["capacity"])
    return Series(
        subjects.with_columns(upper.alias("upper")).select(SUBJECTS.names()).cast(SUBJECTS), values
    )


def _joined(parts: Sequence[Series]) -> Series:
    """Several as one."""
    return Series(
        pl.concat([part.subjects for part in parts]), np.concatenate([p.values for p in parts])
    )


def _next_month(day: datetime) -> datetime:
    """Start of the month after that of `day`."""
    return (day.replace(day=1) + 32 * DAY).replace(day=1)
