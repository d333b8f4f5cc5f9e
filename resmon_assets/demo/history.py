"""The demo fleet in the database: its inventory, its truth, and its history day by day.

Belongs here: the shell around `plan.py`, `signals.py` and `samples.py`, and what is written in
which transaction. Knows no Dagster run. Why it is done so is told in docs/decisions/0016-demo.md.

A day is one transaction: raw samples where retention keeps them, the rows of all tiers and rollups
as the house's own functions compute them from these samples, and the ledger. At no moment is there
a window that the catch-up sensor would have to compute. Only rows of the demo fleet are written;
those of real servers in the same windows stay, and the ledger's lines of these windows go on to say
the truth of both.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import psycopg

from resmon_assets.demo.fleet_row import FleetRow
from resmon_assets.demo.plan import (
    DAY,
    HOUR,
    INTERVAL_SECONDS,
    ORGANIZATIONS,
    Plan,
)
from resmon_assets.demo.samples import DayOfSamples, Identity, samples_of_day
from resmon_assets.demo.signals import Signals, reached_on_day, signals_of
from resmon_assets.frames import INSTANT, ROLLUP_INPUT, SUBTREE, TIER_INPUT
from resmon_assets.naming import ROLLUP_1HOUR, ROLLUP_5MIN, table_of
from resmon_assets.raw.difference import status_of
from resmon_assets.rollup.metrics import (
    expected_by_stretch,
    fold_samples,
    organization_rows,
    put_together,
)
from resmon_assets.rollup.quotas import LIMITS
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.rollup.tree import (
    TREE,
    TREE_PERIODS,
    closure,
    closure_in_time,
    cut_into_stretches,
)
from resmon_assets.rollup.usage import (
    ACTIVE_SERVERS,
    TRAFFIC,
    measured_of,
    month_start,
    usage_rows,
)
from resmon_assets.rollup.usage_window import USAGE
from resmon_assets.tier.expectation import complete, expected_counts
from resmon_assets.tier.filesystem import FILE_SYSTEM_DAY
from resmon_assets.tier.filesystem_statistics import day_statistics
from resmon_assets.tier.statistics import bucket_statistics
from resmon_assets.tier.storage import stored_form
from resmon_assets.tier.tiers import TIERS
from resmon_assets.windows import WindowTable
from resmon_resources.errors import ConfigurationInvalid, NameTaken
from resmon_resources.inventory import find_organization, list_organizations, list_servers
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_connection import advisory_lock, load_query
from resmon_resources.postgres_frames import copy_frame, copy_rows
from resmon_resources.raw_days import lock_day
from resmon_resources.retention_policy import RAW_FILE_SYSTEMS, RAW_SAMPLES, Policy, read_policy
from resmon_resources.sample_store import Sample
from resmon_resources.window_ledger import SLOT, SLOTS

TAG = "demo"
"""Tag of every server of the fleet."""

LIMITS_TOLD = (0.85, 0.9, 1.0)
TRUTH_HORIZON_DAYS = 400
"""How far behind the end of the history the day is looked for on which a limit is reached."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a day's transaction stored.

    Attributes:
        day: start of the day.
        samples: made; all of them were computed with.
        raw_rows: of these, kept in raw.
        rows: of tiers, rollups and usage.
    """

    day: datetime
    samples: int
    raw_rows: int
    rows: int


def register(connection: psycopg.Connection[Any], plan: Plan, *, now: datetime) -> None:
    """Put the fleet into the inventory, paused, and its truth beside it; in one transaction.

    Raises:
        ConfigurationInvalid: there is a demo fleet already.
        NameTaken: a real organization or server has a name that the fleet needs.
    """
    with connection.transaction():
        values = {
            "seed": plan.seed,
            "server_count": len(plan.servers),
            "starts_at": plan.start,
            "ends_at": plan.end,
            "now": now,
        }
        if connection.execute(_query("insert_fleet"), values).fetchone() is None:
            msg = (
                "There is a demo fleet already. See it with `resmon demo status`; take it away "
                "with `resmon demo remove` before you make another."
            )
            raise ConfigurationInvalid(msg)
        _refuse_taken_names(connection, plan)
        for name, parent in ORGANIZATIONS:
            connection.execute(
                load_query("inventory", "insert_organization").encode(),
                {
                    "name": name,
                    "parent_id": None
                    if parent is None
                    else find_organization(connection, parent).organization_id,
                    "now": plan.start,
                },
            )
            connection.execute(
                "insert into demo.organizations (organization_id) values (%s)",
                [find_organization(connection, name).organization_id],
            )
        _register_servers(connection, plan)


def identities_of(connection: psycopg.Connection[Any], plan: Plan) -> list[Identity]:
    """What the planned servers are in the database, in their order."""
    with connection.transaction():
        rows = connection.execute(_query("select_members")).fetchall()
    found = {name: Identity(server, organization) for name, server, organization, _ in rows}
    return [found[server.name] for server in plan.servers]


def make_history(
    postgres: PostgresResource, fleet: FleetRow, *, now: datetime
) -> Generator[Made, None, None]:
    """Store the days that are missing, oldest first; each is there whole or not at all.

    Args:
        postgres: the data database.
        fleet: as read before.
        now: aware UTC; decides which tables still keep a day.

    Raises:
        ConfigurationInvalid: another process makes or removes the fleet at the same time.
    """
    plan = fleet.plan()
    with postgres.connect(autocommit=True) as connection:
        identities = identities_of(connection, plan)
        policy = read_policy(connection)
    signals = [signals_of(plan, number) for number in range(len(plan.servers))]
    for number in range((fleet.made_until - fleet.starts_at) // DAY, plan.days):
        yield _make_day(postgres, plan, signals, identities, number=number, policy=policy, now=now)
    with postgres.connect() as connection:
        _store_status(connection, plan, signals, identities)


def _refuse_taken_names(connection: psycopg.Connection[Any], plan: Plan) -> None:
    """Raise when a real organization or server has one of the names."""
    organizations = {one.name for one in list_organizations(connection)}
    servers = {one.name for one in list_servers(connection)}
    taken = sorted(organizations & {name for name, _ in ORGANIZATIONS})
    taken += sorted(servers & {server.name for server in plan.servers})
    if taken:
        msg = (
            f"The demo fleet needs the name {taken[0]}, which is in use and not part of a demo "
            "fleet. Rename or move what has it; nothing was changed."
        )
        raise NameTaken(msg)


def _register_servers(connection: psycopg.Connection[Any], plan: Plan) -> None:
    """The servers and what is planted on them."""
    hour = {"hour": plan.start}
    before = connection.execute(_query("select_raw_hour"), hour).fetchone()
    ids: list[int] = []
    for server in plan.servers:
        added = connection.execute(
            _query("insert_server"),
            {
                "organization_id": find_organization(
                    connection, server.organization
                ).organization_id,
                "name": server.name,
                "host": f"{server.name}.invalid",
                "tags": sorted([TAG, f"role:{server.role}"]),
                "interval_seconds": INTERVAL_SECONDS,
                "starts_at": plan.start,
            },
        )
        ids += [server_id for (server_id,) in added]
        connection.execute(
            "insert into demo.servers (server_id, role) values (%s, %s)", [ids[-1], server.role]
        )
    # A paused server changes nothing that is computed of its first hour.
    if before is None:
        connection.execute(_query("delete_raw_hour"), hour)
    else:
        restored = {**hour, "revision": before[0], "slot_revisions": before[1]}
        connection.execute(_query("restore_raw_hour"), restored)
    _store_truth(connection, plan, ids)


def _store_truth(connection: psycopg.Connection[Any], plan: Plan, ids: Sequence[int]) -> None:
    """What is planted, for `resmon demo check`."""
    pairs = list(zip(ids, plan.servers, strict=True))
    copy_rows(
        connection,
        "demo.incidents",
        ("server_id", "metric", "kind", "started_at", "ended_at"),
        [
            (server_id, i.metric, i.kind, i.started_at, i.ended_at)
            for server_id, server in pairs
            for i in server.incidents
        ],
    )
    copy_rows(
        connection,
        "demo.drifts",
        ("server_id", "metric", "kind", "started_at", "change_per_day"),
        [
            (
                server_id,
                d.metric,
                d.kind,
                d.started_at,
                d.change_per_day * (server.memory_bytes if d.kind == "memory_leak" else 1.0),
            )
            for server_id, server in pairs
            for d in server.drifts
        ],
    )
    horizon = plan.days + TRUTH_HORIZON_DAYS
    rows = []
    for server_id, server in pairs:
        for mount in server.mounts:
            if mount.growth is None:
                continue
            reached = [reached_on_day(mount, share, horizon_days=horizon) for share in LIMITS_TOLD]
            rows.append(
                (
                    server_id,
                    mount.path,
                    mount.growth,
                    mount.total_bytes,
                    0.0 if mount.growth == "stalled" else mount.bytes_per_day,
                    *(
                        None if days is None else (plan.start + days * DAY).date()
                        for days in reached
                    ),
                )
            )
    copy_rows(
        connection,
        "demo.growth",
        (
            *("server_id", "mount", "kind", "total_bytes", "bytes_per_day"),
            *("reaches_85_on", "reaches_90_on", "reaches_100_on"),
        ),
        rows,
    )


@dataclass(frozen=True, slots=True)
class _Computed:
    """Rows of one table and one day, and what the ledger is to know of its windows."""

    table: WindowTable
    rows: pl.DataFrame
    samples: pl.DataFrame


def _make_day(
    postgres: PostgresResource,
    plan: Plan,
    signals: Sequence[Signals],
    identities: Sequence[Identity],
    *,
    number: int,
    policy: Policy,
    now: datetime,
) -> Made:
    """Compute and store one day."""
    start = plan.start + number * DAY
    end = start + DAY
    made = samples_of_day(plan, signals, identities, day=number)
    tables = [
        table
        for table in (
            *(tier.table for tier in TIERS),
            *(rollup.table for rollup in ROLLUPS),
            FILE_SYSTEM_DAY.table,
            USAGE,
        )
        if _is_kept(policy, table.name, end=end, now=now)
    ]
    with postgres.connect(autocommit=True) as connection:
        values = {"day": start.date(), "start": start, "end": end}
        ((is_pruned, has_samples),) = connection.execute(_query("select_raw_day"), values)
        is_raw = not is_pruned and (has_samples or _is_kept(policy, RAW_SAMPLES, end=end, now=now))
        has_files = is_raw or _is_kept(policy, RAW_FILE_SYSTEMS, end=end, now=now)
        _ensure_partitions(connection, tables, start=start, is_raw=is_raw, has_files=has_files)
        tree = _read_tree(connection)
        traffic = _read_traffic(connection, start)
    computed = _compute(made, identities, tree, traffic, tables, start=start)
    with postgres.connect() as connection:
        _lock_fleet(connection, start)
        lock_day(connection, start.date())
        for one in computed:
            for window in _windows(one.table, start):
                advisory_lock(connection, one.table.name, window.isoformat())
        if is_raw:
            copy_frame(connection, RAW_SAMPLES, made.samples)
            hours = [start + k * HOUR for k in range(24)]
            connection.execute(_query("insert_added_hours"), {"hours": hours})
            for hour in hours:
                connection.execute("select ops.bump_raw_hour(%s, 0)", [hour])
        elif not has_samples:
            values = {"day": start.date(), "now": now}
            connection.execute(_query("mark_pruned_day"), values)
        if has_files:
            copy_frame(connection, RAW_FILE_SYSTEMS, made.file_systems)
        copy_frame(connection, "raw.collection_coverage", made.coverage)
        for one in computed:
            copy_frame(connection, one.table.name, one.rows)
            _add_to_ledger(connection, one, start=start, added=int(is_raw), now=now)
        connection.execute(_query("extend_periods"), {"starts_at": plan.start, "until": end})
        connection.execute("update demo.fleet set made_until = %s", [end])
    return Made(
        start,
        samples=made.samples.height,
        raw_rows=made.samples.height if is_raw else 0,
        rows=sum(one.rows.height for one in computed),
    )


def _is_kept(policy: Policy, table: str, *, end: datetime, now: datetime) -> bool:
    """Whether retention would keep a day that ends at `end`."""
    keep = policy.get(table)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return keep is None or end > midnight - keep


def _ensure_partitions(
    connection: psycopg.Connection[Any],
    tables: Sequence[WindowTable],
    *,
    start: datetime,
    is_raw: bool,
    has_files: bool,
) -> None:
    """Make the partitions that a day needs; the connection commits each statement."""
    wanted = [(table.name, table.storage) for table in tables]
    wanted += [(RAW_SAMPLES, "day")] * is_raw + [(RAW_FILE_SYSTEMS, "day")] * has_files
    for name, storage in wanted:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
            [name, storage, start, start + DAY],
        )


def _lock_fleet(connection: psycopg.Connection[Any], start: datetime) -> None:
    """Hold the fleet's row; raise when the day before `start` is not its last one."""
    row = connection.execute(_query("lock_fleet")).fetchone()
    if row is None or row[1] or row[0] != start:
        msg = (
            f"Making the demo fleet's {start:%Y-%m-%d}: another process makes or removes it at "
            "the same time. Nothing of this day was written. See how far it is with "
            "`resmon demo status`."
        )
        raise ConfigurationInvalid(msg)


