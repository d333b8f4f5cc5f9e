-- The servers under collection that most need to be looked at, for the live table of `resmon up`.
-- Plan: hash join of two small tables, top-N sort; 10,000 rows each at full scale.
select
    servers.server_id,
    servers.name,
    organizations.name as organization,
    coalesce(status.status, 'waiting') as status,
    status.cause,
    status.last_metrics_at,
    status.cpu_pct,
    status.memory_used_bytes,
    status.memory_total_bytes,
    status.disk_used_bytes,
    status.disk_total_bytes,
    status.network_in_bytes_per_second,
    status.network_out_bytes_per_second,
    status.load_1m
from inventory.servers as servers
inner join inventory.organizations as organizations using (organization_id)
left join raw.server_status as status using (server_id)
where servers.state = 'active'
order by
    array_position(array['error', 'critical', 'warning', 'waiting', 'healthy'], coalesce(status.status, 'waiting')),
    servers.name
limit %(limit)s
