"""Whether every computed table is as new as it should be: one check per watched table.

Belongs here: the rule, and the factory of the checks. Which tables are watched is in automation.py.

The ledger is asked and not Dagster's own freshness policies, which look at the newest
materialization event of an asset. Those events say less: an event of a backfill of last month is
new, and so are those that are repeated when old runs are pruned (retention/history.py); either
would make a table look fresh whose schedule is dead.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import psycopg
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    multi_asset_check,
)

from resmon_assets.catch_up import Watched
from resmon_assets.naming import BATCH_POOL
from resmon_assets.reporting import Finding, check_result, errors_sorted, instant_text
from resmon_resources.clock import ClockResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query

LIVE_GRACE = timedelta(minutes=15)
"""Two rounds of the five-minute schedule may be missed: one is lost at each restart of a code
server."""
CLOSED_GRACE = {timedelta(hours=1): timedelta(minutes=30), timedelta(days=1): timedelta(hours=3)}
"""After the end of a window, by its length: the schedule's own minutes, the catch-up sensor's
patience of 20 minutes, and a run behind others in the pool."""


def freshness_checks(watched: Sequence[Watched]) -> AssetChecksDefinition:
    """One check per table, all judged in one step."""
    specs = [
        AssetCheckSpec(
            check_name(table.key),
            asset=table.key,
            description=(
                "The newest window is complete up to what had closed "
                f"{grace_of(table).total_seconds() / 60:.0f} minutes ago."
            ),
        )
        for table in watched
    ]

    # A subset, because a run of one table by hand asks for the checks of that table.
    @multi_asset_check(name="freshness_checks", specs=specs, can_subset=True, pool=BATCH_POOL)
    def checks(
        context: AssetCheckExecutionContext, postgres: PostgresResource, clock: ClockResource
    ) -> Iterator[AssetCheckResult]:
        with errors_sorted(context), postgres.connect() as connection:
            now = clock.now()
            results = [
                check_result(
                    table.key, check_name(table.key), judge_freshness(connection, table, now)
                )
                for table in watched
                if freshness_key(table.key) in context.selected_asset_check_keys
            ]
        yield from results

    return checks


def check_name(key: AssetKey) -> str:
    """Name of the check of a table: tier_metrics_1hour_is_fresh."""
    return f"{'_'.join(key.path)}_is_fresh"


def freshness_key(key: AssetKey) -> AssetCheckKey:
    """The check of a table as Dagster knows it."""
    return AssetCheckKey(key, check_name(key))


def grace_of(watched: Watched) -> timedelta:
    """How long after the end of a bucket or window its rows may still be missing."""
    return LIVE_GRACE if watched.is_live else CLOSED_GRACE[watched.window]


def judge_freshness(connection: psycopg.Connection, watched: Watched, now: datetime) -> Finding:
    """Ask the ledger how far a table is complete.

    Args:
        connection: to the data database.
        watched: the table.
        now: aware UTC.
    """
    due_until = watched.closed_until(now - grace_of(watched))
    step = watched.width if watched.is_live else watched.window
    row = connection.execute(
        load_query("ops", "select_freshness"),
        {"table": watched.table, "start": due_until - step, "end": due_until},
    ).fetchone()
    complete_until, is_due = row if row is not None else (None, False)
    is_good = not is_due or (complete_until is not None and complete_until >= due_until)
    lag = (now - complete_until).total_seconds() if complete_until is not None else None
    return Finding(
        is_good=is_good,
        actual=instant_text(complete_until) if complete_until is not None else "never computed",
        allowed=(
            f"complete until {instant_text(due_until)} or later"
            if is_due
            else f"any: nothing was to be computed until {instant_text(due_until)}"
        ),
        figures={"lag_seconds": lag} if lag is not None else {},
    )
