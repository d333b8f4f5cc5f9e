"""Part rollup of bench-tiers: an hour of organizations, against PostgreSQL doing the same.

Belongs here: the tree, what is measured, and the reference in SQL, whose rows must be equal. The
fleet is that of `synthetic.py`, spread over 5,000 organizations in a tree of depth 10.
"""

from datetime import timedelta
from random import Random
from typing import Any

import polars as pl
from _measuring import Figure, say, taken
from synthetic import HOUR, START, samples_of_hour, store

from resmon_assets.rollup.metrics import UNITS_PER_PERCENT
from resmon_assets.rollup.refresh import refresh_window
from resmon_assets.rollup.rollups import ROLLUPS
from resmon_assets.window_runs import BucketAsset
from resmon_resources.postgres import PostgresResource

ORGANIZATIONS = 5_000
DEPTH = 10
FINE, HOURLY = ROLLUPS[:2]

TOLERANCE = 1e-12
"""Of sums of floats, which depend on the order of their addition in the last bits."""

REFERENCE = """
create temporary table by_sql as
with recursive scopes as (
    select organization_id as member_id, organization_id as target, 'subtree'::text as scope
    from inventory.organizations
    union all
    select s.member_id, o.parent_id, s.scope
    from scopes as s
    join inventory.organizations as o on o.organization_id = s.target
    where o.parent_id is not null
),
targets as (
    select * from scopes
    union all
    select organization_id, organization_id, 'direct' from inventory.organizations
),
samples as (
    select * from raw.server_resource_metrics
    where collected_at >= '{start}' and collected_at < '{end}'
),
servers as (
    select
        organization_id as member_id,
        count(*) as n,
        avg(cpu_count) as cores,
        avg(memory_used_bytes) as memory_used,
        avg(memory_total_bytes) as memory_total,
        avg(disk_used_bytes) as disk_used,
        avg(disk_total_bytes) as disk_total,
        sum(network_in_bytes) as network_in,
        sum(network_out_bytes) as network_out,
        sum(cpu_pct::float8 * coalesce(cpu_count, 1)) as weighted,
        sum(coalesce(cpu_count, 1)) filter (where cpu_pct is not null) as weights,
        max(cpu_pct) as cpu_max
    from samples
    group by organization_id, server_id
),
totals as (
    select
        t.target, t.scope,
        sum(s.n)::bigint as sample_count,
        count(*) as server_count,
        sum(s.weighted) as cpu_pct_core_sum,
        coalesce(sum(s.weights), 0)::bigint as cpu_core_sample_count,
        sum(s.cores)::float8 as cpu_core_count,
        sum(s.memory_used)::float8 as memory_used_bytes,
        sum(s.memory_total)::float8 as memory_total_bytes,
        sum(s.disk_used)::float8 as disk_used_bytes,
        sum(s.disk_total)::float8 as disk_total_bytes,
        sum(s.network_in)::bigint as network_in_bytes,
        sum(s.network_out)::bigint as network_out_bytes,
        max(s.cpu_max) as cpu_pct_max
    from servers as s
    join targets as t on t.member_id = s.member_id
    group by 1, 2
),
percentiles as (
    select
        t.target, t.scope,
        percentile_cont(0.95) within group (order by s.cpu_pct::float8)::real as cpu_pct_p95
    from samples as s
    join targets as t on t.member_id = s.organization_id
    group by 1, 2
)
select t.*, p.cpu_pct_p95
from totals as t
join percentiles as p using (target, scope)
"""
"""The hourly rollup without what was expected; for a tree that does not move, which is easier."""

ROUNDED = {"cpu_pct_core_sum": f"s.cpu_core_sample_count / {2.0 * UNITS_PER_PERCENT}"}
"""What a column may differ by besides: half the unit that CPU is added up in, per core-sample."""

COMPARED = (
    *("sample_count", "server_count", "cpu_pct_core_sum", "cpu_core_sample_count"),
    *("cpu_core_count", "memory_used_bytes", "memory_total_bytes", "disk_used_bytes"),
    *("disk_total_bytes", "network_in_bytes", "network_out_bytes", "cpu_pct_max", "cpu_pct_p95"),
)


