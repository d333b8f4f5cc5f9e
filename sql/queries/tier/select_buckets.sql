-- Buckets of one tier for servers with a start in [start, end), by time; {table} is the tier.
-- A statistic that a row of one minute leaves out is worked out again (tier.derived); other tiers store all of them.
-- Plan: index scan per partition on (server_id, bucket_start), then a sort; read through a server-side cursor.
select
    s.name as server_name,
    o.name as organization_name,
    m.bucket_start,
    m.sample_count,
    m.expected_count,
    coalesce(m.cpu_pct_avg, tier.derived(m.cpu_pct_p50, m.cpu_pct_min, m.cpu_pct_max, 0.5)) as cpu_pct_avg,
    m.cpu_pct_min,
    coalesce(m.cpu_pct_max, m.cpu_pct_min) as cpu_pct_max,
    tier.derived(m.cpu_pct_p50, m.cpu_pct_min, m.cpu_pct_max, 0.5) as cpu_pct_p50,
    tier.derived(m.cpu_pct_p95, m.cpu_pct_min, m.cpu_pct_max, 0.95) as cpu_pct_p95,
    tier.derived(m.cpu_pct_p99, m.cpu_pct_min, m.cpu_pct_max, 0.99) as cpu_pct_p99,
    coalesce(m.memory_used_bytes_avg, tier.derived(m.memory_used_bytes_p50, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.5)) as memory_used_bytes_avg,
    m.memory_used_bytes_min,
    coalesce(m.memory_used_bytes_max, m.memory_used_bytes_min) as memory_used_bytes_max,
    tier.derived(m.memory_used_bytes_p50, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.5) as memory_used_bytes_p50,
    tier.derived(m.memory_used_bytes_p95, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.95) as memory_used_bytes_p95,
    tier.derived(m.memory_used_bytes_p99, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.99) as memory_used_bytes_p99,
    coalesce(m.disk_used_bytes_avg, tier.derived(m.disk_used_bytes_p50, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.5)) as disk_used_bytes_avg,
    m.disk_used_bytes_min,
    coalesce(m.disk_used_bytes_max, m.disk_used_bytes_min) as disk_used_bytes_max,
    tier.derived(m.disk_used_bytes_p50, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.5) as disk_used_bytes_p50,
    tier.derived(m.disk_used_bytes_p95, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.95) as disk_used_bytes_p95,
    tier.derived(m.disk_used_bytes_p99, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.99) as disk_used_bytes_p99,
    coalesce(m.network_in_bytes_per_second_avg, tier.derived(m.network_in_bytes_per_second_p50, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.5)) as network_in_bytes_per_second_avg,
    m.network_in_bytes_per_second_min,
    coalesce(m.network_in_bytes_per_second_max, m.network_in_bytes_per_second_min) as network_in_bytes_per_second_max,
    tier.derived(m.network_in_bytes_per_second_p50, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.5) as network_in_bytes_per_second_p50,
    tier.derived(m.network_in_bytes_per_second_p95, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.95) as network_in_bytes_per_second_p95,
    tier.derived(m.network_in_bytes_per_second_p99, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.99) as network_in_bytes_per_second_p99,
    coalesce(m.network_out_bytes_per_second_avg, tier.derived(m.network_out_bytes_per_second_p50, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.5)) as network_out_bytes_per_second_avg,
    m.network_out_bytes_per_second_min,
    coalesce(m.network_out_bytes_per_second_max, m.network_out_bytes_per_second_min) as network_out_bytes_per_second_max,
    tier.derived(m.network_out_bytes_per_second_p50, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.5) as network_out_bytes_per_second_p50,
    tier.derived(m.network_out_bytes_per_second_p95, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.95) as network_out_bytes_per_second_p95,
    tier.derived(m.network_out_bytes_per_second_p99, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.99) as network_out_bytes_per_second_p99
from {table} as m
inner join inventory.servers as s on s.server_id = m.server_id
left join inventory.organizations as o on o.organization_id = m.organization_id
where m.server_id = any(%(server_ids)s)
    and m.bucket_start >= %(start)s
    and m.bucket_start < %(end)s
order by m.bucket_start, s.name, o.name;
