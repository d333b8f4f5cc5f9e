-- Memory and disks of the servers active just before %(end)s: the newest size in raw of the day [%(start)s, %(end)s), else
-- the one that a forecast of the last week before %(end)s has stored, else the newest known. The second keeps a day the
-- same that is computed again after its raw has gone.
-- Plan: per server two probes of the raw primary key, backwards, in one day partition; forecasts by their primary key,
-- only for servers without a sample; server_status by its primary key.
select
    p.server_id,
    coalesce(memory.memory_total_bytes::double precision, kept_memory.capacity, s.memory_total_bytes::double precision)
        as memory_total_bytes,
    coalesce(disk.disk_total_bytes::double precision, kept_disk.capacity, s.disk_total_bytes::double precision)
        as disk_total_bytes
from inventory.server_period as p
left join raw.server_status as s on s.server_id = p.server_id
left join lateral (
    select r.memory_total_bytes
    from raw.server_resource_metrics as r
    where r.server_id = p.server_id
        and r.collected_at >= %(start)s
        and r.collected_at < %(end)s
        and r.memory_total_bytes > 0
    order by r.collected_at desc
    limit 1
) as memory on true
left join lateral (
    select r.disk_total_bytes
    from raw.server_resource_metrics as r
    where r.server_id = p.server_id
        and r.collected_at >= %(start)s
        and r.collected_at < %(end)s
        and r.disk_total_bytes > 0
    order by r.collected_at desc
    limit 1
) as disk on true
left join lateral (
    select f.capacity
    from forecast.capacity_forecasts as f
    where memory.memory_total_bytes is null
        and f.organization_id = p.organization_id
        and f.server_id = p.server_id
        and f.metric = 'memory_used_bytes'
        and f.mount = ''
        and f.method = 'linear'
        and f.bucket_start > %(start)s::timestamptz - interval '7 days'
        and f.bucket_start <= %(start)s
        and f.capacity is not null
    order by f.bucket_start desc
    limit 1
) as kept_memory on true
left join lateral (
    select f.capacity
    from forecast.capacity_forecasts as f
    where disk.disk_total_bytes is null
        and f.organization_id = p.organization_id
        and f.server_id = p.server_id
        and f.metric = 'disk_used_bytes'
        and f.mount = ''
        and f.method = 'linear'
        and f.bucket_start > %(start)s::timestamptz - interval '7 days'
        and f.bucket_start <= %(start)s
        and f.capacity is not null
    order by f.bucket_start desc
    limit 1
) as kept_disk on true
where p.state = 'active'
    and p.valid_from < %(end)s
    and p.valid_to >= %(end)s
