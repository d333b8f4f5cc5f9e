"""A year of a fleet in the tables of a live system, made by PostgreSQL itself, for bench-queries.

Belongs here: what is stored where, and in which order; nothing is measured. The values are not
computed from each other: tiers are consistent in themselves (min <= p50 <= p95 <= p99 <= max,
counts as expected, organizations as owned), have the shape of a day and the entropy of real float4
values. What decides the cost of a query is kept:

* rows lie in the order in which Resmon writes them: raw second by second, the fine tiers in steps
  of five minutes, each in the order of servers; so a server's rows are spread over pages as in
  life;
* partitions, indexes and compact rows of one minute are those of production, and partitions are
  made a week ahead;
* partitions are vacuumed and analysed one by one, as autovacuum does; partitioned tables themselves
  have no statistics, because nothing in PostgreSQL gathers them by itself.

Time stands at NOW: raw ends there, the fine tiers at its last five minutes, hours and days with the
last closed one.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from _history_rows import (
    CHARACTERS,
    DAY,
    FILLING,
    HEADROOM,
    HOUR,
    INTERVAL,
    LEDGER,
    MINUTE,
    NOW,
    ORGANIZATION_CHARACTERS,
    RAW,
    STEP,
    rollup_statement,
    tier_statement,
)
from _measuring import say

from resmon_assets.raw.schedule import phase_ms
from resmon_resources.postgres import PostgresResource
from resmon_resources.postgres_frames import copy_rows

VERSION = 1
"""Grows with every change of what is generated: a kept database of another version is made anew."""

AHEAD = timedelta(days=7)
"""How far partitions are made ahead; what Resmon does."""

HEADROOM_DAYS = 30
WORKERS = 2


@dataclass(frozen=True)
class Size:
    """How much is generated.

    Attributes:
        servers: in ORGANIZATIONS organizations.
        raw_days: of samples; the running day comes on top of each.
        minute_days: of the tier of a minute.
        five_minute_days: of five minutes, also of the rollup.
        hour_days: of an hour, also of the rollup.
        day_days: of a day, also of the rollup.
        gib: what it needs on disk while it is generated, roughly.
    """

    servers: int
    raw_days: int
    minute_days: int
    five_minute_days: int
    hour_days: int
    day_days: int
    gib: float


SIZES = {
    "small": Size(20, 2, 3, 14, 60, 365, 0.5),
    "full": Size(1000, 7, 30, 90, 365, 365, 25.0),
}
ORGANIZATIONS = 20
"""A tree of three levels below one root: the parent of n is 1 + (n - 2) / 4."""


@dataclass(frozen=True)
class Table:
    """A partitioned table and what is written to it.

    Attributes:
        name: schema and table.
        storage: width of its partitions, a word of ops.ensure_partitions.
        since: start of the first row.
        until: end of the last row.
        step: rows that are written together.
        body: the statement that writes a step, `{begin}` stands for its start.
        windows: width of its windows in ops.window_state; None: it has none.
        width: of a bucket.
    """

    name: str
    storage: str
    since: datetime
    until: datetime
    step: timedelta
    body: str
    width: timedelta
    windows: timedelta | None = None


@dataclass(frozen=True)
class Piece:
    """The rows of a table in one partition."""

    table: Table
    partition: str
    begin: datetime
    end: datetime


def generate(postgres: PostgresResource, size: Size) -> None:
    """Fill a migrated database, or what an interrupted run left of it; progress on standard error.

    A partition is written in one transaction and analysed after it: one that has statistics is
    complete.
    """
    begun = time.monotonic()
    if not is_registered(postgres):
        register(postgres, size)
    tables = tables_of(size)
    with postgres.connect(autocommit=True) as connection:
        for table in tables:
            connection.execute(
                "select ops.ensure_partitions(%s::regclass, %s, %s, %s)",
                (table.name, table.storage, table.since, NOW + AHEAD),
            )
        pieces = [piece for table in tables for piece in pieces_of(connection, table)]
    say(f"{len(pieces)} partitions are to be filled.")
    pieces.sort(key=lambda piece: (piece.end - piece.begin) / piece.table.width, reverse=True)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        done = [pool.submit(fill, postgres, piece) for piece in pieces]
        try:
            for number, one in enumerate(as_completed(done), 1):
                rows, name = one.result()
                say(
                    f"{number} of {len(done)} partitions, {time.monotonic() - begun:.0f} s: "
                    f"{rows} rows in {name}"
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    with postgres.connect() as connection:
        for statement in LEDGER:
            connection.execute(
                statement.encode(),
                {
                    "now": NOW,
                    "raw_since": since_of(size.raw_days),
                    "since": since_of(size.day_days),
                },
            )
        for table in tables:
            write_windows(connection, table)
        connection.execute("drop table public.bench_server, public.bench_organization")
    with postgres.connect(autocommit=True) as connection:
        connection.execute(b"vacuum analyze " + b", ".join(name.encode() for name in SMALL_TABLES))


def is_registered(postgres: PostgresResource) -> bool:
    """Whether an interrupted run has made the servers, which it does in one transaction."""
    with postgres.connect() as connection:
        row = connection.execute(
            "select to_regclass('public.bench_organization') is not null"
        ).fetchone()
    return row is not None and bool(row[0])


def register(postgres: PostgresResource, size: Size) -> None:
    """The tree, the servers and, in a table of its own, what each is like."""
    born = NOW - (size.day_days + 2) * DAY
    with postgres.connect() as connection:
        connection.execute(
            "insert into inventory.organizations (name, parent_id, created_at) "
            "select 'org-' || lpad(n::text, 2, '0'), "
            "case when n > 1 then 1 + (n - 2) / 4 end, %s "
            "from generate_series(1, %s) as n order by n",
            (born, ORGANIZATIONS),
        )
        connection.execute(
            "insert into inventory.servers "
            "(organization_id, name, transport, host, tags, created_at, changed_at) "
            "select 1 + mod(n, %s), 'server-' || lpad(n::text, 4, '0'), 'ssh', 'host-' || n, "
            "array[(array['web', 'db', 'batch'])[1 + mod(n, 3)]], %s, %s "
            "from generate_series(1, %s) as n order by n",
            (ORGANIZATIONS, born, born, size.servers),
        )
        connection.execute(CHARACTERS.encode())
        connection.execute("create table public.bench_phase (server_id integer, phase_ms integer)")
        seconds = int(INTERVAL.total_seconds())
        copy_rows(
            connection,
            "public.bench_phase",
            ("server_id", "phase_ms"),
            ((n, phase_ms(n, seconds)) for n in range(1, size.servers + 1)),
        )
        connection.execute(
            "update public.bench_server as s set phase_ms = p.phase_ms "
            "from public.bench_phase as p where p.server_id = s.server_id"
        )
        connection.execute("drop table public.bench_phase")
        connection.execute(ORGANIZATION_CHARACTERS.encode())


def tables_of(size: Size) -> list[Table]:
    """Every table that is partitioned, the largest first."""
    fine = floor(NOW, STEP)
    hour, day = floor(NOW, HOUR), floor(NOW, DAY)
    raw = "raw.server_resource_metrics"
    tiers, rollups = "tier.metrics_", "rollup.organization_metrics_"
    spans = {
        "1min": ("day", MINUTE, size.minute_days, fine, STEP, HOUR),
        "5min": ("week", STEP, size.five_minute_days, fine, STEP, HOUR),
        "1hour": ("month", HOUR, size.hour_days, hour, HOUR, HOUR),
        "1day": ("year", DAY, size.day_days, day, DAY, DAY),
    }
    found = [Table(raw, "day", since_of(size.raw_days), NOW, INTERVAL, RAW, INTERVAL)]
    for name, (storage, width, days, until, step, windows) in spans.items():
        since = since_of(days)
        body = tier_statement(width)
        found.append(
            Table(f"{tiers}{name}", storage, since, until, step, body, width, windows),
        )
        if name != "1min":
            body = rollup_statement(width)
            found.append(
                Table(f"{rollups}{name}", storage, since, until, step, body, width, windows),
            )
    since = day - HEADROOM_DAYS * DAY
    found.append(Table("forecast.headroom", "month", since, day, DAY, HEADROOM, DAY, DAY))
    return found


def pieces_of(connection: psycopg.Connection, table: Table) -> Iterator[Piece]:
    """The partitions of a table that get rows and have none."""
    rows = connection.execute(
        "select n.nspname || '.' || c.relname, p.partition_start, p.partition_end "
        "from ops.partitions_of(%s::regclass) as p join pg_class as c on c.oid = p.partition_name "
        "join pg_namespace as n on n.oid = c.relnamespace where c.reltuples <= 0",
        (table.name,),
    ).fetchall()
    for name, start, end in rows:
        begin, stop = max(start, table.since), min(end, table.until)
        if begin < stop:
            yield Piece(table, name, begin, stop)


def fill(postgres: PostgresResource, piece: Piece) -> tuple[int, str]:
    """Write a partition step by step, then vacuum and analyse it; how many rows, and its name."""
    seed = (hash_of(piece.partition) % 2000 - 1000) / 1000
    program = FILLING.format(
        seed=seed,
        begin=piece.begin.isoformat(),
        end=piece.end.isoformat(),
        step=f"{piece.table.step.total_seconds()} seconds",
        body=piece.table.body.replace("{partition}", piece.partition),
    )
    with postgres.connect() as connection:
        connection.execute("set statement_timeout = 0")
        # Truncated in the same transaction: with wal_level = minimal nothing is logged.
        connection.execute(f"truncate {piece.partition}".encode())
        connection.execute(program.encode())
    with postgres.connect(autocommit=True) as connection:
        connection.execute("set statement_timeout = 0")
        connection.execute("set maintenance_work_mem = '256MB'")
        connection.execute(f"vacuum analyze {piece.partition}".encode())
        row = connection.execute(
            "select reltuples::bigint from pg_class where oid = %s::regclass", (piece.partition,)
        ).fetchone()
    assert row is not None
    return int(row[0]), piece.partition


def write_windows(connection: psycopg.Connection, table: Table) -> None:
    """What ops.window_state says of a table whose windows are all computed."""
    if table.windows is None:
        return
    connection.execute(
        "insert into ops.window_state (asset, window_start, revision, computed_at, complete_until, "
        "row_count, sample_count) "
        "select %(asset)s, w, coalesce((select sum(h.revision) from ops.raw_hour as h "
        "where h.hour >= w and h.hour < w + %(width)s), 0), "
        "least(w + %(width)s, %(until)s) + interval '70 seconds', "
        "least(w + %(width)s, %(until)s), 0, 0 "
        "from generate_series(%(since)s, %(until)s - interval '1 second', %(width)s) as w",
        {
            "asset": table.name,
            "since": table.since,
            "until": table.until,
            "width": table.windows,
        },
    )


def floor(instant: datetime, width: timedelta) -> datetime:
    """The start of the bucket of `width` (a divisor of a day) that an instant is in."""
    return instant - (instant - datetime(1970, 1, 1, tzinfo=UTC)) % width


def since_of(days: int) -> datetime:
    """Midnight `days` days before the running day."""
    return floor(NOW, DAY) - days * DAY


def hash_of(text: str) -> int:
    """A number for a text, the same in every process."""
    return int.from_bytes(text.encode()[-6:], "big")


SMALL_TABLES = (
    "inventory.organizations",
    "inventory.organization_period",
    "inventory.servers",
    "inventory.server_period",
    "raw.server_status",
    "raw.collection_coverage",
    "ops.raw_hour",
    "ops.window_state",
)
