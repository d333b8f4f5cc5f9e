"""What a statement really reads: which partitions, and how.

Belongs here: PostgreSQL's own counts of scans in a transaction. They tell of statements inside
functions too, of which EXPLAIN shows nothing, and of partitions that were pruned only when the
statement began. What EXPLAIN would promise of a plan is held here by its execution.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

LARGE = 2000
"""Rows from which on a partition is not to be read from end to end for a part of it."""


@dataclass(frozen=True)
class Scan:
    """One partition that was read.

    Attributes:
        table: the parent, schema.table.
        partition: its name.
        start: its first instant.
        end: its end, exclusive.
        rows: in the partition, as PostgreSQL estimates.
        sequential: scans from end to end.
        indexed: scans by an index.
    """

    table: str
    partition: str
    start: datetime
    end: datetime
    rows: int
    sequential: int
    indexed: int


_SCANNED = """
select p.inhparent::regclass::text, c.oid::regclass::text, b.partition_start, b.partition_end,
    c.reltuples::bigint, t.seq_scan, coalesce(t.idx_scan, 0)
from pg_stat_xact_user_tables as t
join pg_class as c on c.oid = t.relid
join pg_inherits as p on p.inhrelid = c.oid
join ops.partitions_of(p.inhparent) as b on b.partition_name = c.oid
where t.seq_scan > 0 or t.idx_scan > 0
order by 1, 2"""


def scans_of(
    connection: psycopg.Connection, statement: str, values: Any = None, *, seqscan: bool = True
) -> list[Scan]:
    """Run a statement in a transaction that is rolled back; partitions it read, by name.

    Args:
        connection: autocommit.
        statement: SQL with %(named)s parameters.
        values: of the parameters.
        seqscan: False: PostgreSQL is asked not to read tables from end to end, so that what it
            reads so all the same has no index that would serve.
    """
    with rolled_back(connection):
        # Workers count for themselves, and too late.
        connection.execute("set local max_parallel_workers_per_gather = 0")
        if not seqscan:
            connection.execute("set local enable_seqscan = off")
        # Counts of earlier transactions may be among them: they are told to others once a second.
        before = {row[1]: row[5:] for row in connection.execute(_SCANNED).fetchall()}
        connection.execute(statement.encode(), values)
        found = connection.execute(_SCANNED).fetchall()
    scans = []
    for table, partition, start, end, rows, sequential, indexed in found:
        earlier = before.get(partition, (0, 0))
        scans.append(
            Scan(table, partition, start, end, rows, sequential - earlier[0], indexed - earlier[1])
        )
    return [scan for scan in scans if scan.sequential or scan.indexed]


@contextmanager
def rolled_back(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction of which nothing stays."""
    connection.execute("begin")
    try:
        yield
    finally:
        connection.execute("rollback")


def outside(scans: list[Scan], start: datetime, end: datetime) -> list[str]:
    """Partitions that were read although they have nothing of [start, end)."""
    return [scan.partition for scan in scans if scan.end <= start or scan.start >= end]


def read_whole(scans: list[Scan]) -> list[str]:
    """Large partitions that were read from end to end."""
    return [scan.partition for scan in scans if scan.sequential and scan.rows >= LARGE]
