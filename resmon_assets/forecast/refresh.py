"""One day of forecasts: read a snapshot of the daily tiers, compute, write what differs.

Belongs here: the table, and the shell around `capacity.py`: which statements run in which snapshot,
what is refused. Knows no Dagster run; the asset is in `assets.py`.

A day is computed from the daily tiers, not from raw, and its revision is that of tier.metrics_1day
of that day: it is stale when that was computed from newer samples since. Late samples of an earlier
day do not make it stale: a forecast says what was known when its day had ended, and tomorrow's
reads the corrected history. A red day makes its own forecast impossible, and is a gap in the
history of later ones.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import psycopg
from psycopg.rows import class_row

from resmon_assets.forecast.capacity import (
    ACTIVE_SERVERS,
    CHOICE_TEXTS,
    DAY,
    FILE_SYSTEM_DAYS,
    KEPT_CHOICE_DAYS,
    ORGANIZATION_DAYS,
    SERVER_CAPACITIES,
    SERVER_DAYS,
    SUBJECT_KEY,
    Series,
    file_system_series,
    first_day,
    forecast_part,
    is_due,
    joined_series,
    organization_series,
    server_series,
)
from resmon_assets.frames import CAPACITY_FORECAST_KEY, CAPACITY_FORECAST_ROWS
from resmon_assets.matters import FullDay, is_news, of_full_days
from resmon_assets.naming import (
    CAPACITY_FORECASTS,
    ROLLUP_1DAY,
    TIER_1DAY,
    TIER_FILESYSTEM_1DAY,
    table_of,
)
from resmon_assets.observing import observe
from resmon_assets.rollup.quotas import QUOTAS, effective_limits
from resmon_assets.rollup.tree import TREE, closure
from resmon_assets.window_refresh import source_states, store_rows
from resmon_assets.window_runs import day_asset
from resmon_assets.windows import Outcome
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import window_states

PART_SERIES = 2_000
"""Series computed at a time, and a line of progress each ten seconds or so."""

_ONE_DAY = timedelta(days=1)

SOURCES = tuple(table_of(key) for key in (TIER_1DAY, TIER_FILESYSTEM_1DAY, ROLLUP_1DAY))
"""What a day is computed from; the first one is the source of its revision."""

FORECAST_DAY = day_asset(
    CAPACITY_FORECASTS, columns=CAPACITY_FORECAST_ROWS, row_key=CAPACITY_FORECAST_KEY
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a day is computed from.

    Attributes:
        series: histories of everything that is forecast.
        choices: of models, of series that do not choose today.
        revision: of raw, that tier.metrics_1day of the day was computed from.
        sample_count: raw rows that it was computed from.
        server_count: active servers.
        red: days of the history that are left out.
    """

    series: Series
    choices: pl.DataFrame
    revision: int
    sample_count: int
    server_count: int
    red: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """A computed day.

    Attributes:
        outcome: what became of it.
        rows: schema `frames.CAPACITY_FORECAST_ROWS`; none when the day is not over.
        series: what they were computed from; None when the day is not over.
        chosen: series whose model was chosen on this day.
        red: days of the history that were left out.
        seconds: spent on models.
    """

    outcome: Outcome
    rows: pl.DataFrame
    series: Series | None = None
    chosen: int = 0
    red: tuple[datetime, ...] = ()
    seconds: float = 0.0


