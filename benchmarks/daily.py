"""Trends, slow degradation and headroom: how often drifts are false or late, what a day takes.

`make bench-daily ARGS="--part quality --series 1000"`, `make bench-daily ARGS="--part day"`. One
JSON line per figure on standard output, progress on standard error.

Part `quality`, on seeded series (CPU: a level, a week, noise that remembers a share `memory` of
yesterday's; standard deviation 0.5 to 4 points; a spread with 15 % noise), judged day by day:

    false_per_series_year   episodes of stationary series (memory 1: walks, which are not)
    found_share             of leaks of so many points a day, noticed within 35 days
    delay_days              median until they are noticed; delay_p90_days; onset_error_days
    step_share              of single steps that are told as a drift within 35 days
    spread_found_share      of spreads that grow by 1.5 points a day from 15; spread_delay_days

Part `day`, in a temporary PostgreSQL with 70 days of the daily tier (and 28 days of hours of every
fourth server) of a seeded fleet:

    trends_seconds, degradation_seconds, headroom_seconds   of one day
    again_seconds                                           trends again, which changes nothing
    peak_rss_mib                                            of the process
"""

import argparse
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from _daily_series import FIRST, episodes_of, leaking, stationary
from _measuring import Figure, embedded, emit, in_own_process, say, taken
from synthetic import GIB, register

from resmon_assets.anomaly.days_window import refresh_degradation, refresh_trends
from resmon_assets.forecast.headroom import WINDOW_HOURS
from resmon_assets.forecast.headroom_window import refresh_headroom
from resmon_assets.frames import METRICS, STATISTICS, TIER_ROWS, schema_of
from resmon_assets.naming import CAPACITY_FORECASTS, TIER_1DAY, TIER_1HOUR, table_of
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_frame
from resmon_resources.window_ledger import record_window

LAST = datetime(2026, 4, 30, tzinfo=UTC)
DAY = timedelta(days=1)
HISTORY = 70
ONSET = 42
WATCHED_DAYS = 35
HOURLY_SHARE = 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Benchmark of trends, drifts and headroom.")
    parser.add_argument("--part", choices=["quality", "day", "all"], default="all")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--days", type=int, default=140)
    arguments = parser.parse_args()
    if arguments.part != "day":
        quality(arguments.series, arguments.days)
    if arguments.part != "quality":
        speed(arguments.servers)


def quality(series: int, days: int) -> None:
    """False alarms of what is stationary; leaks, steps and growing spreads that are found."""
    for memory in (0.0, 0.5, 0.8, 1.0):
        values = stationary(series, days, seed=21, memory=memory)
        wide = 15 * np.random.default_rng(22).lognormal(0, 0.15, values.shape)
        found = episodes_of(values, spread=wide)
        for kind in ("level_drift", "spread_drift"):
            count = sum(drift.kind == kind for _, drift in found)
            rate = 365 * count / (series * (days - 14))
            params = {"memory": memory, "kind": kind, "series": series, "days": days}
            emit("daily", Figure("false_per_series_year", rate, "episodes", params))
    for per_day in (0.3, 0.6, 1.0, 1.5, 2.5):
        values = stationary(series, ONSET + WATCHED_DAYS, seed=23)
        _found("", leaking(values, per_day, onset=ONSET), 15.0, points_per_day=per_day)
    for size in (5.0, 10.0, 25.0):
        values = stationary(series, ONSET + WATCHED_DAYS, seed=24)
        values[:, ONSET:] += size
        told = {d.server_id for noticed, d in episodes_of(values, first=ONSET - 7)}
        share = len(told) / series
        emit("daily", Figure("step_share", share, "share", {"points": size}))
    values = stationary(series, ONSET + WATCHED_DAYS, seed=25)
    growing = 15 + 1.5 * np.maximum(np.arange(values.shape[1]) - ONSET, 0)
    noise = np.random.default_rng(26).lognormal(0, 0.15, values.shape)
    _found("spread_", values, growing * noise, points_per_day=1.5)


