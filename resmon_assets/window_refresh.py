"""How a window is refreshed: what stands around the computation of every table of windows.

Belongs here: from computed rows to the outcome of a window, the two attempts at a window that is
computed by slots, and the state of the tables that a day is computed from. What is computed is in
the stages; the transaction that stores it is in `windows.py`. Knows no stage and no Dagster.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import psycopg

from resmon_assets.windows import (
    Outcome,
    Part,
    Plan,
    Stored,
    WindowTable,
    plan_window,
    refuse_red,
    store_window,
)
from resmon_resources.errors import WindowChanged, WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import Snapshot
from resmon_resources.window_ledger import WindowState, window_states


@dataclass(frozen=True, slots=True)
class Computed:
    """What was computed of a window that is planned by slots.

    Attributes:
        plan: which of its buckets, and from what.
        rows: of these, with the columns of the table.
        counted: raw rows of the plan's ranges in that snapshot, counted by PostgreSQL, by slot (of
            a window without slots all are of slot 0).
        server_count: servers that have samples in these.
    """

    plan: Plan
    rows: pl.DataFrame
    counted: dict[int, int]
    server_count: int

    @property
    def sample_count(self) -> int:
        """Raw rows of the whole window: those counted, and of the other slots those known."""
        part = self.plan.part(self.counted)
        return sum(self.counted.values() if part is None else part.samples)


def refresh_planned(
    postgres: PostgresResource,
    table: WindowTable,
    compute: Callable[[Snapshot, Plan], Computed],
    *,
    start: datetime,
    now: datetime,
    totals: str,
) -> Outcome:
    """Compute the closed buckets of the window at `start` that are stale and store what differs.

    Where the rows of its other slots change meanwhile, the whole window is computed instead.

    Args:
        postgres: the data database.
        table: where to.
        compute: the rows that a plan asks for, read in the plan's snapshot.
        start: the window's, aware UTC.
        now: recorded as the time of computation; decides which buckets are closed.
        totals: see `windows.store_window`.

    Raises:
        WindowRefused: raw has fewer samples than the stored rows were computed from.
        WindowChanged: the stored rows changed during the second attempt too.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    try:
        return _attempt(postgres, table, compute, start=start, now=now, totals=totals)
    except WindowChanged:
        return _attempt(
            postgres, table, compute, start=start, now=now, totals=totals, is_whole=True
        )


def _attempt(
    postgres: PostgresResource,
    table: WindowTable,
    compute: Callable[[Snapshot, Plan], Computed],
    *,
    start: datetime,
    now: datetime,
    totals: str,
    is_whole: bool = False,
) -> Outcome:
    """Compute and store the window, or what is stale of it."""
    closed_until = table.closed_until(start, now=now)
    if closed_until == start:
        return Outcome(start=start, closed_until=start, is_complete=False)
    with postgres.snapshot() as snapshot:
        plan = plan_window(
            snapshot.connection, table, start=start, closed_until=closed_until, is_whole=is_whole
        )
        computed = compute(snapshot, plan)
    return store_rows(
        postgres,
        table,
        computed.rows,
        revision=plan.revision,
        sample_count=computed.sample_count,
        server_count=computed.server_count,
        start=start,
        closed_until=closed_until,
        now=now,
        totals=totals,
        part=plan.part(computed.counted),
        buckets_computed=sum((b - a) // table.width for a, b in plan.ranges),
        samples_read=sum(computed.counted.values()),
    )


def store_rows(
    postgres: PostgresResource,
    table: WindowTable,
    rows: pl.DataFrame,
    *,
    revision: int,
    sample_count: int,
    server_count: int,
    start: datetime,
    closed_until: datetime,
    now: datetime,
    totals: str | None = None,
    part: Part | None = None,
    on_newest: Callable[[psycopg.Connection, Outcome], object] | None = None,
    buckets_computed: int = 1,
    samples_read: int = 0,
) -> Outcome:
    """Store the rows of a window and tell what became of it.

    Args, and what is raised: those of `windows.store_window`, and the figures of `windows.Outcome`
    that only the computation knows; `on_newest` is given the outcome as it will be returned.
    """

    def told(stored: Stored | None) -> Outcome:
        return Outcome(
            start=start,
            closed_until=closed_until,
            is_complete=closed_until == start + table.window,
            revision=revision,
            sample_count=sample_count,
            row_count=rows.height if stored is None else stored.row_count,
            buckets_computed=buckets_computed,
            samples_read=samples_read,
            server_count=server_count,
            stored=stored,
        )

    stored = store_window(
        postgres,
        table,
        rows,
        revision=revision,
        sample_count=sample_count,
        start=start,
        closed_until=closed_until,
        now=now,
        totals=totals,
        part=part,
        on_newest=None
        if on_newest is None
        else lambda writing, written: on_newest(writing, told(written)),
    )
    return told(stored)


def source_states(
    connection: psycopg.Connection,
    table: WindowTable,
    sources: Sequence[str],
    *,
    start: datetime,
) -> dict[str, WindowState]:
    """States of the same day of the tables that a day of `table` is computed from, by table.

    Args:
        connection: the one of the snapshot that they are read in.
        table: what is computed, in windows of UTC days.
        sources: `schema.table` of each, with windows of UTC days too; the first that is not as it
            should be is named.
        start: of the day, aware UTC.

    Raises:
        WindowRefused: one of them is red, or not computed to the end of the day.
    """
    end = start + table.window
    found = {}
    for source in sources:
        refuse_red(connection, source, start=start, end=end)
        state = window_states(connection, source, start=start, end=end).get(start)
        if state is None or state.complete_until < end:
            msg = (
                f"Computing {table.name} for {start:%Y-%m-%d}: {source} has not been computed for "
                f"that day. Materialize its partition {start:%Y-%m-%d} first, or wait: the "
                "catch-up sensor tries again."
            )
            raise WindowRefused(msg)
        found[source] = state
    return found
