-- Servers under collection by status, and when the newest sample was taken; waiting means never tried.
-- Plan: hash join of two small tables, 10,000 rows each at full scale.
select
    coalesce(status.status, 'waiting') as status,
    count(*) as server_count,
    max(status.last_metrics_at) as last_metrics_at
from inventory.servers as servers
left join raw.server_status as status using (server_id)
where servers.state = 'active'
group by 1
