-- Purpose: organizations and their subtrees at three granularities as one table; shares derived from what the rows carry.
-- A condition on granularity leaves one branch; a day is 24 hours, whatever the session's zone.
create or replace view resmon.organization_metrics
with (security_invoker = true)
as
select
    a.granularity,
    a.bucket_start,
    a.bucket_end,
    a.organization_id,
    o.name as organization_name,
    a.scope,
    a.server_count,
    a.expected_server_count,
    a.sample_count,
    a.expected_count,
    least(a.sample_count, a.expected_count)::double precision / nullif(a.expected_count, 0) as coverage_ratio,
    least(a.cpu_pct_core_sum / nullif(a.cpu_core_sample_count, 0), a.cpu_pct_max::double precision) as cpu_pct_avg,
    a.cpu_pct_p95::double precision as cpu_pct_p95,
    a.cpu_pct_max::double precision as cpu_pct_max,
    a.cpu_core_count,
    a.memory_used_bytes,
    a.memory_total_bytes,
    100 * a.memory_used_bytes / nullif(a.memory_total_bytes, 0) as memory_used_pct,
    a.disk_used_bytes,
    a.disk_total_bytes,
    100 * a.disk_used_bytes / nullif(a.disk_total_bytes, 0) as disk_used_pct,
    a.network_in_bytes,
    a.network_out_bytes,
    a.network_in_bytes::double precision / extract(epoch from a.bucket_end - a.bucket_start)::double precision
        as network_in_bytes_per_second,
    a.network_out_bytes::double precision / extract(epoch from a.bucket_end - a.bucket_start)::double precision
        as network_out_bytes_per_second
from (
    select
        '5min'::text as granularity,
        m.bucket_start,
        m.bucket_start + interval '5 minutes' as bucket_end,
        m.organization_id,
        m.scope,
        m.sample_count,
        m.expected_count,
        m.server_count,
        m.expected_server_count,
        m.cpu_pct_core_sum,
        m.cpu_core_sample_count,
        m.cpu_pct_max,
        m.cpu_pct_p95,
        m.cpu_core_count,
        m.memory_used_bytes,
        m.memory_total_bytes,
        m.disk_used_bytes,
        m.disk_total_bytes,
        m.network_in_bytes,
        m.network_out_bytes
    from rollup.organization_metrics_5min as m
    union all
    select
        '1hour'::text as granularity,
        m.bucket_start,
        m.bucket_start + interval '1 hour' as bucket_end,
        m.organization_id,
        m.scope,
        m.sample_count,
        m.expected_count,
        m.server_count,
        m.expected_server_count,
        m.cpu_pct_core_sum,
        m.cpu_core_sample_count,
        m.cpu_pct_max,
        m.cpu_pct_p95,
        m.cpu_core_count,
        m.memory_used_bytes,
        m.memory_total_bytes,
        m.disk_used_bytes,
        m.disk_total_bytes,
        m.network_in_bytes,
        m.network_out_bytes
    from rollup.organization_metrics_1hour as m
    union all
    select
        '1day'::text as granularity,
        m.bucket_start,
        m.bucket_start + interval '24 hours' as bucket_end,
        m.organization_id,
        m.scope,
        m.sample_count,
        m.expected_count,
        m.server_count,
        m.expected_server_count,
        m.cpu_pct_core_sum,
        m.cpu_core_sample_count,
        m.cpu_pct_max,
        m.cpu_pct_p95,
        m.cpu_core_count,
        m.memory_used_bytes,
        m.memory_total_bytes,
        m.disk_used_bytes,
        m.disk_total_bytes,
        m.network_in_bytes,
        m.network_out_bytes
    from rollup.organization_metrics_1day as m
) as a
left join inventory.organizations as o on o.organization_id = a.organization_id;

comment on view resmon.organization_metrics is 'Organizations and their subtrees per time bucket at three granularities. Always filter on granularity, scope and bucket_start. resmon.organization_subtree(id) gives the ids below one.
Key: granularity, bucket_start, organization_id, scope.
References: organization_id to organizations.';
comment on column resmon.organization_metrics.granularity is 'Width of the bucket: 5min, 1hour or 1day. Always filter on it: the other tables are then not read.';
comment on column resmon.organization_metrics.bucket_start is 'Start of the half-open bucket [bucket_start, bucket_end), UTC. Filter on it, so that only its partitions are read.';
comment on column resmon.organization_metrics.bucket_end is 'End of the bucket, not part of it.';
comment on column resmon.organization_metrics.organization_id is 'Identifier of the organization.';
comment on column resmon.organization_metrics.organization_name is 'Name of the organization now; null when it was removed.';
comment on column resmon.organization_metrics.scope is 'direct: the servers of the organization itself; subtree: those and all below it, as the tree was when the samples were taken. Filter on it: adding both counts servers twice.';
comment on column resmon.organization_metrics.server_count is 'Servers that have samples in the bucket, each counted once.';
comment on column resmon.organization_metrics.expected_server_count is 'Servers of which samples were expected in the bucket, each counted once.';
comment on column resmon.organization_metrics.sample_count is 'Samples in the bucket.';
comment on column resmon.organization_metrics.expected_count is 'Scheduled instants in the bucket of servers that were active.';
comment on column resmon.organization_metrics.coverage_ratio is 'Share of the expected samples that came, 0 to 1; null when none was expected.';
comment on column resmon.organization_metrics.cpu_pct_avg is 'Mean CPU busy share, percent, 0 to 100, each sample weighted by the cores of its server; null when nothing was measured.';
comment on column resmon.organization_metrics.cpu_pct_p95 is '95th percentile of CPU busy share over all samples of the scope together, percent; a server counts as often as it was read, whatever its cores. Null when nothing was measured.';
comment on column resmon.organization_metrics.cpu_pct_max is 'Highest CPU busy share of any sample, percent; null when nothing was measured.';
comment on column resmon.organization_metrics.cpu_core_count is 'Cores: the mean of each server that has samples, added up; null when nothing was measured.';
comment on column resmon.organization_metrics.memory_used_bytes is 'Memory used, bytes: the mean of each server over its own samples, added up; null when nothing was measured.';
comment on column resmon.organization_metrics.memory_total_bytes is 'Memory, bytes, of the same servers; null when nothing was measured.';
comment on column resmon.organization_metrics.memory_used_pct is 'Share of the memory of these servers that is used, percent; null when nothing was measured.';
comment on column resmon.organization_metrics.disk_used_bytes is 'Disk used, bytes: the mean of each server over its own samples, added up; null when nothing was measured.';
comment on column resmon.organization_metrics.disk_total_bytes is 'Disk size, bytes, of the same servers; null when nothing was measured.';
comment on column resmon.organization_metrics.disk_used_pct is 'Share of the disks of these servers that is used, percent; null when nothing was measured.';
comment on column resmon.organization_metrics.network_in_bytes is 'Bytes received in the bucket; null when nothing was measured.';
comment on column resmon.organization_metrics.network_out_bytes is 'Bytes sent in the bucket; null when nothing was measured.';
comment on column resmon.organization_metrics.network_in_bytes_per_second is 'Bytes received per second of the bucket, whether samples came in all of it or not.';
comment on column resmon.organization_metrics.network_out_bytes_per_second is 'Bytes sent per second of the bucket, whether samples came in all of it or not.';
