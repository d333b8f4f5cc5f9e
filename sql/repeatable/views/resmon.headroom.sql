-- Purpose: what each server can still take, with names.
create or replace view resmon.headroom
with (security_invoker = true)
as
select
    h.bucket_start,
    h.memory_total_bytes,
    h.memory_used_bytes_p95_28d,
    h.memory_used_bytes_upper_80_7d,
    h.memory_used_bytes_upper_80_30d,
    h.disk_total_bytes,
    h.disk_used_bytes_p95_28d,
    h.disk_used_bytes_upper_80_7d,
    h.disk_used_bytes_upper_80_30d,
    h.memory_headroom_bytes,
    h.disk_headroom_bytes,
    h.suggested_memory_bytes,
    h.server_id,
    s.name as server_name,
    h.organization_id,
    o.name as organization_name,
    h.rank_in_fleet,
    h.rank_in_organization,
    h.cpu_pct_p95_28d::double precision as cpu_pct_p95_28d,
    h.cpu_pct_upper_80_7d::double precision as cpu_pct_upper_80_7d,
    h.cpu_pct_upper_80_30d::double precision as cpu_pct_upper_80_30d,
    h.cpu_headroom_pct::double precision as cpu_headroom_pct,
    h.memory_headroom_pct::double precision as memory_headroom_pct,
    h.disk_headroom_pct::double precision as disk_headroom_pct,
    h.cpu_headroom_cores::double precision as cpu_headroom_cores,
    h.headroom_ratio::double precision as headroom_ratio,
    h.coverage_ratio::double precision as coverage_ratio,
    h.confidence_ratio::double precision as confidence_ratio,
    h.cpu_count,
    h.suggested_cpu_count,
    h.measured_hours,
    h.limiting_resource,
    h.verdict,
    h.suggestion
from forecast.headroom as h
left join inventory.servers as s on s.server_id = h.server_id
left join inventory.organizations as o on o.organization_id = h.organization_id;

comment on view resmon.headroom is 'One row per server and UTC day: what it can still take, whether it is underused or overloaded, and what size would fit. Filter on bucket_start.
Key: bucket_start, server_id.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.headroom.bucket_start is 'Start of the UTC day whose end it is told for.';
comment on column resmon.headroom.memory_total_bytes is 'Size of memory in bytes, the newest known; null: none.';
comment on column resmon.headroom.memory_used_bytes_p95_28d is '95th percentile over 28 days of the 95th percentiles of the hours, bytes.';
comment on column resmon.headroom.memory_used_bytes_upper_80_7d is 'Upper edge of the 80 % band of the forecast (method best) 7 days ahead, bytes.';
comment on column resmon.headroom.memory_used_bytes_upper_80_30d is 'The same 30 days ahead, bytes.';
comment on column resmon.headroom.disk_total_bytes is 'Size of disk in bytes, the newest known; null: none.';
comment on column resmon.headroom.disk_used_bytes_p95_28d is '95th percentile over 28 days of the 95th percentiles of the hours, bytes.';
comment on column resmon.headroom.disk_used_bytes_upper_80_7d is 'Upper edge of the 80 % band of the forecast (method best) 7 days ahead, bytes.';
comment on column resmon.headroom.disk_used_bytes_upper_80_30d is 'The same 30 days ahead, bytes.';
comment on column resmon.headroom.memory_headroom_bytes is 'Bytes until 85 % of memory; negative: above.';
comment on column resmon.headroom.disk_headroom_bytes is 'Bytes until 85 % of disk; negative: above.';
comment on column resmon.headroom.suggested_memory_bytes is 'Memory in bytes that would put its p95 at 85 %, in steps of 256 MiB.';
comment on column resmon.headroom.server_id is 'Server.';
comment on column resmon.headroom.server_name is 'Its name now.';
comment on column resmon.headroom.organization_id is 'Organization that owned the server on that day.';
comment on column resmon.headroom.organization_name is 'Its name now.';
comment on column resmon.headroom.rank_in_fleet is '1: most room of all servers, by headroom_ratio (count); null when that is not known.';
comment on column resmon.headroom.rank_in_organization is 'The same among the servers of the organization itself.';
comment on column resmon.headroom.cpu_pct_p95_28d is '95th percentile over 28 days of the 95th percentiles of the hours, percent.';
comment on column resmon.headroom.cpu_pct_upper_80_7d is 'Upper edge of the 80 % band of the forecast (method best) 7 days ahead, percent.';
comment on column resmon.headroom.cpu_pct_upper_80_30d is 'The same 30 days ahead, percent.';
comment on column resmon.headroom.cpu_headroom_pct is 'Percent points from the higher of p95 and the forecast of 30 days to 80 %; negative: above.';
comment on column resmon.headroom.memory_headroom_pct is 'The same to 85 % of memory.';
comment on column resmon.headroom.disk_headroom_pct is 'The same to 85 % of disk.';
comment on column resmon.headroom.cpu_headroom_cores is 'The same in cores.';
comment on column resmon.headroom.headroom_ratio is 'Headroom of the limiting resource as a share of its target, at most 1; negative: above the target.';
comment on column resmon.headroom.coverage_ratio is 'Measured hours of the 672 of 28 days, 0 to 1.';
comment on column resmon.headroom.confidence_ratio is 'coverage_ratio; half of it when a resource has no forecast.';
comment on column resmon.headroom.cpu_count is 'Cores, the newest known; null: none.';
comment on column resmon.headroom.suggested_cpu_count is 'Cores that would put the p95 of CPU at 80 %.';
comment on column resmon.headroom.measured_hours is 'Hours (count) of the last 28 days with at least half of their expected samples.';
comment on column resmon.headroom.limiting_resource is 'cpu, memory or disk: where the least is left; null when nothing is known.';
comment on column resmon.headroom.verdict is 'underused, balanced, overloaded or unknown; the rule is in docs/analytics.md.';
comment on column resmon.headroom.suggestion is 'What size would fit, in words; null when the present one does or nothing is known.';
