"""One hour of usage: read a snapshot of inventory, raw and rollups, compute, write what differs.

Belongs here: the shell around `usage.py` and `quotas.py`: which statements run in which
transaction. Knows no Dagster. Why the revision is that of the rollups is told in
docs/decisions/0010-quotas.md.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import psycopg

from resmon_assets.frames import RESOURCE_USAGE_KEY, RESOURCE_USAGE_ROWS
from resmon_assets.matters import is_news, of_quotas
from resmon_assets.naming import RESOURCE_USAGE, ROLLUP_1DAY, ROLLUP_1HOUR, ROLLUP_5MIN, table_of
from resmon_assets.observing import observe
from resmon_assets.rollup.quotas import QUOTAS, effective_limits
from resmon_assets.rollup.tree import TREE, closure
from resmon_assets.rollup.usage import (
    ACTIVE_SERVERS,
    DAY,
    HOUR,
    MEASURED,
    TRAFFIC,
    Month,
    RolledUp,
    cover_month,
    measured_of,
    month_start,
    usage_rows,
)
from resmon_assets.rollup.usage_rules import broken_rules
from resmon_assets.window_refresh import store_rows
from resmon_assets.windows import Outcome, WindowTable, read_stored, refuse_red
from resmon_resources.errors import RawGone, WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import load_query
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import current_revisions, window_states

_LOG = logging.getLogger(__name__)

USAGE = WindowTable(
    name=table_of(RESOURCE_USAGE),
    columns=RESOURCE_USAGE_ROWS,
    key=RESOURCE_USAGE_KEY,
    width=HOUR,
    window=HOUR,
    storage="month",
)

REFRESHED_EVERY = timedelta(minutes=5)
"""The running hour is told at the end of each five minutes: buckets of the finest rollup."""

_DAYS, _HOURS, _FINE = table_of(ROLLUP_1DAY), table_of(ROLLUP_1HOUR), table_of(ROLLUP_5MIN)
_SOURCES = ((_DAYS, DAY), (_HOURS, HOUR), (_FINE, HOUR))
"""Rollups by table and window, the coarsest first."""


@dataclass(frozen=True, slots=True)
class Computed:
    """An hour in memory.

    Attributes:
        rows: schema `frames.RESOURCE_USAGE_ROWS`.
        measured_until: end of the closed part of the hour.
        revision: of raw, in sum over the rolled-up windows of the month so far.
        sample_count: raw rows of the hour.
        server_count: servers active at `measured_until`.
        missing: hours of the month that are not rolled up yet; with any, the traffic is not known.
    """

    rows: pl.DataFrame
    measured_until: datetime
    revision: int
    sample_count: int
    server_count: int
    missing: tuple[datetime, ...]


def refresh_usage(postgres: PostgresResource, *, start: datetime, now: datetime) -> Outcome:
    """Compute the usage of the hour at `start` up to its last rolled-up bucket; store what differs.

    Repeatable: with the same raw, inventory and limits it changes no row.

    Raises:
        WindowRefused: the hour is not rolled up, a rollup of the month is red, or samples of the
            hour are gone and its usage was never computed.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    nothing = Outcome(start=start, closed_until=start, is_complete=False)
    if now < start + REFRESHED_EVERY:
        return nothing
    with postgres.connect() as connection:
        # Held until the rows are committed: a limit that changes meanwhile waits, and then finds
        # the window in the ledger and marks it stale (inventory.outdate_usage).
        connection.execute("lock table inventory.quotas in share mode")
        with postgres.snapshot() as snapshot:
            computed = compute_usage(snapshot, start=start, is_running=now < start + HOUR)
        if computed is None:
            return nothing
        return store_rows(
            postgres,
            USAGE,
            computed.rows,
            revision=computed.revision,
            sample_count=computed.sample_count,
            server_count=computed.server_count,
            start=start,
            closed_until=computed.measured_until,
            now=now,
            totals=load_query("rollup", "sum_usage"),
            on_newest=lambda writing, outcome: _observe_quotas(writing, computed, outcome, now=now),
        )


def _observe_quotas(
    connection: psycopg.Connection, computed: Computed, outcome: Outcome, *, now: datetime
) -> None:
    """Judge the quotas by the newest hour, in the transaction that stores it.

    An hour that its checks will find wrong says nothing of quotas: alerts stay as they are, until
    it is computed again.
    """
    if not is_news(computed.measured_until, now=now, window=HOUR):
        return
    broken = broken_rules(connection, USAGE, computed.rows, outcome)
    if broken:
        _LOG.warning(
            "No quota is judged by %s of %s: it breaks %s.",
            USAGE.name,
            outcome.start.isoformat(),
            ", ".join(broken),
        )
        return
    names: dict[int, str] = dict(connection.execute(load_query("rollup", "read_names")).fetchall())
    observe(
        connection,
        "quota",
        of_quotas(computed.rows, names),
        now=now,
        is_complete=True,
        gone="there is no such quota any more",
    )