def _read_tree(connection: psycopg.Connection[Any]) -> pl.DataFrame:
    """The fleet's organizations, schema `tree.TREE`."""
    rows = connection.execute(
        "select o.organization_id, o.parent_id from inventory.organizations as o "
        "inner join demo.organizations as d on d.organization_id = o.organization_id"
    ).fetchall()
    return pl.DataFrame(rows, schema=TREE, orient="row")


def _read_traffic(connection: psycopg.Connection[Any], start: datetime) -> pl.DataFrame:
    """Traffic of the UTC month before the day, schema `usage.TRAFFIC`."""
    values = {"month_start": month_start(start), "start": start}
    rows = connection.execute(_query("select_month_traffic"), values).fetchall()
    return pl.DataFrame(rows, schema=TRAFFIC, orient="row")


def _windows(table: WindowTable, start: datetime) -> list[datetime]:
    """Starts of the table's windows of a day."""
    return [start + k * table.window for k in range(DAY // table.window)]


def _compute(
    made: DayOfSamples,
    identities: Sequence[Identity],
    tree: pl.DataFrame,
    traffic: pl.DataFrame,
    tables: Sequence[WindowTable],
    *,
    start: datetime,
) -> list[_Computed]:
    """All rows of a day, by the functions that compute those of real servers."""
    end = start + DAY
    periods = _periods(identities, start=start, end=end)
    organizations = tree["organization_id"]
    in_time = tree.select(
        *TREE, valid_from=pl.lit(start, dtype=INSTANT), valid_to=pl.lit(end, dtype=INSTANT)
    ).cast(TREE_PERIODS)
    cut = cut_into_stretches(closure_in_time(in_time, organizations, start=start, end=end))
    tier_input = made.samples.select(TIER_INPUT)
    rollup_input = made.samples.select(ROLLUP_INPUT)
    result: list[_Computed] = []
    rollups: dict[str, pl.DataFrame] = {}
    tiers = {tier.table.name for tier in TIERS}
    for table in tables:
        samples = made.samples
        if table.name in tiers:
            expected = expected_counts(periods, start=start, end=end, width=table.width)
            rows = complete(bucket_statistics(tier_input, width=table.width), expected)
            rows = stored_form(rows, width=table.width)
        elif table.name == FILE_SYSTEM_DAY.table.name:
            rows, samples = day_statistics(made.file_systems), made.file_systems
        elif table.name == USAGE.name:
            hourly = rollups[table_of(ROLLUP_1HOUR)]
            rows = _usage(made.samples, identities, tree, traffic, hourly, start=start)
        else:
            folded = fold_samples(rollup_input, cut, start=start, width=table.width)
            expected = expected_by_stretch(periods, cut, start=start, end=end, width=table.width)
            rows = organization_rows(
                put_together([folded]), expected, cut, start=start, width=table.width
            )
            rollups[table.name] = rows
        result.append(_Computed(table, rows, samples.select("collected_at")))
    return result


def _periods(identities: Sequence[Identity], *, start: datetime, end: datetime) -> pl.DataFrame:
    """All servers active all day, as `expected_counts` takes it."""
    return pl.DataFrame(
        {
            "server_id": [one.server_id for one in identities],
            "organization_id": [one.organization_id for one in identities],
        },
        schema={"server_id": pl.Int32(), "organization_id": pl.Int32()},
    ).with_columns(
        state=pl.lit("active"),
        interval_seconds=pl.lit(INTERVAL_SECONDS, dtype=pl.Int16),
        valid_from=pl.lit(start, dtype=INSTANT),
        valid_to=pl.lit(end, dtype=INSTANT),
    )


def _usage(
    samples: pl.DataFrame,
    identities: Sequence[Identity],
    tree: pl.DataFrame,
    before: pl.DataFrame,
    hourly: pl.DataFrame,
    *,
    start: datetime,
) -> pl.DataFrame:
    """Usage of the fleet's organizations in each hour of a day; the fleet has no quotas."""
    above = closure(tree)
    everyone = _periods(identities, start=start, end=start + DAY)
    newest = (
        samples.with_columns(pl.col("collected_at").dt.truncate("1h").alias("hour"))
        .sort("collected_at")
        .group_by("hour", "server_id")
        .agg(pl.col(name).drop_nulls().last() for name in list(ACTIVE_SERVERS)[2:])
    )
    subtree = hourly.filter(pl.col("scope") == SUBTREE)
    parts = []
    for number in range(24):
        hour = start + number * HOUR
        moved = (
            pl.concat(
                [
                    before,
                    subtree.filter(pl.col("bucket_start") <= hour).select(TRAFFIC.names()),
                ]
            )
            .group_by("organization_id")
            .agg(pl.col("network_in_bytes", "network_out_bytes").sum())
        )
        servers = (
            everyone.select("server_id", "organization_id")
            .join(newest.filter(pl.col("hour") == hour), on="server_id", how="left")
            .select(ACTIVE_SERVERS.names())
            .cast(ACTIVE_SERVERS)
        )
        parts.append(
            usage_rows(
                tree["organization_id"],
                servers,
                measured_of(servers, above),
                moved.cast(TRAFFIC),
                LIMITS.to_frame(),
                closure=above,
                hour=hour,
                measured_until=hour + HOUR,
            )
        )
    return pl.concat(parts)


def _add_to_ledger(
    connection: psycopg.Connection[Any],
    computed: _Computed,
    *,
    start: datetime,
    added: int,
    now: datetime,
) -> None:
    """Tell the ledger of the rows of each window.

    Args:
        connection: of the transaction that stores them.
        computed: the rows.
        start: the day's.
        added: by how much the revision of each hour of raw was raised.
        now: time of computation.
    """
    table = computed.table
    width = table.window // timedelta(microseconds=1)
    count = DAY // table.window
    rows = _counts(computed.rows["bucket_start"], start=start, step=width, length=count)
    samples = _counts(computed.samples["collected_at"], start=start, step=width, length=count)
    slot = SLOT // timedelta(microseconds=1)
    by_slot = _counts(
        computed.samples["collected_at"], start=start, step=slot, length=DAY // SLOT
    ).reshape(-1, SLOTS)
    is_usage = table.name == USAGE.name
    lines = [
        {
            "asset": table.name,
            "source": table_of(ROLLUP_5MIN),
            "window_start": window,
            "window_end": window + table.window,
            "added": added * ((k + 1) if is_usage else table.window // HOUR),
            "row_count": int(rows[k]),
            "sample_count": int(samples[k]),
            "slot_samples": by_slot[k].tolist() if table.has_slots else None,
            "now": now,
        }
        for k, window in enumerate(_windows(table, start))
    ]
    values = {"asset": table.name, "windows": _windows(table, start)}
    connection.execute(_query("insert_added_windows"), values)
    name = "add_to_usage_window" if is_usage else "add_to_window"
    with connection.cursor() as cursor:
        cursor.executemany(_query(name), lines)


def _counts(
    instants: pl.Series, *, start: datetime, step: int, length: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """How many instants lie in each step (in microseconds) of the day."""
    first = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    places = (instants.dt.epoch("us").to_numpy() - first) // step
    return np.bincount(places, minlength=length).astype(np.int64)


def _store_status(
    connection: psycopg.Connection[Any],
    plan: Plan,
    signals: Sequence[Signals],
    identities: Sequence[Identity],
) -> None:
    """The latest values of each server, those of its last sample."""
    last = samples_of_day(plan, signals, identities, day=plan.days - 1).samples
    newest = last.sort("collected_at").group_by("server_id", maintain_order=True).last()
    rows = [Sample(**row) for row in newest.sort("server_id").iter_rows(named=True)]
    values: dict[str, list[Any]] = {
        name: newest.sort("server_id")[name].to_list() for name in newest.columns
    }
    connection.execute(
        load_query("raw", "upsert_status").encode(),
        {**values, "status": [status_of(row) for row in rows], "commit_sequence": None},
    )


def _query(name: str) -> bytes:
    """Text of sql/queries/demo/<name>.sql."""
    return load_query("demo", name).encode()
