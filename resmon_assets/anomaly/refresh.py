"""One hour of anomaly reports: read a snapshot, judge, store what is new.

Belongs here: the shell around `judging.py` and `episodes.py`: which statements run in which
transaction, from which state an hour is judged, and what becomes of late samples and of a
recomputation. Knows no Dagster.

Hours go forward: an hour is judged from what was known at the end of the hour before it. A verdict
is final: what was told once is not told otherwise because samples came late; a person who wants
that asks for the hour again, and gets another revision. See docs/analytics.md.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from resmon_assets.anomaly import state_store
from resmon_assets.anomaly.episodes import (
    STEP,
    Episode,
    Moment,
    as_frame,
    follow,
    from_frame,
    revise,
)
from resmon_assets.anomaly.judging import (
    ROWS,
    Hour,
    Knowledge,
    Rule,
    hour_of,
    judge,
    nothing_known,
    rules_of,
)
from resmon_assets.anomaly.maintenance import MaintenanceWindow
from resmon_assets.anomaly.open_episodes import observe_episodes
from resmon_assets.frames import EPISODE_KEY, EPISODE_ROWS, schema_of
from resmon_assets.matters import is_news
from resmon_assets.naming import ANOMALY_REPORTS, TIER_5MIN, table_of
from resmon_assets.windows import Outcome, Stored, WindowTable, refuse_red
from resmon_resources.catch_up_ledger import is_requested
from resmon_resources.errors import RawGone, WindowRefused
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.postgres_frames import Snapshot, copy_frame
from resmon_resources.time_windows import weekly_of
from resmon_resources.window_ledger import (
    SLOT,
    WindowState,
    has_later_window,
    record_window,
    window_states,
)

HOUR = timedelta(hours=1)

REPORTS = WindowTable(
    name=table_of(ANOMALY_REPORTS),
    columns=EPISODE_ROWS,
    key=EPISODE_KEY,
    width=STEP,
    window=HOUR,
    storage="month",
)
"""The time column is `started_at`: what `windows.py` does with `bucket_start` is done here."""

SOURCE = table_of(TIER_5MIN)

LONGEST_WARM_UP, SHORTEST_WARM_UP = timedelta(days=14), timedelta(days=3)
"""Rows that are run through when nothing is known, and the longest run forward from an older state:
the single metrics' alarm level is that of 14 days, and they learn for two before the first
verdict."""
WARM_UP_SERVER_HOURS = 720_000
"""The bound in between: 10,000 servers get three days, 2,000 all fourteen. An hour of 10,000 takes
seconds (bench-anomaly), and five-minute runs wait for it once after an update of the detectors."""

REACH = timedelta(days=35)
"""Episodes longer than this are not looked for when an hour within them is computed again."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Carried:
    """What the last hour of a run has left, so that the next need not read it again.

    Attributes:
        hour: of which `knowledge` is what was known at the end; None: nothing is carried.
        knowledge: as stored.
    """

    hour: datetime | None = None
    knowledge: Knowledge | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of an hour in one snapshot.

    Attributes:
        source: state of the tier's window.
        own: state of this table's window; None: never judged.
        until: end of the last time step that the tier has.
        hour: rows of [start, until).
        row_count: how many.
        sample_count: raw samples in them.
        knowledge: before the hour; None when no verdict is wanted.
        maintenance: windows that may touch it.
    """

    source: WindowState
    own: WindowState | None
    until: datetime
    hour: Hour
    row_count: int
    sample_count: int
    knowledge: Knowledge | None
    maintenance: list[MaintenanceWindow]

    def told_until(self, start: datetime) -> datetime:
        """End of what was judged before."""
        return start if self.own is None else max(start, self.own.complete_until)


def refresh_reports(
    postgres: PostgresResource,
    *,
    start: datetime,
    now: datetime,
    is_by_person: bool = False,
    has_ratio: bool = False,
    carried: Carried | None = None,
    log: Callable[[str], None] = _LOG.info,
) -> Outcome:
    """Judge the time steps of the hour at `start` that the tier has and that were not judged yet.

    Repeatable: with the same rows it changes nothing. Samples that came late change no verdict:
    the episodes of their hour are marked.

    Args:
        postgres: the data database.
        start: of a UTC hour.
        now: aware UTC, recorded as the time of computation.
        is_by_person: judge all of it again, and where the verdicts differ from those stored write
            a new revision beside them. So it is as well when a person asked in the ledger.
        has_ratio: judge by the plain rule too.
        carried: shared by the hours of one run, in order.
        log: told when the detectors have to learn anew or run forward.

    Raises:
        WindowRefused: the hour is not in the tier yet, is red there, or its rows are gone.
        DetectorStateUnusable: a stored state is damaged.
        DatabaseError: PostgreSQL could not be reached or refused.
    """
    carried = Carried() if carried is None else carried
    rules = rules_of(has_ratio=has_ratio)
    with postgres.snapshot() as snapshot:
        source, own = _states(snapshot.connection, start)
        if source is None and now < start + HOUR:
            return Outcome(start=start, closed_until=start, is_complete=False)
        is_again = own is not None and (
            is_by_person or is_requested(snapshot.connection, REPORTS.name, start)
        )
        read = _read(
            snapshot,
            start=start,
            source=source,
            own=own,
            is_wanted=is_again,
            rules=rules,
            carried=carried,
            log=log,
        )
    after, moments = None, list[Moment]()
    if read.knowledge is not None:
        after, moments = judge(read.knowledge, read.hour, rules=rules, maintenance=read.maintenance)
    stored = _store(
        postgres,
        read,
        moments,
        after,
        start=start,
        is_again=is_again,
        rules=rules,
        now=now,
    )
    is_complete = read.until == start + HOUR
    if after is not None and is_complete and stored is not None:
        carried.hour, carried.knowledge = start, after
    elif after is not None:
        carried.hour = carried.knowledge = None
    return Outcome(
        start=start,
        closed_until=read.until,
        is_complete=is_complete,
        revision=read.source.revision,
        sample_count=read.sample_count,
        row_count=0 if stored is None else stored.row_count,
        buckets_computed=len(moments),
        samples_read=read.row_count,
        server_count=len(read.hour.server_ids),
        stored=stored,
    )


def warm_up(servers: int) -> timedelta:
    """How far back is learned from when nothing is known of a fleet of so many servers."""
    hours = timedelta(hours=WARM_UP_SERVER_HOURS // max(1, servers))
    return min(LONGEST_WARM_UP, max(SHORTEST_WARM_UP, hours))


def read_maintenance(
    connection: psycopg.Connection, *, start: datetime, end: datetime
) -> list[MaintenanceWindow]:
    """Maintenance windows that may touch [start, end), with organizations as the tree is now."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            load_query("anomaly", "select_maintenance").encode(), {"start": start, "end": end}
        )
        windows = []
        for row in cursor:
            try:
                windows.append(_maintenance_of(row))
            except (ZoneInfoNotFoundError, ValueError) as error:
                # One row that nobody can read must not end all judging; it mutes nobody.
                _LOG.warning(
                    "The maintenance window %r is left out: its time zone %r is not known here "
                    "(%s). Correct it in inventory.maintenance_window.",
                    row["reason"],
                    row["time_zone"],
                    error,
                )
    return windows


