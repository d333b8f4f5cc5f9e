-- Purpose: tier.metrics_1min with all statistics, double precision. Its rows leave out what follows from their minimum and
-- maximum; here it is worked out (tier.derived).
-- Plan: that of the table; a statistic that is not asked for costs nothing.
create or replace view tier.whole_1min
with (security_invoker = true)
as
select
    m.bucket_start,
    m.server_id,
    m.organization_id,
    m.sample_count,
    m.expected_count,
    coalesce(m.cpu_pct_avg, tier.derived(m.cpu_pct_p50, m.cpu_pct_min, m.cpu_pct_max, 0.5))::double precision as cpu_pct_avg,
    m.cpu_pct_min::double precision as cpu_pct_min,
    coalesce(m.cpu_pct_max, m.cpu_pct_min)::double precision as cpu_pct_max,
    tier.derived(m.cpu_pct_p50, m.cpu_pct_min, m.cpu_pct_max, 0.5)::double precision as cpu_pct_p50,
    tier.derived(m.cpu_pct_p95, m.cpu_pct_min, m.cpu_pct_max, 0.95)::double precision as cpu_pct_p95,
    tier.derived(m.cpu_pct_p99, m.cpu_pct_min, m.cpu_pct_max, 0.99)::double precision as cpu_pct_p99,
    coalesce(m.memory_used_bytes_avg, tier.derived(m.memory_used_bytes_p50, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.5))::double precision as memory_used_bytes_avg,
    m.memory_used_bytes_min::double precision as memory_used_bytes_min,
    coalesce(m.memory_used_bytes_max, m.memory_used_bytes_min)::double precision as memory_used_bytes_max,
    tier.derived(m.memory_used_bytes_p50, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.5)::double precision as memory_used_bytes_p50,
    tier.derived(m.memory_used_bytes_p95, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.95)::double precision as memory_used_bytes_p95,
    tier.derived(m.memory_used_bytes_p99, m.memory_used_bytes_min, m.memory_used_bytes_max, 0.99)::double precision as memory_used_bytes_p99,
    coalesce(m.disk_used_bytes_avg, tier.derived(m.disk_used_bytes_p50, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.5))::double precision as disk_used_bytes_avg,
    m.disk_used_bytes_min::double precision as disk_used_bytes_min,
    coalesce(m.disk_used_bytes_max, m.disk_used_bytes_min)::double precision as disk_used_bytes_max,
    tier.derived(m.disk_used_bytes_p50, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.5)::double precision as disk_used_bytes_p50,
    tier.derived(m.disk_used_bytes_p95, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.95)::double precision as disk_used_bytes_p95,
    tier.derived(m.disk_used_bytes_p99, m.disk_used_bytes_min, m.disk_used_bytes_max, 0.99)::double precision as disk_used_bytes_p99,
    coalesce(m.network_in_bytes_per_second_avg, tier.derived(m.network_in_bytes_per_second_p50, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.5))::double precision as network_in_bytes_per_second_avg,
    m.network_in_bytes_per_second_min::double precision as network_in_bytes_per_second_min,
    coalesce(m.network_in_bytes_per_second_max, m.network_in_bytes_per_second_min)::double precision as network_in_bytes_per_second_max,
    tier.derived(m.network_in_bytes_per_second_p50, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.5)::double precision as network_in_bytes_per_second_p50,
    tier.derived(m.network_in_bytes_per_second_p95, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.95)::double precision as network_in_bytes_per_second_p95,
    tier.derived(m.network_in_bytes_per_second_p99, m.network_in_bytes_per_second_min, m.network_in_bytes_per_second_max, 0.99)::double precision as network_in_bytes_per_second_p99,
    coalesce(m.network_out_bytes_per_second_avg, tier.derived(m.network_out_bytes_per_second_p50, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.5))::double precision as network_out_bytes_per_second_avg,
    m.network_out_bytes_per_second_min::double precision as network_out_bytes_per_second_min,
    coalesce(m.network_out_bytes_per_second_max, m.network_out_bytes_per_second_min)::double precision as network_out_bytes_per_second_max,
    tier.derived(m.network_out_bytes_per_second_p50, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.5)::double precision as network_out_bytes_per_second_p50,
    tier.derived(m.network_out_bytes_per_second_p95, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.95)::double precision as network_out_bytes_per_second_p95,
    tier.derived(m.network_out_bytes_per_second_p99, m.network_out_bytes_per_second_min, m.network_out_bytes_per_second_max, 0.99)::double precision as network_out_bytes_per_second_p99
from tier.metrics_1min as m;

comment on view tier.whole_1min is 'Rows of tier.metrics_1min with the statistics that they leave out.';
