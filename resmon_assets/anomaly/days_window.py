"""One UTC day of trends and of drifts: read the daily tier in one snapshot, compute, store.

Belongs here: the shell around `trends.py` and `drift.py`, and their two tables. Knows no Dagster
run; the assets are in `daily_assets.py`.

The revision of a day is that of the daily tier of that very day. Rows of earlier days that change
afterwards (late samples) make their own day stale, not the weeks that also read them: a range that
must follow is computed again by `resmon recompute`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl
import psycopg

from resmon_assets.anomaly import drift, trends
from resmon_assets.anomaly.daily import DAY, Days, days_of
from resmon_assets.anomaly.drift_rows import drifts_of, rows_of
from resmon_assets.anomaly.open_episodes import observe_episodes
from resmon_assets.frames import (
    DEGRADATION_KEY,
    DEGRADATION_ROWS,
    TIER_ROWS,
    UTILIZATION_TREND_KEY,
    UTILIZATION_TREND_ROWS,
    schema_of,
)
from resmon_assets.matters import is_news
from resmon_assets.naming import DEGRADATION_REPORTS, TIER_1DAY, UTILIZATION_TRENDS, table_of
from resmon_assets.window_refresh import source_states, store_rows
from resmon_assets.window_runs import day_asset
from resmon_assets.windows import Outcome, WindowTable, read_stored, refuse_red
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import window_states

_SOURCE = table_of(TIER_1DAY)

TRENDS = day_asset(
    UTILIZATION_TRENDS, columns=UTILIZATION_TREND_ROWS, row_key=UTILIZATION_TREND_KEY
)

DEGRADATION = day_asset(DEGRADATION_REPORTS, columns=DEGRADATION_ROWS, row_key=DEGRADATION_KEY)


def refresh_trends(postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
    """Compute the trends of the UTC day that begins at `start` and store what differs.

    Raises:
        WindowRefused: the daily tier of that day is missing, unfinished or red.
    """

    def compute(snapshot: Snapshot, days: Days) -> pl.DataFrame:
        return trends.trend_rows(days, day=start)

    return _refresh(
        postgres,
        TRENDS.table,
        compute,
        query="read_trend_days",
        columns=trends.COLUMNS,
        history=trends.HISTORY_DAYS,
        start=start,
        now=now,
    )


def refresh_degradation(postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
    """Judge the UTC day that begins at `start` for drifts and store what differs.

    What was open before is read from the rows of earlier days, so days go in their order.

    Raises:
        WindowRefused: the daily tier of that day is missing, unfinished or red, or an earlier day
            of drifts is red.
    """

    def compute(snapshot: Snapshot, days: Days) -> pl.DataFrame:
        table = DEGRADATION.table
        refuse_red(snapshot.connection, table.name, start=days.first, end=start)
        known = read_stored(snapshot, table, start=days.first, end=start)
        return rows_of(drift.judge_day(days, drifts_of(known)), day=start)

    return _refresh(
        postgres,
        DEGRADATION.table,
        compute,
        query="read_drift_days",
        columns=drift.COLUMNS,
        history=drift.HISTORY_DAYS,
        start=start,
        now=now,
        on_newest=lambda writing, _: _observe_drifts(writing, start=start, now=now),
    )


def _observe_drifts(connection: psycopg.Connection, *, start: datetime, now: datetime) -> None:
    """Judge what is open by the newest day, in the transaction that stores it."""
    if is_news(start + DAY, now=now, window=DAY):
        observe_episodes(connection, at=now, now=now)


def _refresh(
    postgres: PostgresResource,
    table: WindowTable,
    compute: Callable[[Snapshot, Days], pl.DataFrame],
    *,
    query: str,
    columns: Sequence[str],
    history: int,
    start: datetime,
    now: datetime,
    on_newest: Callable[[psycopg.Connection, Outcome], object] | None = None,
) -> Outcome:
    """Read the history of a day, compute its rows, store them."""
    end = table.closed_until(start, now=now)
    if end == start:
        return Outcome(start=start, closed_until=start, is_complete=False)
    with postgres.snapshot() as snapshot:
        source = source_states(snapshot.connection, table, (_SOURCE,), start=start)[_SOURCE]
        days = read_days(snapshot, query, columns, history=history, start=start)
        rows = compute(snapshot, days)
    return store_rows(
        postgres,
        table,
        rows,
        revision=source.revision,
        sample_count=source.sample_count,
        server_count=days.server_ids.size,
        start=start,
        closed_until=end,
        now=now,
        on_newest=on_newest,
    )


def read_days(
    snapshot: Snapshot, query: str, columns: Sequence[str], *, history: int, start: datetime
) -> Days:
    """Daily values of the servers of the day at `start`, with `history` days up to it.

    Days that a check marked red are left out, as if they had not been measured.

    Args:
        snapshot: of the database.
        query: name of the statement, sql/queries/anomaly/.
        columns: what it reads beside the key and the counts.
        history: number of days.
        start: of the last day.
    """
    first, end = start - (history - 1) * DAY, start + DAY
    states = window_states(snapshot.connection, _SOURCE, start=first, end=end)
    red = [day for day, state in states.items() if state.is_red]
    head = ("server_id", "organization_id", "bucket_start", "sample_count", "expected_count")
    rows = snapshot.read_frame(
        load_query("anomaly", query),
        {"first": first, "start": start, "end": end},
        schema_of(TIER_ROWS, only=(*head, *columns)),
    )
    return days_of(
        rows.filter(~pl.col("bucket_start").is_in(red)) if red else rows,
        columns,
        first=first,
        day_count=history,
    )
