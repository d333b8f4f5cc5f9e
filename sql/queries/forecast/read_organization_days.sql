-- Days of organizations with all below them in [%(start)s, %(end)s), days in %(red)s left out: only those of which
-- something was measured. Organizations that were removed are left out.
-- Plan: scan of the year's partition by its time index; 60 rows per organization.
select
    m.bucket_start,
    m.organization_id,
    least(m.cpu_pct_core_sum / nullif(m.cpu_core_sample_count, 0), 100) as cpu_pct,
    m.memory_used_bytes,
    m.disk_used_bytes,
    m.expected_server_count::double precision as servers,
    m.cpu_core_count as cpu_cores,
    (m.network_in_bytes + m.network_out_bytes)::double precision as bandwidth_bytes_per_day,
    m.memory_total_bytes,
    m.disk_total_bytes
from rollup.organization_metrics_1day as m
inner join inventory.organizations as o on o.organization_id = m.organization_id
where m.bucket_start >= %(start)s
    and m.bucket_start < %(end)s
    and m.bucket_start <> all(%(red)s::timestamptz[])
    and m.scope = 'subtree'
    and m.sample_count > 0