def _maintenance_of(row: Mapping[str, Any]) -> MaintenanceWindow:
    """A row of the query as a window."""
    organizations = row["organization_ids"]
    return MaintenanceWindow(
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        weekly=weekly_of(
            row["weekday"], row["local_start"], row["duration_minutes"], row["time_zone"]
        ),
        server_id=row["server_id"],
        organization_ids=None if organizations is None else frozenset(organizations),
        reason=row["reason"],
    )


def read_episodes(snapshot: Snapshot, *, start: datetime, end: datetime) -> list[Episode]:
    """Episodes in force that touch [start, end)."""
    query = _statement("select_episodes").as_string(snapshot.connection)
    values = {"start": start, "end": end, "reach": REACH}
    return from_frame(snapshot.read_frame(query, values, schema_of(EPISODE_ROWS)))


def _states(
    connection: psycopg.Connection, start: datetime
) -> tuple[WindowState | None, WindowState | None]:
    """What the ledger says of the hour: of the tier, and of the reports."""
    end = start + HOUR
    source = window_states(connection, SOURCE, start=start, end=end).get(start)
    return source, window_states(connection, REPORTS.name, start=start, end=end).get(start)


def _read(
    snapshot: Snapshot,
    *,
    start: datetime,
    source: WindowState | None,
    own: WindowState | None,
    is_wanted: bool,
    rules: Sequence[Rule],
    carried: Carried,
    log: Callable[[str], None],
) -> _Read:
    """Everything that the hour is judged from; no rows when nothing has to be judged."""
    if source is None:
        msg = (
            f"Judging {REPORTS.name} for {start:%Y-%m-%d %H:%M} UTC: that hour is not in {SOURCE}. "
            f"Compute {SOURCE} for this hour first."
        )
        raise WindowRefused(msg)
    refuse_red(snapshot.connection, SOURCE, start=start, end=start + HOUR)
    until = max(start, source.complete_until)
    is_new = own is None or own.complete_until < until
    is_judged = until > start and (is_new or is_wanted)
    rows = snapshot.read_frame(
        load_query("anomaly", "read_metrics"),
        {"start": start, "end": until if is_judged else start},
        ROWS,
    )
    if is_judged and rows.is_empty() and source.sample_count:
        msg = (
            f"Judging {REPORTS.name} for {start:%Y-%m-%d %H:%M} UTC: {SOURCE} has no row of that "
            f"hour any more, but was computed from {source.sample_count} samples. Retention has "
            f"dropped them. Compute {SOURCE} again from restored samples, or leave the hour out."
        )
        raise RawGone(msg, revision=source.revision)
    return _Read(
        source=source,
        own=own,
        until=until,
        hour=hour_of(rows, start=start, end=until),
        row_count=rows.height,
        sample_count=source.sample_count,
        knowledge=_known_before(snapshot, start=start, rules=rules, carried=carried, log=log)
        if is_judged
        else None,
        maintenance=read_maintenance(snapshot.connection, start=start, end=start + HOUR),
    )


