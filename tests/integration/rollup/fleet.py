"""A fleet below a tree of organizations in a real database; the rollup by plain SQL beside it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dagster import AssetKey, DagsterInstance, materialize

from resmon_assets.naming import ROLLUP_1DAY, table_of
from resmon_assets.rollup.assets import ROLLUP_ASSETS
from resmon_assets.rollup.checks import ROLLUP_CHECKS
from resmon_resources.clock import ClockResource
from resmon_resources.postgres_frames import copy_frame
from tests.integration.tier.fleet import LATER, LONG_AGO, Fleet, Run
from tests.unit.rollup.builders import World

BY_SQL = """
with recursive scoped as (
    select server_id, collected_at, organization_id as target, 'subtree'::text as scope
    from raw.server_resource_metrics
    where collected_at >= %(start)s and collected_at < %(end)s
    union all
    select s.server_id, s.collected_at, p.parent_id, s.scope
    from scoped as s
    join inventory.organization_period as p
        on p.organization_id = s.target
        and p.valid_from <= s.collected_at and p.valid_to > s.collected_at
    where p.parent_id is not null
),
samples as (
    select *, date_bin(%(width)s, r.collected_at, %(start)s) as bucket_start
    from (
        select * from scoped
        union all
        select server_id, collected_at, organization_id, 'direct' from raw.server_resource_metrics
        where collected_at >= %(start)s and collected_at < %(end)s
    ) as s
    join raw.server_resource_metrics as r using (server_id, collected_at)
),
servers as (
    select
        target, scope, bucket_start, server_id,
        count(*) as n,
        avg(cpu_count::numeric) as cores,
        avg(memory_used_bytes::numeric) as memory_used,
        avg(memory_total_bytes::numeric) as memory_total,
        avg(disk_used_bytes::numeric) as disk_used,
        avg(disk_total_bytes::numeric) as disk_total,
        sum(network_in_bytes) as network_in,
        sum(network_out_bytes) as network_out
    from samples
    group by 1, 2, 3, 4
),
totals as (
    select
        target, scope, bucket_start,
        sum(n)::bigint as sample_count,
        count(*)::integer as server_count,
        sum(cores)::float8 as cpu_core_count,
        sum(memory_used)::float8 as memory_used_bytes,
        sum(memory_total)::float8 as memory_total_bytes,
        sum(disk_used)::float8 as disk_used_bytes,
        sum(disk_total)::float8 as disk_total_bytes,
        sum(network_in)::bigint as network_in_bytes,
        sum(network_out)::bigint as network_out_bytes
    from servers
    group by 1, 2, 3
),
cpu as (
    select
        target, scope, bucket_start,
        sum(cpu_pct::float8::numeric * coalesce(cpu_count, 1))::float8 as cpu_pct_core_sum,
        coalesce(sum(coalesce(cpu_count, 1)), 0)::bigint as cpu_core_sample_count,
        max(cpu_pct) as cpu_pct_max,
        (percentile_cont(0.95) within group (order by cpu_pct::float8))::real as cpu_pct_p95
    from samples
    where cpu_pct is not null
    group by 1, 2, 3
)
select
    t.target, t.scope, t.bucket_start, t.sample_count, t.server_count,
    c.cpu_pct_core_sum, coalesce(c.cpu_core_sample_count, 0), c.cpu_pct_max, c.cpu_pct_p95,
    t.cpu_core_count, t.memory_used_bytes, t.memory_total_bytes, t.disk_used_bytes,
    t.disk_total_bytes, t.network_in_bytes, t.network_out_bytes
from totals as t
left join cpu as c using (target, scope, bucket_start)
order by 1, 2, 3
"""
"""The rollup without expectations, sample by sample up the tree of its instant."""

STORED = """
select
    organization_id, scope, bucket_start, sample_count, server_count,
    cpu_pct_core_sum, cpu_core_sample_count, cpu_pct_max, cpu_pct_p95,
    cpu_core_count, memory_used_bytes, memory_total_bytes, disk_used_bytes,
    disk_total_bytes, network_in_bytes, network_out_bytes
from {table}
where bucket_start >= %(start)s and bucket_start < %(end)s and sample_count > 0
order by 1, 2, 3
"""


@dataclass(frozen=True)
class Tree(Fleet):
    """Organizations, servers, samples and runs of rollups in one test's database."""

    def below(self, name: str, parent: int | None) -> int:
        """A new organization below another."""
        return self.execute(
            "insert into inventory.organizations (name, parent_id, created_at) "
            "values (%s, %s, %s) returning organization_id",
            (name, parent, LONG_AGO),
        )[0][0]

    def move(self, organization: int, parent: int | None, at: datetime) -> None:
        """Move an organization at an instant."""
        self.execute(
            "update inventory.organizations set parent_id = %s, changed_at = %s "
            "where organization_id = %s",
            (parent, at, organization),
        )

    def load(self, world: World) -> None:
        """Store a random world: its periods as they are, its samples by COPY."""
        organizations = sorted({row["organization_id"] for row in world.tree})
        servers = sorted({row["server_id"] for row in world.periods})
        for organization in organizations:
            assert self.below(f"org{organization}", None) == organization
        for server in servers:
            assert self.server(f"server{server}", 1) == server
        self.execute("delete from inventory.organization_period")
        self.execute("delete from inventory.server_period")
        with self.postgres.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into inventory.organization_period "
                "(organization_id, parent_id, valid_from, valid_to) values "
                "(%(organization_id)s, %(parent_id)s, %(valid_from)s, %(valid_to)s)",
                world.tree,
            )
            cursor.executemany(
                "insert into inventory.server_period (server_id, organization_id, state, "
                "interval_seconds, valid_from, valid_to) values (%(server_id)s, "
                "%(organization_id)s, %(state)s, %(interval_seconds)s, %(valid_from)s, "
                "%(valid_to)s)",
                world.periods,
            )
        raw = world.raw
        start = min(sample["collected_at"] for sample in world.samples)
        with self.postgres.connect() as connection:
            connection.execute(
                "select ops.ensure_partitions('raw.server_resource_metrics', 'day', %s, %s)",
                (start, start + timedelta(hours=1)),
            )
            connection.execute("select ops.bump_raw_hour(%s, 0)", (start,))
        with self.postgres.connect() as connection:
            copy_frame(connection, "raw.server_resource_metrics", raw)

    def roll_up(
        self,
        key: AssetKey,
        partition: datetime,
        *,
        now: datetime = LATER,
        instance: DagsterInstance | None = None,
    ) -> Run:
        """Materialize a partition of a rollup, with its checks."""
        form = "%Y-%m-%d" if key == ROLLUP_1DAY else "%Y-%m-%d-%H:%M"
        wanted = [a for a in ROLLUP_ASSETS if a.key == key]
        checks = [c for c in ROLLUP_CHECKS if any(k.asset_key == key for k in c.check_keys)]
        with DagsterInstance.ephemeral() as own:
            result = materialize(
                [*wanted, *checks],
                partition_key=partition.strftime(form),
                resources={
                    "postgres": self.postgres,
                    "clock": ClockResource(fixed_at=now.isoformat()),
                },
                instance=instance or own,
                raise_on_error=False,
            )
        return Run(result, key)

    def stored(self, key: AssetKey, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
        """Rows of a rollup that have samples, by its key."""
        query = STORED.format(table=table_of(key))
        return self.execute(query, {"start": start, "end": end})

    def by_sql(self, width: timedelta, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
        """The same rows by PostgreSQL alone."""
        return self.execute(BY_SQL, {"width": width, "start": start, "end": end})
