"""One day of scores: read past forecasts and the day's values, compare, write what differs.

Belongs here: the table, and the shell around `scores.py`: what is read in which snapshot, and what
is refused. Knows no Dagster run; the asset is in `score_assets.py`.

Both sides come from forecast.capacity_forecasts: what was said from the rows of the days before,
what was measured from the last value that the rows of the day itself were made from. So the truth
is the very number that forecasts learn from, and the revision is that of the day's forecasts. A
forecast that is computed again later does not make the scores of the days after it stale; a person
can ask for them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import psycopg

from resmon_assets.forecast.scores import AGES_DAYS, MADE, MEASURED, score_rows, summarise
from resmon_assets.frames import FORECAST_SCORE_KEY, FORECAST_SCORE_ROWS
from resmon_assets.naming import CAPACITY_FORECASTS, FORECAST_SCORES, table_of
from resmon_assets.window_refresh import source_states, store_rows
from resmon_assets.window_runs import day_asset
from resmon_assets.windows import Outcome, refuse_red
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.window_ledger import WindowState

_DAY = timedelta(days=1)
_FORECASTS = table_of(CAPACITY_FORECASTS)

SCORE_DAY = day_asset(FORECAST_SCORES, columns=FORECAST_SCORE_ROWS, row_key=FORECAST_SCORE_KEY)


@dataclass(frozen=True, slots=True)
class ScoredDay:
    """A computed day.

    Attributes:
        outcome: what became of it.
        summary: schema `scores.SUMMARY`; no row when nothing was scored.
    """

    outcome: Outcome
    summary: pl.DataFrame


def refresh_scores(postgres: PostgresResource, *, start: datetime, now: datetime) -> ScoredDay:
    """Score what was forecast of the UTC day that begins at `start`, and store what differs.

    Repeatable: from the same forecasts it changes no row. A day that is not over is left alone. A
    day without forecasts of an age has no rows of that age.

    Raises:
        WindowRefused: the forecasts of the day, or those that would be scored, are red, or those of
            the day are not computed yet.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    table = SCORE_DAY.table
    end = table.closed_until(start, now=now)
    if end == start:
        nothing = Outcome(start=start, closed_until=start, is_complete=False)
        return ScoredDay(nothing, summarise(table.schema.to_frame()))
    with postgres.snapshot() as snapshot:
        state = source_state(snapshot.connection, start=start)
        made = snapshot.read_frame(
            load_query("forecast", "read_past_forecasts"),
            {"start": start, "ages": list(AGES_DAYS)},
            MADE,
        )
        measured = snapshot.read_frame(
            load_query("forecast", "read_measured"), {"start": start, "end": end}, MEASURED
        )
    rows = score_rows(made, measured)
    outcome = store_rows(
        postgres,
        table,
        rows,
        revision=state.revision,
        sample_count=state.sample_count,
        server_count=rows.filter(pl.col("server_id") > 0)["server_id"].n_unique(),
        start=start,
        closed_until=end,
        now=now,
        totals=load_query("forecast", "sum_stored_scores"),
    )
    return ScoredDay(outcome, summarise(rows))


def source_state(connection: psycopg.Connection, *, start: datetime) -> WindowState:
    """State of the day's forecasts, whose revision the scores get.

    Raises:
        WindowRefused: they are not computed yet, or forecasts that are read are red.
    """
    for age in AGES_DAYS:
        made_on = start - age * _DAY
        refuse_red(connection, _FORECASTS, start=made_on, end=made_on + _DAY)
    return source_states(connection, SCORE_DAY.table, (_FORECASTS,), start=start)[_FORECASTS]