def rollup_part(postgres: PostgresResource, servers: int) -> list[Figure]:
    """A closed hour of 5,000 organizations: each granularity into an empty table, then again."""
    plant(postgres, servers=servers)
    figures: list[Figure] = []
    for state in ("empty", "unchanged"):
        for rollup in (HOURLY, FINE):
            figures += rolled_up(postgres, rollup, tables=state)
        with postgres.connect(autocommit=True) as connection:
            for rollup in (HOURLY, FINE):
                connection.execute(f"vacuum analyze {rollup.table.name}".encode())
    say("the same by PostgreSQL alone")
    reference = by_postgres(postgres, least_rows=min(servers, ORGANIZATIONS))
    return [
        Figure(
            figure.name,
            figure.value,
            figure.unit,
            figure.params,
            reference if figure.params["table"] == HOURLY.table.name else None,
        )
        for figure in figures
    ]


def plant(postgres: PostgresResource, *, servers: int) -> None:
    """Organizations below each other at random, the servers spread over them, an hour of samples.

    The first ten form a chain, every later one lies below any earlier one that is not too deep.
    """
    random = Random(1)  # noqa: S311 - a repeatable tree
    depths: list[int] = []
    parents: list[int | None] = []
    for number in range(ORGANIZATIONS):
        above = number - 1 if number < DEPTH else random.randrange(number)
        while above >= 0 and depths[above] == DEPTH:
            above = random.randrange(number)
        parents.append(above + 1 if above >= 0 else None)
        depths.append(depths[above] + 1 if above >= 0 else 1)
    with postgres.connect() as connection:
        connection.execute(
            "insert into inventory.organizations (name, created_at) "
            "select 'node' || n, %s from generate_series("
            "(select count(*) + 1 from inventory.organizations), %s) as n",
            (START - 24 * HOUR, ORGANIZATIONS),
        )
        moved = START - 24 * HOUR + timedelta(hours=1)
        connection.cursor().executemany(
            "update inventory.organizations set parent_id = %s, changed_at = %s "
            "where organization_id = %s",
            [(parent, moved, number) for number, parent in enumerate(parents, 1)],
        )
        connection.execute(
            "update inventory.servers set organization_id = 1 + server_id %% %s, changed_at = %s",
            (ORGANIZATIONS, moved),
        )
    owner = (1 + pl.col("server_id") % ORGANIZATIONS).cast(pl.Int32)
    samples = samples_of_hour(servers=servers, hour=START)
    store(postgres, samples.with_columns(organization_id=owner))
    with postgres.connect(autocommit=True) as connection:
        connection.execute("vacuum analyze raw.server_resource_metrics")
        connection.execute("analyze")


def rolled_up(postgres: PostgresResource, rollup: BucketAsset, *, tables: str) -> list[Figure]:
    """Seconds and CPU-seconds of one granularity, raw read to commit, and the rows written."""
    table = rollup.table
    done = taken(lambda: refresh_window(postgres, table, start=START, now=START + HOUR), postgres)
    written = done.result.stored
    assert written is not None
    told: dict[str, Any] = {"table": table.name, "tables": tables, "organizations": ORGANIZATIONS}
    return [
        Figure("rollup_seconds", done.seconds, "s", told),
        Figure("rollup_cpu_seconds", done.cpu_seconds, "s", told),
        Figure("rollup_rows_written", written.new + written.changed, "rows", told),
    ]


def by_postgres(postgres: PostgresResource, *, least_rows: int) -> float:
    """Seconds of the reference; its rows must be those of the hourly table, and not too few."""
    with postgres.connect() as connection:
        connection.execute("set work_mem = '256MB'")
        query = REFERENCE.format(start=START.isoformat(), end=(START + HOUR).isoformat())
        seconds = taken(lambda: connection.execute(query.encode())).seconds
        unequal = " or ".join(
            f"(r.{name} is null) <> (s.{name} is null) "
            f"or abs(r.{name} - s.{name}) > {TOLERANCE} * abs(s.{name}) + {ROUNDED.get(name, '0')}"
            for name in COMPARED
        )
        row = connection.execute(
            f"select count(*), count(*) filter (where r.organization_id is null or {unequal}) "  # noqa: S608 - names of ours
            f"from (select * from {HOURLY.table.name} where sample_count > 0) as r "
            "full join by_sql as s on s.target = r.organization_id and s.scope = r.scope".encode()
        ).fetchone()
    assert row is not None
    assert row[0] > least_rows
    assert row[1] == 0, f"{row[1]} of {row[0]} rows differ from PostgreSQL's"
    say(f"{row[0]} rows equal PostgreSQL's; it took {seconds:.1f} s")
    return seconds
