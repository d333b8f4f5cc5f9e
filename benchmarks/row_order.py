"""What it is worth, and what it costs, to put the rows of a closed day in the order of the key.

Run it with `make bench-row-order ARGS="--servers 200"`. One JSON line per figure on standard
output, progress on standard error. Resmon does not do it; why not is in
docs/decisions/0019-row-order.md.

An embedded PostgreSQL of its own gets 42 days of the tier of an hour, hour by hour as they are
written. In the second pass each day is deleted and inserted again once it is over, sorted by the
key, in one statement; a vacuum comes every fifth day, so that rows of later days lie where earlier
ones lay. CPU is that of the backend, which other work hardly touches.

| Figure | Meaning, by `order`: written, or key |
|---|---|
| points_cpu_ms | 1,000 hours of one server from the bare table, median; `pages`: where from |
| points_pages | pages that these rows lie on |
| fleet_day_pages | pages read for 24 hours of all servers, from noon to noon |
| heap_bytes_per_row, index_bytes_per_row | size of table and primary key at the end |
| fill_cpu_us_per_row, fill_wal_bytes_per_row | written, and in order: key written twice |
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from _measuring import (
    Figure,
    emit,
    end_in_order,
    migrated,
    remove_server,
    say,
    say_machine,
    server_in,
)
from _query_classes import ALL, tier_rows
from queries import Client

from resmon_resources.embedded_postgres import EmbeddedPostgres

TABLE = "tier.metrics_1hour"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 42
"""1,008 hours."""
POINTS = 1000
VACUUM_EVERY = 5
DRAWS = 40
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEY = "server_id, organization_id, bucket_start"
COLUMNS = (
    f"bucket_start, server_id, organization_id, sample_count, expected_count, {', '.join(ALL)}"
)

WRITE = f"""
with written as (
    insert into {TABLE} ({COLUMNS})
    select $1::timestamptz, s, 1, 120, 120, {", ".join("random() * 1000" for _ in ALL)}
    from generate_series(1, $2::integer) as s
    returning 1
)
select count(*) from written
"""  # noqa: S608 - names of ours
REWRITE = f"""
with moved as (
    delete from {TABLE} where bucket_start >= $1::timestamptz and bucket_start < $2::timestamptz
    returning {COLUMNS}
), written as (
    insert into {TABLE} ({COLUMNS}) select {COLUMNS} from moved order by {KEY} returning 1
)
select count(*) from written
"""  # noqa: S608 - names of ours
PAGES = f"""
select count(distinct (tableoid, (ctid::text::point)[0])) from {TABLE}
where server_id = 1 and bucket_start < '{START + POINTS * HOUR}'
"""  # noqa: S608 - names of ours
SIZES = f"""
select sum(pg_relation_size(i.inhrelid))::bigint, sum(pg_relation_size(x.indexrelid))::bigint
from pg_inherits as i join pg_index as x on x.indrelid = i.inhrelid and x.indisprimary
where i.inhparent = '{TABLE}'::regclass
"""  # noqa: S608 - names of ours
FLEET = f"""
explain (analyze, buffers, timing off, format json)
select sum(cpu_pct_avg) from {TABLE}
where bucket_start >= '{{begin}}' and bucket_start < '{{end}}'
"""  # noqa: S608 - names of ours


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", type=int, default=200)
    servers = parser.parse_args().servers
    end_in_order()
    say_machine()
    with tempfile.TemporaryDirectory(prefix="resmon-bench-") as home:
        server = server_in(Path(home))
        try:
            server.start()
            migrated(server)
            written = {figure_key(one): one.value for one in measure(server, servers, "written")}
            for figure in measure(server, servers, "key"):
                emit("row_order", replace(figure, reference=written[figure_key(figure)]))
        finally:
            remove_server(server)


def figure_key(figure: Figure) -> str:
    """What is the same of a figure in both orders."""
    return f"{figure.name} {figure.params.get('pages')}"


def measure(server: EmbeddedPostgres, servers: int, order: str) -> Iterator[Figure]:
    """Fill the tier, in the order of the key or not, and read it."""
    params = {"order": order, "servers": servers}
    with psycopg.connect(server.url("resmon"), autocommit=True) as connection:
        connection.execute(
            "select ops.ensure_partitions(%s::regclass, 'month', %s, %s)",
            (TABLE, START, START + DAYS * DAY),
        )
        connection.execute(f"truncate {TABLE}".encode())
    yield from fill(server, servers, params)
    yield from sizes(server, servers, params)
    for pages, buffers in (("in shared buffers", "512MB"), ("in the kernel's cache", "2MB")):
        with psycopg.connect(server.url("resmon"), autocommit=True) as connection:
            connection.execute(f"alter system set shared_buffers = '{buffers}'".encode())
        server.stop()
        server.start()
        value = points_cpu_ms(server, servers)
        yield Figure("points_cpu_ms", value, "ms", params | {"pages": pages})


def fill(server: EmbeddedPostgres, servers: int, params: dict[str, Any]) -> Iterator[Figure]:
    """Write hour by hour; in order: key each day once more when it is over."""
    say(f"Writing {DAYS} days of {servers} servers, order {params['order']}.")
    client = Client(server.url("resmon"))
    before = wal_position(server)
    cpu = 0.0
    for day in range(DAYS):
        begin = START + day * DAY
        for hour in range(24):
            cpu += client.run(WRITE, (begin + hour * HOUR, servers)).cpu_ms
        if params["order"] == "key":
            cpu += client.run(REWRITE, (begin, begin + DAY)).cpu_ms
        if day % VACUUM_EVERY == 0 or day == DAYS - 1:
            vacuum(server)
    client.close()
    rows = servers * DAYS * 24
    yield Figure("fill_cpu_us_per_row", cpu * 1000 / rows, "us", params)
    wal = (wal_position(server) - before) / rows
    yield Figure("fill_wal_bytes_per_row", wal, "bytes", params)


def vacuum(server: EmbeddedPostgres) -> None:
    """What autovacuum does; BRIN learns of new pages."""
    with psycopg.connect(server.url("resmon"), autocommit=True) as connection:
        connection.execute(f"vacuum analyze {TABLE}".encode())


def sizes(server: EmbeddedPostgres, servers: int, params: dict[str, Any]) -> Iterator[Figure]:
    """What the tier takes, and what a range of time or a server lies on."""
    rows = servers * DAYS * 24
    with psycopg.connect(server.url("resmon"), autocommit=True) as connection:
        heap, index = one_row(connection, SIZES)
        yield Figure("heap_bytes_per_row", float(heap) / rows, "bytes", params)
        yield Figure("index_bytes_per_row", float(index) / rows, "bytes", params)
        (pages,) = one_row(connection, PAGES)
        yield Figure("points_pages", float(pages), "pages", params)
        noon = START + (DAYS // 2) * DAY + 12 * HOUR
        (plan,) = one_row(connection, FLEET.format(begin=noon, end=noon + DAY))
        blocks = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
        yield Figure("fleet_day_pages", float(blocks), "pages", params)


def points_cpu_ms(server: EmbeddedPostgres, servers: int) -> float:
    """CPU of the backend for the points of a server, each after others have been read."""
    client = Client(server.url("resmon"))
    query = tier_rows("1hour", ALL)
    spent = []
    for draw in range(2 * DRAWS):
        chosen = 1 + draw * 7 % servers
        answer = client.run(query, ([chosen], START, START + POINTS * HOUR))
        assert answer.rows == POINTS
        if draw >= DRAWS:
            spent.append(answer.cpu_ms)
    client.close()
    return median(spent)


def wal_position(server: EmbeddedPostgres) -> int:
    """Bytes of log written so far."""
    with psycopg.connect(server.url("resmon"), autocommit=True) as connection:
        (position,) = one_row(
            connection, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        )
    return int(position)


def one_row(connection: psycopg.Connection, statement: str) -> tuple[Any, ...]:  # by statement
    """The one row that a statement gives."""
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row


if __name__ == "__main__":
    main()