def _known_before(
    snapshot: Snapshot,
    *,
    start: datetime,
    rules: Sequence[Rule],
    carried: Carried,
    log: Callable[[str], None],
) -> Knowledge:
    """What is known when the hour at `start` begins.

    From the stored state of the hour before; else from an older one, run forward over the hours
    between, or from nothing; over no more than `warm_up`. What these hours say is not stored.
    """
    names = {rule.name for rule in rules}
    if (
        carried.hour == start - HOUR
        and carried.knowledge is not None
        and names <= set(carried.knowledge.states)
    ):
        return carried.knowledge
    connection = snapshot.connection
    nearest = state_store.newest_before(connection, start, rules)
    known = (
        nothing_known(rules)
        if nearest is None
        else state_store.read_state(connection, nearest, rules)
    )
    oldest = start - warm_up(_one(connection, "count_active_servers", {}))
    hour = oldest if nearest is None else max(nearest + HOUR, oldest)
    if hour == start:
        return known
    begun, first, count = time.monotonic(), hour, 0
    query = load_query("anomaly", "read_metrics")
    while hour < start:
        rows = snapshot.read_frame(query, {"start": hour, "end": hour + HOUR}, ROWS)
        if rows.height:
            known, _ = judge(
                known,
                hour_of(rows, start=hour, end=hour + HOUR),
                rules=rules,
                maintenance=read_maintenance(connection, start=hour, end=hour + HOUR),
                is_told=False,
            )
            count += 1
        hour += HOUR
    since = "nothing" if nearest is None else f"the state of {nearest:%Y-%m-%d %H:%M} UTC"
    log(
        f"{REPORTS.name} {start:%Y-%m-%d %H:%M} UTC: from {since} run forward over {count} hours "
        f"that have rows, since {first:%Y-%m-%d %H:%M} UTC, in {time.monotonic() - begun:.1f} s"
    )
    return known


def _store(
    postgres: PostgresResource,
    read: _Read,
    moments: Sequence[Moment],
    after: Knowledge | None,
    *,
    start: datetime,
    is_again: bool,
    rules: Sequence[Rule],
    now: datetime,
) -> Stored | None:
    """Write the hour in one transaction; None when a newer state is stored, which is kept."""
    end = start + HOUR
    with postgres.connect() as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
            (REPORTS.name, REPORTS.storage, start, end),
        )
    with postgres.connect() as connection:
        # All hours wait for each other here: an open episode belongs to several.
        advisory_lock(connection, REPORTS.name)
        advisory_lock(connection, REPORTS.name, start.isoformat())
        _, own = _states(connection, start)
        if own != read.own:
            # Another run has judged it meanwhile, from as much: what it told is final.
            return None
        is_recorded = record_window(
            connection,
            REPORTS.name,
            start,
            revision=read.source.revision,
            computed_at=now,
            complete_until=read.until,
            row_count=0,
            sample_count=read.sample_count,
            slot_revisions=read.source.slot_revisions,
            slot_samples=read.source.slot_samples,
        )
        if not is_recorded:
            return None
        with postgres.snapshot() as snapshot:
            stored = read_episodes(snapshot, start=start, end=end)
            is_newest = not has_later_window(connection, REPORTS.name, start)
        told_until = read.told_until(start)
        grown = _grown(
            stored, [m for m in moments if m.at >= told_until], is_newest=is_newest, end=end
        )
        _write(connection, grown)
        replaced: list[Episode] = []
        if is_again:
            told = {_key(e): e for e in (*stored, *grown)}
            replaced = _revised(
                connection, list(told.values()), moments, read, start=start,
                is_newest=is_newest, now=now,
            )  # fmt: skip
            _write(connection, replaced)
        late = _late_until(read, start)
        if late is not None or is_again:
            connection.execute(
                load_query("anomaly", "mark_late_input").encode(),
                {"start": start, "end": late or end, "is_late": not is_again},
            )
        if after is not None and read.until == end:
            state_store.write_state(
                connection, after, start=start, revision=read.source.revision, rules=rules, now=now
            )
        figures = _figures(connection, start=start, end=read.until)
        connection.execute(
            "update ops.window_state set row_count = %s where asset = %s and window_start = %s",
            (figures["stored_rows"], REPORTS.name, start),
        )
        if is_newest and is_news(read.until, now=now, window=HOUR):
            observe_episodes(connection, at=read.until, now=now)
    known = {_key(e) for e in stored}
    written = [*grown, *replaced]
    new = sum(_key(e) not in known for e in written)
    return Stored(
        new=new,
        changed=len(written) - new,
        deleted=0,
        stored_rows=figures.pop("stored_rows"),
        totals=figures,
        row_count=len(written),
    )


