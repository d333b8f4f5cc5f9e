-- Inserts a batch of samples and bumps the ledger of the hours that really got rows; returns the number inserted.
-- Plan: function scan on unnest, insert through the day partitions, one index probe a row.
with incoming as (
    select * from unnest(
        %(server_id)s::integer[],
        %(organization_id)s::integer[],
        %(collected_at)s::timestamptz[],
        %(cpu_pct)s::real[],
        %(cpu_count)s::smallint[],
        %(memory_used_bytes)s::bigint[],
        %(memory_total_bytes)s::bigint[],
        %(disk_used_bytes)s::bigint[],
        %(disk_total_bytes)s::bigint[],
        %(network_in_bytes)s::bigint[],
        %(network_out_bytes)s::bigint[],
        %(elapsed_ms)s::integer[],
        %(load_1m)s::real[],
        %(load_5m)s::real[],
        %(load_15m)s::real[],
        %(uptime_seconds)s::integer[],
        %(clock_skew_seconds)s::real[]
    ) as batch (
        server_id,
        organization_id,
        collected_at,
        cpu_pct,
        cpu_count,
        memory_used_bytes,
        memory_total_bytes,
        disk_used_bytes,
        disk_total_bytes,
        network_in_bytes,
        network_out_bytes,
        elapsed_ms,
        load_1m,
        load_5m,
        load_15m,
        uptime_seconds,
        clock_skew_seconds
    )
),
inserted as (
    insert into raw.server_resource_metrics (
        server_id,
        organization_id,
        collected_at,
        cpu_pct,
        cpu_count,
        memory_used_bytes,
        memory_total_bytes,
        disk_used_bytes,
        disk_total_bytes,
        network_in_bytes,
        network_out_bytes,
        elapsed_ms,
        load_1m,
        load_5m,
        load_15m,
        uptime_seconds,
        clock_skew_seconds,
        commit_sequence
    )
    select
        server_id,
        organization_id,
        collected_at,
        cpu_pct,
        cpu_count,
        memory_used_bytes,
        memory_total_bytes,
        disk_used_bytes,
        disk_total_bytes,
        network_in_bytes,
        network_out_bytes,
        elapsed_ms,
        load_1m,
        load_5m,
        load_15m,
        uptime_seconds,
        clock_skew_seconds,
        %(commit_sequence)s::bigint
    from incoming
    order by server_id, collected_at
    on conflict (server_id, collected_at) do nothing
    returning collected_at
),
bumped as (
    insert into ops.raw_hour as ledger (hour, shard, revision)
    select date_trunc('hour', collected_at, 'UTC'), %(shard)s, 1
    from inserted
    group by 1
    order by 1
    on conflict (hour, shard) do update set revision = ledger.revision + 1
)
select count(*) from inserted
