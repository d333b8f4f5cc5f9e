"""What is known of windows that still have to be computed: wishes, tries, refusals.

Belongs here: the statements over ops.catch_up. What is done about them is decided in
resmon_assets/catch_up.py; which windows are stale is told by window_ledger.py. All times are aware
UTC; nothing here commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import psycopg
from psycopg.rows import class_row

from resmon_resources.postgres_connection import load_query

FAILING_ATTEMPTS = 3
"""Runs without success after which a person is told; one or two fail when a machine restarts."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run that was requested for a window.

    Attributes:
        asset: asset key as schema.table.
        window_start: start of the window.
        number: how many runs were requested for it without success, with this one.
        revision: of raw in its reach, as it was requested.
    """

    asset: str
    window_start: datetime
    number: int
    revision: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Windows of one table that cannot be computed, or that must not be used.

    Attributes:
        asset: asset key as schema.table.
        kind: refused (raw is gone), failing (its last runs failed), red (a blocking check failed).
        windows: how many.
        first_start: start of the oldest.
        last_start: start of the newest.
        detail: the newest refusal in words; None for the other kinds.
    """

    asset: str
    kind: Literal["refused", "failing", "red"]
    windows: int
    first_start: datetime
    last_start: datetime
    detail: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What became of the windows of one table that a person asked for.

    Attributes:
        asset: asset key as schema.table.
        windows: how many were asked for.
        computed: of these computed since.
        refused: refused since, because raw is gone.
        failing: tried twice or more, neither computed nor refused.
        is_tried: a run was requested for at least one that is left.
    """

    asset: str
    windows: int
    computed: int
    refused: int
    failing: int
    is_tried: bool

    @property
    def is_over(self) -> bool:
        """Whether waiting longer is of no use."""
        return self.computed + self.refused + self.failing >= self.windows


def request_windows(
    connection: psycopg.Connection, asset: str, starts: Sequence[datetime], *, now: datetime
) -> None:
    """Ask for windows to be computed again from scratch, whatever their state.

    They are stale until a run that began after `now` has computed them.
    """
    values = {"assets": [asset] * len(starts), "starts": list(starts), "requested_at": now}
    connection.execute(_query("upsert_catch_up_request"), values)


def record_attempts(
    connection: psycopg.Connection, attempts: Sequence[Attempt], *, now: datetime
) -> None:
    """Count that runs were requested for these windows."""
    values = {
        "assets": [one.asset for one in attempts],
        "starts": [one.window_start for one in attempts],
        "attempts": [one.number for one in attempts],
        "revisions": [one.revision for one in attempts],
        "attempted_at": now,
    }
    connection.execute(_query("upsert_catch_up_attempt"), values)


def record_refusal(
    connection: psycopg.Connection,
    asset: str,
    window_start: datetime,
    *,
    revision: int,
    message: str,
    now: datetime,
) -> None:
    """Keep that a window was refused; it is not tried again until raw is written to.

    Args:
        connection: not the one whose transaction the refusal rolls back.
        asset: asset key as schema.table.
        window_start: start of the window.
        revision: of raw in its reach, as it was refused.
        message: the refusal in words.
        now: when.
    """
    values = {
        "asset": asset,
        "window_start": window_start,
        "refused_at": now,
        "refused_revision": revision,
        "refusal": message,
    }
    connection.execute(_query("upsert_catch_up_refusal"), values)


def wishes(
    connection: psycopg.Connection,
    windows: Sequence[tuple[str, datetime]],
    *,
    requested_at: datetime,
) -> dict[str, Wish]:
    """What became of windows (asset, start) that were asked for at one time, by asset."""
    values = {
        "assets": [asset for asset, _ in windows],
        "starts": [start for _, start in windows],
        "requested_at": requested_at,
    }
    with connection.cursor(row_factory=class_row(Wish)) as cursor:
        cursor.execute(_query("count_requested_windows"), values)
        return {wish.asset: wish for wish in cursor}


def is_requested(connection: psycopg.Connection, asset: str, window_start: datetime) -> bool:
    """Whether a person asked for the window since it was computed: all of it is computed then."""
    values = {"asset": asset, "window_start": window_start}
    row = connection.execute(_query("select_is_requested"), values).fetchone()
    return row is not None and bool(row[0])


def missing_raw_days(connection: psycopg.Connection, start: datetime, end: datetime) -> list[date]:
    """UTC days that touch [start, end) and whose raw samples are gone, oldest first."""
    rows = connection.execute(_query("select_missing_raw_days"), {"start": start, "end": end})
    return [day for (day,) in rows]


def forget_settled(connection: psycopg.Connection) -> int:
    """Remove rows of windows that have been computed since; their number."""
    return connection.execute(_query("delete_catch_up_settled")).rowcount


def troubles(connection: psycopg.Connection) -> list[Trouble]:
    """What a person should look at, by table and kind."""
    with connection.cursor(row_factory=class_row(Trouble)) as cursor:
        cursor.execute(_query("select_catch_up_troubles"), {"attempts": FAILING_ATTEMPTS})
        return cursor.fetchall()


def _query(name: str) -> bytes:
    """Text of sql/queries/ops/<name>.sql."""
    return load_query("ops", name).encode()
