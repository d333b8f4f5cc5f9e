-- Samples of servers in [start, end), by time, with the rates that follow from them.
-- Plan: index scan per day partition on (server_id, collected_at), then a sort; read through a server-side cursor.
select
    s.name as server_name,
    o.name as organization_name,
    m.collected_at,
    m.cpu_pct,
    m.cpu_count,
    m.memory_used_bytes,
    m.memory_total_bytes,
    m.disk_used_bytes,
    m.disk_total_bytes,
    m.network_in_bytes,
    m.network_out_bytes,
    m.network_in_bytes * 1000.0::double precision / nullif(m.elapsed_ms, 0) as network_in_bytes_per_second,
    m.network_out_bytes * 1000.0::double precision / nullif(m.elapsed_ms, 0) as network_out_bytes_per_second,
    m.elapsed_ms,
    m.load_1m,
    m.load_5m,
    m.load_15m,
    m.uptime_seconds,
    m.clock_skew_seconds
from raw.server_resource_metrics as m
inner join inventory.servers as s on s.server_id = m.server_id
left join inventory.organizations as o on o.organization_id = m.organization_id
where m.server_id = any(%(server_ids)s)
    and m.collected_at >= %(start)s
    and m.collected_at < %(end)s
order by m.collected_at, s.name;
