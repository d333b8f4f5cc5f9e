-- Servers active just before %(until)s, each with the newest value of each quantity in [%(start)s, %(until)s).
-- Plan: server_period by its time index; per server three probes of the raw primary key, backwards, in one day partition.
select
    p.server_id,
    p.organization_id,
    cores.cpu_count,
    memory.memory_total_bytes,
    memory.memory_used_bytes,
    disk.disk_total_bytes,
    disk.disk_used_bytes
from inventory.server_period as p
left join lateral (
    select r.cpu_count
    from raw.server_resource_metrics as r
    where r.server_id = p.server_id
        and r.collected_at >= %(start)s
        and r.collected_at < %(until)s
        and r.cpu_count is not null
    order by r.collected_at desc
    limit 1
) as cores on true
left join lateral (
    select
        r.memory_total_bytes,
        r.memory_used_bytes
    from raw.server_resource_metrics as r
    where r.server_id = p.server_id
        and r.collected_at >= %(start)s
        and r.collected_at < %(until)s
        and r.memory_used_bytes is not null
    order by r.collected_at desc
    limit 1
) as memory on true
left join lateral (
    select
        r.disk_total_bytes,
        r.disk_used_bytes
    from raw.server_resource_metrics as r
    where r.server_id = p.server_id
        and r.collected_at >= %(start)s
        and r.collected_at < %(until)s
        and r.disk_used_bytes is not null
    order by r.collected_at desc
    limit 1
) as disk on true
where p.state = 'active'
    and p.valid_from < %(until)s
    and p.valid_to >= %(until)s
