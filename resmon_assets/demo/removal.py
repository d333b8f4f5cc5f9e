"""Taking the demo fleet away: its rows in every table, and what the ledger knows only by it.

Belongs here: which rows go in which transaction. Day by day, from the newest to the oldest, under
the locks of the day's windows: what is left in a window is what it was made of without the fleet,
so that nothing of real servers is computed again or refused. Interrupted, it is gone on with.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from resmon_assets.automation import WATCHED
from resmon_assets.catch_up import Watched
from resmon_assets.demo.fleet_row import FleetRow
from resmon_assets.demo.plan import DAY
from resmon_assets.naming import ARCHIVE_RAW, TIER_FILESYSTEM_1DAY, table_of
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.rollup.usage_window import USAGE
from resmon_assets.tier.tiers import TIERS
from resmon_resources.database import Database
from resmon_resources.errors import ConfigurationInvalid, OrganizationNotEmpty
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.raw_days import lock_day

_FROM_SAMPLES = frozenset(
    [*(tier.table.name for tier in TIERS), *(rollup.table.name for rollup in ROLLUPS), USAGE.name]
)
"""Tables whose samples in the ledger are raw samples of the window."""

_EXACT = (ARCHIVE_RAW, TIER_FILESYSTEM_1DAY)
"""Further tables whose line in the ledger is right without the fleet."""

_TIMES = {
    "raw.server_resource_metrics": "collected_at",
    "raw.filesystem_usage": "collected_at",
    "raw.collection_coverage": "started_at",
}
"""Tables that are emptied day by day although no window is computed of them, and their times."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A table with rows of the fleet.

    Attributes:
        name: schema.table.
        has_server: it has a column server_id.
        has_organization: it has a column organization_id.
    """

    name: str
    has_server: bool
    has_organization: bool

    @property
    def is_of_demo(self) -> sql.Composable:
        """Condition on a row, as `t`, that it is the fleet's.

        A row of a server is the server's, in whatever organization; of an organization as a whole
        it has no server, or server 0.
        """
        if self.has_server and self.has_organization:
            return sql.SQL(
                "(t.server_id = any(%(server_ids)s) or "
                "(coalesce(t.server_id, 0) = 0 and t.organization_id = any(%(organization_ids)s)))"
            )
        if self.has_server:
            return sql.SQL("t.server_id = any(%(server_ids)s)")
        return sql.SQL("t.organization_id = any(%(organization_ids)s)")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step of the removal did.

    Attributes:
        day: start of the day; None for the last step, which takes all that has no day.
        rows: deleted.
    """

    day: datetime | None
    rows: int


def days_to_remove(fleet: FleetRow, *, now: datetime) -> list[datetime]:
    """Starts of the days that may hold rows of the fleet, newest first.

    Those after its history too: an organization has a row of usage in every hour.
    """
    last = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    count = (max(last, fleet.ends_at) - fleet.starts_at) // DAY + 1
    return [fleet.starts_at + k * DAY for k in reversed(range(count))]


def remove_fleet(
    postgres: Database, fleet: FleetRow, *, now: datetime
) -> Generator[Taken, None, None]:
    """Take the fleet away, a day at a time; may be repeated.

    Args:
        postgres: the data database.
        fleet: as read before.
        now: aware UTC.

    Raises:
        OrganizationNotEmpty: real servers or organizations lie in organizations of the fleet;
            nothing was changed.
    """
    with postgres.connect() as connection:
        _refuse_strangers(connection)
        connection.execute("update demo.fleet set is_being_removed = true")
    with postgres.connect() as connection:
        found = connection.execute(_query("select_watched_tables")).fetchall()
        ids = {
            "server_ids": _ids(connection, "select server_id from demo.servers"),
            "organization_ids": _ids(connection, "select organization_id from demo.organizations"),
        }
    holdings = [Holding(*row) for row in found]
    for day in days_to_remove(fleet, now=now):
        yield _remove_day(postgres, holdings, ids, day)
    yield _remove_rest(postgres, holdings, ids, fleet, now=now)


def _refuse_strangers(connection: psycopg.Connection) -> None:
    """Raise when something real lies in an organization of the fleet."""
    names = [name for (name,) in connection.execute(_query("select_strangers")).fetchall()]
    if names:
        msg = (
            f"Cannot remove the demo fleet: {', '.join(names[:5])} is not part of it and lies in "
            "one of its organizations. Move it to another organization first "
            "(`resmon server update NAME --organization ORGANIZATION`, `resmon org move`)."
        )
        raise OrganizationNotEmpty(msg)


def _ids(connection: psycopg.Connection, query: str) -> list[int]:
    """The only column of a query."""
    return [row[0] for row in connection.execute(query.encode()).fetchall()]


