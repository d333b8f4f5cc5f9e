"""One UTC day of headroom: read tiers and forecasts in one snapshot, compute, store.

Belongs here: the shell around `headroom.py`, and its table. Knows no Dagster run; the asset is in
`headroom_assets.py`.

The revision of a day is that of the forecasts of that day, which is that of its daily tier. Hours
of the 28 days that are missing or red are gaps: the coverage tells of them.
"""

from datetime import datetime, timedelta

import polars as pl

from resmon_assets.forecast.headroom import (
    FORECASTS,
    HOURS,
    SERVERS,
    WINDOW_HOURS,
    headroom_rows,
    window_usage,
)
from resmon_assets.frames import HEADROOM_KEY, HEADROOM_ROWS
from resmon_assets.naming import CAPACITY_FORECASTS, HEADROOM, TIER_1DAY, TIER_1HOUR, table_of
from resmon_assets.window_refresh import source_states, store_rows
from resmon_assets.window_runs import day_asset
from resmon_assets.windows import Outcome
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import window_states

SLICE_SERVERS = 1_500
"""Servers read at a time: a million rows of their 672 hours, some 40 MB."""

_DAY = timedelta(days=1)
_HOURS, _FORECASTS = table_of(TIER_1HOUR), table_of(CAPACITY_FORECASTS)
_SOURCES = (table_of(TIER_1DAY), _FORECASTS)

HEADROOM_DAY = day_asset(HEADROOM, columns=HEADROOM_ROWS, row_key=HEADROOM_KEY)


def refresh_headroom(postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
    """Compute the headroom at the end of the UTC day that begins at `start`; store what differs.

    Repeatable: from the same tiers and forecasts it changes no row.

    Raises:
        WindowRefused: the forecasts or the daily tier of that day are missing, unfinished or red.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    table = HEADROOM_DAY.table
    end = table.closed_until(start, now=now)
    if end == start:
        return Outcome(start=start, closed_until=start, is_complete=False)
    with postgres.snapshot() as snapshot:
        source = source_states(snapshot.connection, table, _SOURCES, start=start)[_FORECASTS]
        servers = snapshot.read_frame(
            load_query("forecast", "read_headroom_servers"), {"start": start, "end": end}, SERVERS
        )
        forecasts = snapshot.read_frame(
            load_query("forecast", "read_headroom_forecasts"),
            {"start": start, "end": end},
            FORECASTS,
        )
        usage = read_usage(snapshot, servers["server_id"].sort(), end=end)
    rows = headroom_rows(servers, usage, forecasts, day=start)
    return store_rows(
        postgres,
        table,
        rows,
        revision=source.revision,
        sample_count=source.sample_count,
        server_count=servers.height,
        start=start,
        closed_until=end,
        now=now,
        totals=load_query("forecast", "sum_headroom"),
    )


def read_usage(snapshot: Snapshot, servers: pl.Series, *, end: datetime) -> pl.DataFrame:
    """What the 28 days before `end` have shown, per server: see `headroom.window_usage`.

    Args:
        snapshot: of the database.
        servers: their ids, rising; read in slices, so that memory stays bounded.
        end: of the last day.
    """
    start = end - timedelta(hours=WINDOW_HOURS)
    states = window_states(snapshot.connection, _HOURS, start=start, end=end)
    red = [hour for hour, state in states.items() if state.is_red]
    parts = [window_usage(HOURS.to_frame())]
    for begin in range(0, servers.len(), SLICE_SERVERS):
        ids = servers[begin : begin + SLICE_SERVERS]
        values = {
            "start": start,
            "end": end,
            "first": int(ids[0]),
            "last": int(ids[-1]),
            "red": red,
        }
        hours = snapshot.read_frame(load_query("forecast", "read_headroom_hours"), values, HOURS)
        parts.append(window_usage(hours))
    return pl.concat(parts)