def compute_usage(snapshot: Snapshot, *, start: datetime, is_running: bool) -> Computed | None:
    """The rows of the hour at `start`; None when it is running and nothing of it is rolled up.

    Raises:
        WindowRefused: see `refresh_usage`.
    """
    connection = snapshot.connection
    month = read_month(connection, start=start)
    for window in month.red:
        refuse_red(connection, window.table, start=window.start, end=window.start + window.window)
    until = month.measured_until
    if until is None and is_running:
        return None
    if until is None and not month.is_written:
        # Nothing to roll up: the month so far is still to be told.
        until = start + HOUR
    if until is None:
        msg = (
            f"Computing {USAGE.name} for {start:%Y-%m-%d %H:%M} UTC: that hour is in none of "
            f"{_FINE} and {_HOURS}. Compute one of them for this hour first."
        )
        raise WindowRefused(msg)
    values = {"start": start, "until": until}
    servers = snapshot.read_frame(
        load_query("rollup", "read_active_servers"), values, ACTIVE_SERVERS
    )
    tree = snapshot.read_frame(load_query("rollup", "read_tree_at"), {"until": until}, TREE)
    quotas = snapshot.read_frame(load_query("rollup", "read_quotas"), {"until": until}, QUOTAS)
    above = closure(tree)
    measured = (
        _measured_before(snapshot, start=start, revision=month.revision)
        if month.sample_count and not _has_samples(connection, start=start, until=until)
        else measured_of(servers, above)
    )
    rows = usage_rows(
        tree["organization_id"],
        servers,
        measured,
        None if month.missing else read_traffic(snapshot, month, until=until),
        effective_limits(quotas, above, until=until),
        closure=above,
        hour=start,
        measured_until=until,
    )
    return Computed(
        rows=rows,
        measured_until=until,
        revision=month.revision,
        sample_count=month.sample_count,
        server_count=servers.height,
        missing=month.missing,
    )


def read_month(connection: psycopg.Connection, *, start: datetime) -> Month:
    """The windows that make up the month into the hour at `start`, from the ledger."""
    first, end = month_start(start), start + HOUR
    rolled_up = [
        RolledUp(
            table=table,
            start=state.window_start,
            window=window,
            complete_until=state.complete_until,
            revision=state.revision,
            sample_count=state.sample_count,
            is_red=state.is_red,
        )
        for table, window in _SOURCES
        for state in window_states(connection, table, start=first, end=end).values()
    ]
    written = current_revisions(connection, first, end=end)
    return cover_month(rolled_up, written, hour=start)


def read_traffic(snapshot: Snapshot, month: Month, *, until: datetime) -> pl.DataFrame:
    """Bytes of each subtree in these windows, schema `usage.TRAFFIC`."""
    fine = _starts(month, _FINE)
    values = {
        "days": _starts(month, _DAYS),
        "hours": _starts(month, _HOURS),
        "fine_hours": fine,
        "fine_start": min(fine, default=until),
        "until": until,
    }
    return snapshot.read_frame(load_query("rollup", "read_month_traffic"), values, TRAFFIC)


def _starts(month: Month, table: str) -> Sequence[datetime]:
    """Starts of the month's windows of one rollup."""
    return [window.start for window in month.windows if window.table == table]


def _has_samples(connection: psycopg.Connection, *, start: datetime, until: datetime) -> bool:
    """Whether raw still has samples of the hour."""
    values = {"start": start, "until": until}
    row = connection.execute(load_query("rollup", "has_raw_samples").encode(), values).fetchone()
    return row is not None and bool(row[0])


def _measured_before(snapshot: Snapshot, *, start: datetime, revision: int) -> pl.DataFrame:
    """What was measured in an hour whose samples are gone, from its stored rows.

    Raises:
        RawGone: nothing is stored of it either.
    """
    stored = read_stored(snapshot, USAGE, start=start, end=start + HOUR)
    if stored.is_empty():
        msg = (
            f"Computing {USAGE.name} for {start:%Y-%m-%d %H:%M} UTC: the samples of "
            f"{start:%Y-%m-%d} were dropped by retention or by hand, and the usage of that hour "
            "was never computed. Restore the day from the archive and compute again, or leave the "
            "hour out of the range."
        )
        raise RawGone(msg, revision=revision)
    return stored.select("organization_id", *MEASURED)