def _remove_day(
    postgres: Database,
    holdings: Sequence[Holding],
    ids: dict[str, list[int]],
    day: datetime,
) -> Taken:
    """One day in one transaction."""
    values = {**ids, "day": day.date(), "start": day, "end": day + DAY}
    by_name = {holding.name: holding for holding in holdings}
    with postgres.connect() as connection:
        _lock_fleet(connection)
        lock_day(connection, day.date())
        for watched in WATCHED:
            for window in watched.windows_between(day, day + DAY):
                advisory_lock(connection, watched.table, window.isoformat())
        connection.execute(_query("end_periods"), {"until": day})
        connection.execute(_query("create_demo_samples"), values)
        rows = 0
        computed = [w for w in WATCHED if w.table in by_name and _has_buckets(connection, w.table)]
        empty = {w: _subtract(connection, w, by_name[w.table], values) for w in computed}
        for watched, windows in empty.items():
            rows += _delete(connection, by_name[watched.table], "bucket_start", values)
            connection.execute(
                _query("delete_windows"), {"asset": watched.table, "windows": windows}
            )
        for name, column in _TIMES.items():
            rows += _delete(connection, by_name[name], column, values)
        connection.execute(_query("delete_raw_hours"), values)
        connection.execute(_query("delete_raw_day"), values)
    return Taken(day, rows)


def _lock_fleet(connection: psycopg.Connection) -> None:
    """Hold the fleet's row: whoever makes it waits, and finds that it is being removed."""
    if connection.execute(_query("lock_fleet")).fetchone() is None:
        msg = "The demo fleet was removed by another process meanwhile."
        raise ConfigurationInvalid(msg)


def _has_buckets(connection: psycopg.Connection, table: str) -> bool:
    """Whether the table's rows have a bucket_start."""
    row = connection.execute(
        "select exists (select from pg_attribute where attrelid = %s::regclass "
        "and attname = 'bucket_start' and not attisdropped)",
        [table],
    ).fetchone()
    return row is not None and bool(row[0])


def _subtract(
    connection: psycopg.Connection,
    watched: Watched,
    holding: Holding,
    values: dict[str, object],
) -> list[datetime]:
    """Take the fleet's rows of a day out of the ledger; windows that are left with nothing."""
    source = "none"
    if watched.table in _FROM_SAMPLES:
        source = "slots"
    elif watched.table == table_of(TIER_FILESYSTEM_1DAY):
        source = "files"
    query = sql.SQL(load_query("demo", "subtract_from_windows")).format(
        table=sql.Identifier(*watched.table.split(".")), is_of_demo=holding.is_of_demo
    )
    found = connection.execute(
        query, {**values, "asset": watched.table, "width": watched.window, "source": source}
    )
    return [window for (window,) in found]


def _delete(
    connection: psycopg.Connection, holding: Holding, column: str, values: dict[str, object]
) -> int:
    """Delete the fleet's rows of a day from a table."""
    query = sql.SQL(
        "delete from {table} as t where {is_of_demo} "
        "and t.{column} >= %(start)s and t.{column} < %(end)s"
    ).format(
        table=sql.Identifier(*holding.name.split(".")),
        is_of_demo=holding.is_of_demo,
        column=sql.Identifier(column),
    )
    return connection.execute(query, values).rowcount


def _remove_rest(
    postgres: Database,
    holdings: Sequence[Holding],
    ids: dict[str, list[int]],
    fleet: FleetRow,
    *,
    now: datetime,
) -> Taken:
    """All that has no day, then the inventory, then the fleet itself; in one transaction."""
    rows = 0
    with postgres.connect() as connection:
        _lock_fleet(connection)
        for holding in holdings:
            query = sql.SQL("delete from {table} as t where {is_of_demo}").format(
                table=sql.Identifier(*holding.name.split(".")), is_of_demo=holding.is_of_demo
            )
            rows += connection.execute(query, ids).rowcount
        for watched in WATCHED:
            if watched.table not in _FROM_SAMPLES and watched.key not in _EXACT:
                values = {
                    "asset": watched.table,
                    "is_day": watched.window == DAY,
                    "start": fleet.starts_at,
                    "end": now,
                }
                connection.execute(_query("forget_windows"), values)
        values = {"start": fleet.starts_at, "end": now}
        connection.execute(_query("delete_detector_states"), values)
        for table, column, chosen in (
            ("demo.servers", "server_id", "server_ids"),
            ("inventory.servers", "server_id", "server_ids"),
            ("demo.organizations", "organization_id", "organization_ids"),
            ("inventory.organizations", "organization_id", "organization_ids"),
        ):
            query = sql.SQL("delete from {} where {} = any(%s)").format(
                sql.Identifier(*table.split(".")), sql.Identifier(column)
            )
            rows += connection.execute(query, [ids[chosen]]).rowcount
        for table in ("added_windows", "added_hours", "pruned_days", "fleet"):
            connection.execute(sql.SQL("delete from {}").format(sql.Identifier("demo", table)))
    return Taken(None, rows)


def _query(name: str) -> bytes:
    """Text of sql/queries/demo/<name>.sql."""
    return load_query("demo", name).encode()