def refresh_forecasts(
    postgres: PostgresResource,
    *,
    start: datetime,
    now: datetime,
    on_progress: Progress | None = None,
) -> ForecastDay:
    """Forecast from the UTC day that begins at `start`, and store what differs.

    Repeatable: from the same tiers, inventory and limits it changes no row.

    Args:
        postgres: the data database.
        start: of the day, aware UTC.
        now: recorded as the time of computation; a day that is not over is left alone.
        on_progress: called with series done and series in all.

    Raises:
        WindowRefused: a source of the day is red, or not computed yet.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    table = FORECAST_DAY.table
    end = table.closed_until(start, now=now)
    if end == start:
        nothing = Outcome(start=start, closed_until=start, is_complete=False)
        return ForecastDay(nothing, table.schema.to_frame())
    with postgres.snapshot() as snapshot:
        inputs = read_inputs(snapshot, start=start)
    begun = time.monotonic()
    rows = compute_rows(inputs, start=start, on_progress=on_progress)
    seconds = time.monotonic() - begun
    outcome = store_rows(
        postgres,
        table,
        rows,
        revision=inputs.revision,
        sample_count=inputs.sample_count,
        server_count=inputs.server_count,
        start=start,
        closed_until=end,
        now=now,
        totals=load_query("forecast", "sum_stored_forecasts"),
        on_newest=lambda writing, _: _observe_full_days(writing, start=start, now=now),
    )
    return ForecastDay(
        outcome,
        rows,
        inputs.series,
        chosen=rows["choice"].count(),
        red=inputs.red,
        seconds=seconds,
    )


def _observe_full_days(connection: psycopg.Connection, *, start: datetime, now: datetime) -> None:
    """Judge when file systems will be full by the newest day, in the transaction that stores it."""
    if not is_news(start + DAY, now=now, window=DAY):
        return
    with connection.cursor(row_factory=class_row(FullDay)) as cursor:
        cursor.execute(load_query("forecast", "select_full_days").encode(), {"day": start})
        forecasts = cursor.fetchall()
    observe(
        connection,
        "disk_full_soon",
        of_full_days(forecasts, day=start),
        now=now,
        is_complete=True,
        gone="it does not grow towards its size any more",
    )


def compute_rows(
    inputs: Inputs, *, start: datetime, on_progress: Progress | None = None
) -> pl.DataFrame:
    """The rows of a day, part by part, so that memory stays bounded."""
    total = inputs.series.subjects.height
    parts = [FORECAST_DAY.table.schema.to_frame()]
    for first in range(0, total, PART_SERIES):
        part = inputs.series.take(np.arange(first, min(first + PART_SERIES, total)))
        parts.append(forecast_part(part, inputs.choices, day=start))
        if on_progress is not None:
            on_progress(min(first + PART_SERIES, total), total)
    return pl.concat(parts)


def read_inputs(snapshot: Snapshot, *, start: datetime) -> Inputs:
    """Read what the day at `start` is computed from, in one snapshot.

    Raises:
        WindowRefused: a source of the day is red, or not computed yet.
    """
    first, end = first_day(start), start + DAY
    states = source_states(snapshot.connection, FORECAST_DAY.table, SOURCES, start=start)
    state = states[SOURCES[0]]
    red = red_days(snapshot.connection, SOURCES, start=first, end=start)
    values = {"start": first, "end": end, "red": list(red)}
    active = snapshot.read_frame(
        load_query("forecast", "read_active_servers"), {"end": end}, ACTIVE_SERVERS
    )
    capacities = snapshot.read_frame(
        load_query("forecast", "read_capacities"),
        {"start": start, "end": end},
        SERVER_CAPACITIES,
    )
    tree = snapshot.read_frame(load_query("rollup", "read_tree_at"), {"until": end}, TREE)
    quotas = snapshot.read_frame(load_query("rollup", "read_quotas"), {"until": end}, QUOTAS)
    limits = effective_limits(quotas, closure(tree), until=end)
    servers = snapshot.read_frame(load_query("forecast", "read_server_days"), values, SERVER_DAYS)
    series = [server_series(servers, active, capacities, day=start)]
    del servers
    mounts = snapshot.read_frame(
        load_query("forecast", "read_file_system_days"), values, FILE_SYSTEM_DAYS
    )
    series.append(file_system_series(mounts, active, day=start))
    del mounts
    organizations = snapshot.read_frame(
        load_query("forecast", "read_organization_days"), values, ORGANIZATION_DAYS
    )
    series.append(organization_series(organizations, limits, day=start))
    whole = joined_series(series)
    return Inputs(
        series=whole,
        choices=_choices(snapshot, whole, start=start),
        revision=state.revision,
        sample_count=state.sample_count,
        server_count=active.height,
        red=red,
    )


def red_days(
    connection: psycopg.Connection, tables: Sequence[str], *, start: datetime, end: datetime
) -> tuple[datetime, ...]:
    """Days in [start, end) that a check found wrong in any of the tables, oldest first."""
    return tuple(
        sorted(
            {
                day
                for table in tables
                for day, state in window_states(connection, table, start=start, end=end).items()
                if state.is_red
            }
        )
    )


def _choices(snapshot: Snapshot, series: Series, *, start: datetime) -> pl.DataFrame:
    """The newest stored choices of the series that do not choose on this day."""
    values = {"first": start - KEPT_CHOICE_DAYS * DAY, "start": start}
    kept = snapshot.read_frame(load_query("forecast", "read_choices"), values, CHOICE_TEXTS)
    due = series.subjects.filter(is_due(series.subjects, day=start))
    return kept.join(due, on=SUBJECT_KEY, how="anti")
