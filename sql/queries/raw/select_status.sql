-- Inventory and latest state of servers by id; the state columns are null for a server that was never collected.
-- Plan: primary keys of servers and server_status.
select
    s.server_id,
    s.name as server_name,
    o.name as organization_name,
    s.state,
    s.tags,
    s.interval_seconds,
    t.status,
    t.cause,
    t.cause_detail,
    t.consecutive_failures,
    t.last_attempt_at,
    t.last_metrics_at,
    t.cpu_pct,
    t.cpu_count,
    t.memory_used_bytes,
    t.memory_total_bytes,
    t.disk_used_bytes,
    t.disk_total_bytes,
    t.network_in_bytes_per_second,
    t.network_out_bytes_per_second,
    t.load_1m,
    t.load_5m,
    t.load_15m,
    t.uptime_seconds,
    t.clock_skew_seconds
from inventory.servers as s
inner join inventory.organizations as o on o.organization_id = s.organization_id
left join raw.server_status as t on t.server_id = s.server_id
where s.server_id = any(%(server_ids)s)
order by s.name, s.server_id;