def _grown(
    stored: Sequence[Episode], moments: Sequence[Moment], *, is_newest: bool, end: datetime
) -> list[Episode]:
    """Episodes that the time steps not judged before have begun, prolonged or ended."""
    if not moments:
        return []
    first = moments[0].at
    before = [e for e in stored if e.ended_at is None and e.started_at < first]
    still_open, ended = follow(before, moments)
    # Hours after this one were judged already: nobody would end what begins here now, and what
    # was open before it was followed there.
    known = {_key(e) for e in before}
    left = [
        e if is_newest or _key(e) in known else replace(e, ended_at=end)
        for e in still_open.values()
    ]
    return [e for e in (*left, *ended) if e not in before]


def _revised(
    connection: psycopg.Connection,
    told: Sequence[Episode],
    moments: Sequence[Moment],
    read: _Read,
    *,
    start: datetime,
    is_newest: bool,
    now: datetime,
) -> list[Episode]:
    """Rows that a recomputation of the whole hour replaces, and those that hold instead."""
    touching = [e for e in told if e.superseded_at is None]
    before = [replace(e, ended_at=None) for e in touching if e.started_at < start]
    still_open, ended = follow(before, moments)
    first = min((e.started_at for e in touching), default=start)
    newest = _one(connection, "select_newest_revision", {"start": first, "end": read.until})
    revised = revise(
        touching,
        [*still_open.values(), *ended],
        end=read.until,
        is_newest=is_newest,
        now=now,
        revision=newest + 1,
    )
    return [*revised.superseded, *revised.new]


def _late_until(read: _Read, start: datetime) -> datetime | None:
    """End of what was judged before, when samples of it have come since; None otherwise."""
    own = read.own
    if own is None or own.complete_until <= start or own.revision == read.source.revision:
        return None
    told = -(-(min(own.complete_until, start + HOUR) - start) // SLOT)
    before, after = own.slot_revisions, read.source.slot_revisions
    if before is None or after is None:
        is_late = own.complete_until >= start + HOUR
    else:
        is_late = before[:told] != after[:told]
    return own.complete_until if is_late else None


def _write(connection: psycopg.Connection, episodes: Sequence[Episode]) -> None:
    """Insert episodes, or bring those that are stored up to date."""
    if not episodes:
        return
    connection.execute("drop table if exists pg_temp.changed_episodes")
    connection.execute(load_query("anomaly", "create_changed_episodes").encode())
    copy_frame(connection, "pg_temp.changed_episodes", as_frame(episodes))
    connection.execute(_statement("upsert_episodes"))


def _figures(connection: psycopg.Connection, *, start: datetime, end: datetime) -> dict[str, int]:
    """Counts of the episodes as they stand after the hour."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            load_query("anomaly", "count_episodes").encode(), {"start": start, "end": end}
        )
        return cursor.fetchone() or {}


def _one(connection: psycopg.Connection, query: str, values: dict[str, datetime]) -> int:
    """The only value of the only row of a query; booleans count as integers."""
    row = connection.execute(load_query("anomaly", query).encode(), values).fetchone()
    return 0 if row is None else int(row[0])


def _key(episode: Episode) -> tuple[object, ...]:
    """Primary key of its row."""
    return tuple(getattr(episode, name) for name in EPISODE_KEY)


def _statement(name: str) -> sql.Composed:
    """A statement with the columns of an episode in place of {columns}."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in EPISODE_ROWS)
    return sql.SQL(load_query("anomaly", name)).format(columns=columns)
