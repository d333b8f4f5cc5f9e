-- Inserts a batch of samples and bumps the ledger of the hours and slots that really got rows; returns the number inserted and, when that
-- is not all of them, their keys.
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
    returning server_id, collected_at
),
new as (
    select count(*) as inserted
    from inserted
),
touched as (
    select date_bin('5 minutes', collected_at, '2000-01-01 00:00:00+00') as slot_start
    from inserted
    group by 1
),
hours as (
    select
        date_bin('1 hour', slot_start, '2000-01-01 00:00:00+00') as hour,
        array_agg(extract(minute from slot_start at time zone 'UTC')::integer / 5) as slots
    from touched
    group by 1
),
bumped as (
    insert into ops.raw_hour as ledger (hour, shard, revision, slot_revisions)
    select
        hour,
        %(shard)s,
        1,
        array(
            select (s.slot = any(slots))::integer::bigint
            from generate_series(0, 11) as s (slot)
            order by s.slot
        )
    from hours
    order by hour
    on conflict (hour, shard) do update
    set
        revision = ledger.revision + 1,
        slot_revisions = array(
            select s.old + s.added
            from unnest(ledger.slot_revisions, excluded.slot_revisions)
            with ordinality as s (old, added, slot)
            order by s.slot
        )
)
select
    new.inserted,
    case
        when new.inserted < cardinality(%(server_id)s::integer[])
            then (select array_agg(inserted.server_id order by inserted.server_id, inserted.collected_at) from inserted)
    end as server_ids,
    case
        when new.inserted < cardinality(%(server_id)s::integer[])
            then (select array_agg(inserted.collected_at order by inserted.server_id, inserted.collected_at) from inserted)
    end as instants
from new