def _found(prefix: str, values: Any, spread: Any, **params: float) -> None:
    """How many of the series are noticed, and when."""
    kind = "spread_drift" if prefix else "level_drift"
    first: dict[int, tuple[int, int]] = {}
    for noticed, drift in episodes_of(values, first=ONSET - 7, spread=spread):
        if drift.kind == kind and noticed >= ONSET:
            onset = (drift.started_at - FIRST).days
            first.setdefault(drift.server_id, (noticed - ONSET, abs(onset - ONSET)))
    share = len(first) / values.shape[0]
    emit("daily", Figure(f"{prefix}found_share", share, "share", params))
    if not first:
        return
    delays, errors = np.array(list(first.values())).T
    emit("daily", Figure(f"{prefix}delay_days", float(np.median(delays)), "days", params))
    emit(
        "daily", Figure(f"{prefix}delay_p90_days", float(np.quantile(delays, 0.9)), "days", params)
    )
    emit("daily", Figure(f"{prefix}onset_error_days", float(np.median(errors)), "days", params))


def speed(servers: int) -> None:
    """What a day takes on a database."""
    with embedded() as postgres:
        filled = taken(lambda: fill(postgres, servers))
        say(f"{HISTORY} days of {servers} servers stored in {filled.seconds:.0f} s")
        params = {"servers": servers}
        for figure in in_own_process(one_day, postgres, servers, params=params):
            emit("daily", figure)


def one_day(postgres: PostgresResource, servers: int) -> list[Figure]:
    """Seconds of each of the three, and of a day that is there already."""
    now = LAST + DAY
    params = {"servers": servers}
    work = {
        "trends_seconds": refresh_trends,
        "degradation_seconds": refresh_degradation,
        "headroom_seconds": refresh_headroom,
        "again_seconds": refresh_trends,
    }
    figures = []
    for name, refresh in work.items():
        spent = taken(partial(refresh, postgres, start=LAST, now=now), postgres)
        say(f"{name}: {spent.seconds:.1f} s, {spent.cpu_seconds:.1f} CPU-s")
        figures.append(Figure(name, spent.seconds, "s", params))
    return figures


def fill(postgres: PostgresResource, servers: int) -> None:
    """A fleet with its daily tier, its hours and the ledger."""
    register(postgres, servers=servers)
    random = np.random.default_rng(27)
    days = [LAST - k * DAY for k in range(HISTORY - 1, -1, -1)]
    _store(postgres, TIER_1DAY, days, np.arange(1, servers + 1), random, storage="year")
    hours = [LAST + DAY - timedelta(hours=k) for k in range(WINDOW_HOURS, 0, -1)]
    _store(
        postgres,
        TIER_1HOUR,
        hours,
        np.arange(1, servers + 1, HOURLY_SHARE),
        random,
        storage="month",
    )
    with postgres.connect() as connection:
        for key in (TIER_1DAY, CAPACITY_FORECASTS):
            record_window(
                connection,
                table_of(key),
                LAST,
                revision=1,
                computed_at=LAST + DAY,
                complete_until=LAST + DAY,
                row_count=servers,
                sample_count=servers * 2880,
            )


def _store(
    postgres: PostgresResource,
    key: Any,
    starts: list[datetime],
    ids: Any,
    random: np.random.Generator,
    *,
    storage: str,
) -> None:
    """Rows of a tier, some servers at a time."""
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
            (table_of(key), storage, starts[0], LAST + DAY),
        )
    schema = schema_of(TIER_ROWS)
    for part in np.array_split(ids, max(1, ids.size * len(starts) // 200_000)):
        count = part.size * len(starts)
        columns: dict[str, Any] = {
            "server_id": np.repeat(part, len(starts)),
            "organization_id": np.ones(count, dtype=np.int32),
            "sample_count": np.full(count, 120),
            "expected_count": np.full(count, 120),
        }
        for metric in METRICS:
            level = 30.0 if metric == "cpu_pct" else 4.0 * GIB
            for statistic in STATISTICS:
                columns[f"{metric}_{statistic}"] = level * random.lognormal(0, 0.1, count)
        rows = pl.DataFrame(columns).with_columns(
            bucket_start=pl.Series(starts * part.size, dtype=schema["bucket_start"])
        )
        with postgres.connect() as connection:
            copy_frame(
                connection, table_of(key), rows.select(pl.col(n).cast(t) for n, t in schema.items())
            )


if __name__ == "__main__":
    main()
