-- Purpose: the four tiers as one table; double precision, names of today.
-- A condition on granularity leaves one branch; a day is 24 hours, whatever the session's zone.
create or replace view resmon.metric_aggregations
with (security_invoker = true)
as
select
    a.granularity,
    a.bucket_start,
    a.bucket_end,
    a.server_id,
    s.name as server_name,
    a.organization_id,
    o.name as organization_name,
    a.sample_count,
    a.expected_count,
    a.cpu_pct_avg,
    a.cpu_pct_min,
    a.cpu_pct_max,
    a.cpu_pct_p50,
    a.cpu_pct_p95,
    a.cpu_pct_p99,
    a.memory_used_bytes_avg,
    a.memory_used_bytes_min,
    a.memory_used_bytes_max,
    a.memory_used_bytes_p50,
    a.memory_used_bytes_p95,
    a.memory_used_bytes_p99,
    a.disk_used_bytes_avg,
    a.disk_used_bytes_min,
    a.disk_used_bytes_max,
    a.disk_used_bytes_p50,
    a.disk_used_bytes_p95,
    a.disk_used_bytes_p99,
    a.network_in_bytes_per_second_avg,
    a.network_in_bytes_per_second_min,
    a.network_in_bytes_per_second_max,
    a.network_in_bytes_per_second_p50,
    a.network_in_bytes_per_second_p95,
    a.network_in_bytes_per_second_p99,
    a.network_out_bytes_per_second_avg,
    a.network_out_bytes_per_second_min,
    a.network_out_bytes_per_second_max,
    a.network_out_bytes_per_second_p50,
    a.network_out_bytes_per_second_p95,
    a.network_out_bytes_per_second_p99
from (
    select
        '1min'::text as granularity,
        m.bucket_start,
        m.bucket_start + interval '1 minute' as bucket_end,
        m.server_id,
        m.organization_id,
        m.sample_count,
        m.expected_count,
        m.cpu_pct_avg,
        m.cpu_pct_min,
        m.cpu_pct_max,
        m.cpu_pct_p50,
        m.cpu_pct_p95,
        m.cpu_pct_p99,
        m.memory_used_bytes_avg,
        m.memory_used_bytes_min,
        m.memory_used_bytes_max,
        m.memory_used_bytes_p50,
        m.memory_used_bytes_p95,
        m.memory_used_bytes_p99,
        m.disk_used_bytes_avg,
        m.disk_used_bytes_min,
        m.disk_used_bytes_max,
        m.disk_used_bytes_p50,
        m.disk_used_bytes_p95,
        m.disk_used_bytes_p99,
        m.network_in_bytes_per_second_avg,
        m.network_in_bytes_per_second_min,
        m.network_in_bytes_per_second_max,
        m.network_in_bytes_per_second_p50,
        m.network_in_bytes_per_second_p95,
        m.network_in_bytes_per_second_p99,
        m.network_out_bytes_per_second_avg,
        m.network_out_bytes_per_second_min,
        m.network_out_bytes_per_second_max,
        m.network_out_bytes_per_second_p50,
        m.network_out_bytes_per_second_p95,
        m.network_out_bytes_per_second_p99
    from tier.whole_1min as m
    union all
    select
        '5min'::text as granularity,
        m.bucket_start,
        m.bucket_start + interval '5 minutes' as bucket_end,
        m.server_id,
        m.organization_id,
        m.sample_count,
        m.expected_count,
        m.cpu_pct_avg::double precision as cpu_pct_avg,
        m.cpu_pct_min::double precision as cpu_pct_min,
        m.cpu_pct_max::double precision as cpu_pct_max,
        m.cpu_pct_p50::double precision as cpu_pct_p50,
        m.cpu_pct_p95::double precision as cpu_pct_p95,
        m.cpu_pct_p99::double precision as cpu_pct_p99,
        m.memory_used_bytes_avg::double precision as memory_used_bytes_avg,
        m.memory_used_bytes_min::double precision as memory_used_bytes_min,
        m.memory_used_bytes_max::double precision as memory_used_bytes_max,
        m.memory_used_bytes_p50::double precision as memory_used_bytes_p50,
        m.memory_used_bytes_p95::double precision as memory_used_bytes_p95,
        m.memory_used_bytes_p99::double precision as memory_used_bytes_p99,
        m.disk_used_bytes_avg::double precision as disk_used_bytes_avg,
        m.disk_used_bytes_min::double precision as disk_used_bytes_min,
        m.disk_used_bytes_max::double precision as disk_used_bytes_max,
        m.disk_used_bytes_p50::double precision as disk_used_bytes_p50,
        m.disk_used_bytes_p95::double precision as disk_used_bytes_p95,
        m.disk_used_bytes_p99::double precision as disk_used_bytes_p99,
        m.network_in_bytes_per_second_avg::double precision as network_in_bytes_per_second_avg,
        m.network_in_bytes_per_second_min::double precision as network_in_bytes_per_second_min,
        m.network_in_bytes_per_second_max::double precision as network_in_bytes_per_second_max,
        m.network_in_bytes_per_second_p50::double precision as network_in_bytes_per_second_p50,
        m.network_in_bytes_per_second_p95::double precision as network_in_bytes_per_second_p95,
        m.network_in_bytes_per_second_p99::double precision as network_in_bytes_per_second_p99,
        m.network_out_bytes_per_second_avg::double precision as network_out_bytes_per_second_avg,
        m.network_out_bytes_per_second_min::double precision as network_out_bytes_per_second_min,
        m.network_out_bytes_per_second_max::double precision as network_out_bytes_per_second_max,
        m.network_out_bytes_per_second_p50::double precision as network_out_bytes_per_second_p50,
        m.network_out_bytes_per_second_p95::double precision as network_out_bytes_per_second_p95,
        m.network_out_bytes_per_second_p99::double precision as network_out_bytes_per_second_p99
    from tier.metrics_5min as m
    union all
    select
        '1hour'::text as granularity,
        m.bucket_start,
        m.bucket_start + interval '1 hour' as bucket_end,
        m.server_id,
        m.organization_id,
        m.sample_count,
        m.expected_count,
        m.cpu_pct_avg::double precision as cpu_pct_avg,
        m.cpu_pct_min::double precision as cpu_pct_min,
        m.cpu_pct_max::double precision as cpu_pct_max,
        m.cpu_pct_p50::double precision as cpu_pct_p50,
        m.cpu_pct_p95::double precision as cpu_pct_p95,
        m.cpu_pct_p99::double precision as cpu_pct_p99,
        m.memory_used_bytes_avg::double precision as memory_used_bytes_avg,
        m.memory_used_bytes_min::double precision as memory_used_bytes_min,
        m.memory_used_bytes_max::double precision as memory_used_bytes_max,
        m.memory_used_bytes_p50::double precision as memory_used_bytes_p50,
        m.memory_used_bytes_p95::double precision as memory_used_bytes_p95,
        m.memory_used_bytes_p99::double precision as memory_used_bytes_p99,
        m.disk_used_bytes_avg::double precision as disk_used_bytes_avg,
        m.disk_used_bytes_min::double precision as disk_used_bytes_min,
        m.disk_used_bytes_max::double precision as disk_used_bytes_max,
        m.disk_used_bytes_p50::double precision as disk_used_bytes_p50,
        m.disk_used_bytes_p95::double precision as disk_used_bytes_p95,
        m.disk_used_bytes_p99::double precision as disk_used_bytes_p99,
        m.network_in_bytes_per_second_avg::double precision as network_in_bytes_per_second_avg,
        m.network_in_bytes_per_second_min::double precision as network_in_bytes_per_second_min,
        m.network_in_bytes_per_second_max::double precision as network_in_bytes_per_second_max,
        m.network_in_bytes_per_second_p50::double precision as network_in_bytes_per_second_p50,
        m.network_in_bytes_per_second_p95::double precision as network_in_bytes_per_second_p95,
        m.network_in_bytes_per_second_p99::double precision as network_in_bytes_per_second_p99,
        m.network_out_bytes_per_second_avg::double precision as network_out_bytes_per_second_avg,
        m.network_out_bytes_per_second_min::double precision as network_out_bytes_per_second_min,
        m.network_out_bytes_per_second_max::double precision as network_out_bytes_per_second_max,
        m.network_out_bytes_per_second_p50::double precision as network_out_bytes_per_second_p50,
        m.network_out_bytes_per_second_p95::double precision as network_out_bytes_per_second_p95,
        m.network_out_bytes_per_second_p99::double precision as network_out_bytes_per_second_p99
    from tier.metrics_1hour as m
    union all
    select
        '1day'::text as granularity,
        m.bucket_start,
        m.bucket_start + interval '24 hours' as bucket_end,
        m.server_id,
        m.organization_id,
        m.sample_count,
        m.expected_count,
        m.cpu_pct_avg::double precision as cpu_pct_avg,
        m.cpu_pct_min::double precision as cpu_pct_min,
        m.cpu_pct_max::double precision as cpu_pct_max,
        m.cpu_pct_p50::double precision as cpu_pct_p50,
        m.cpu_pct_p95::double precision as cpu_pct_p95,
        m.cpu_pct_p99::double precision as cpu_pct_p99,
        m.memory_used_bytes_avg::double precision as memory_used_bytes_avg,
        m.memory_used_bytes_min::double precision as memory_used_bytes_min,
        m.memory_used_bytes_max::double precision as memory_used_bytes_max,
        m.memory_used_bytes_p50::double precision as memory_used_bytes_p50,
        m.memory_used_bytes_p95::double precision as memory_used_bytes_p95,
        m.memory_used_bytes_p99::double precision as memory_used_bytes_p99,
        m.disk_used_bytes_avg::double precision as disk_used_bytes_avg,
        m.disk_used_bytes_min::double precision as disk_used_bytes_min,
        m.disk_used_bytes_max::double precision as disk_used_bytes_max,
        m.disk_used_bytes_p50::double precision as disk_used_bytes_p50,
        m.disk_used_bytes_p95::double precision as disk_used_bytes_p95,
        m.disk_used_bytes_p99::double precision as disk_used_bytes_p99,
        m.network_in_bytes_per_second_avg::double precision as network_in_bytes_per_second_avg,
        m.network_in_bytes_per_second_min::double precision as network_in_bytes_per_second_min,
        m.network_in_bytes_per_second_max::double precision as network_in_bytes_per_second_max,
        m.network_in_bytes_per_second_p50::double precision as network_in_bytes_per_second_p50,
        m.network_in_bytes_per_second_p95::double precision as network_in_bytes_per_second_p95,
        m.network_in_bytes_per_second_p99::double precision as network_in_bytes_per_second_p99,
        m.network_out_bytes_per_second_avg::double precision as network_out_bytes_per_second_avg,
        m.network_out_bytes_per_second_min::double precision as network_out_bytes_per_second_min,
        m.network_out_bytes_per_second_max::double precision as network_out_bytes_per_second_max,
        m.network_out_bytes_per_second_p50::double precision as network_out_bytes_per_second_p50,
        m.network_out_bytes_per_second_p95::double precision as network_out_bytes_per_second_p95,
        m.network_out_bytes_per_second_p99::double precision as network_out_bytes_per_second_p99
    from tier.metrics_1day as m
) as a
left join inventory.servers as s on s.server_id = a.server_id
left join inventory.organizations as o on o.organization_id = a.organization_id;

comment on view resmon.metric_aggregations is 'Exact statistics per server, organization and time bucket at four granularities. Always filter on granularity and bucket_start.
Key: granularity, bucket_start, server_id, organization_id.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.metric_aggregations.granularity is 'Width of the bucket: 1min, 5min, 1hour or 1day. Always filter on it: the other tiers are then not read.';
comment on column resmon.metric_aggregations.bucket_start is 'Start of the half-open bucket [bucket_start, bucket_end), UTC. Filter on it, so that only its partitions are read.';
comment on column resmon.metric_aggregations.bucket_end is 'End of the bucket, not part of it.';
comment on column resmon.metric_aggregations.server_id is 'Identifier of the server.';
comment on column resmon.metric_aggregations.server_name is 'Name of the server now.';
comment on column resmon.metric_aggregations.organization_id is 'Organization that owned the server when the samples were taken; a server that moved inside a bucket has two rows.';
comment on column resmon.metric_aggregations.organization_name is 'Name of that organization now.';
comment on column resmon.metric_aggregations.sample_count is 'Samples in the bucket; 0 with null statistics when samples were expected and none came.';
comment on column resmon.metric_aggregations.expected_count is 'Scheduled instants in the bucket while the server was active.';
comment on column resmon.metric_aggregations.cpu_pct_avg is 'Mean of CPU busy share, percent, 0 to 100; null when nothing was measured.';
comment on column resmon.metric_aggregations.cpu_pct_min is 'Minimum of CPU busy share, percent, 0 to 100; null when nothing was measured.';
comment on column resmon.metric_aggregations.cpu_pct_max is 'Maximum of CPU busy share, percent, 0 to 100; null when nothing was measured.';
comment on column resmon.metric_aggregations.cpu_pct_p50 is '50th percentile of CPU busy share, percent, 0 to 100; null when nothing was measured.';
comment on column resmon.metric_aggregations.cpu_pct_p95 is '95th percentile of CPU busy share, percent, 0 to 100; null when nothing was measured.';
comment on column resmon.metric_aggregations.cpu_pct_p99 is '99th percentile of CPU busy share, percent, 0 to 100; null when nothing was measured.';
comment on column resmon.metric_aggregations.memory_used_bytes_avg is 'Mean of memory used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.memory_used_bytes_min is 'Minimum of memory used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.memory_used_bytes_max is 'Maximum of memory used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.memory_used_bytes_p50 is '50th percentile of memory used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.memory_used_bytes_p95 is '95th percentile of memory used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.memory_used_bytes_p99 is '99th percentile of memory used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.disk_used_bytes_avg is 'Mean of disk used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.disk_used_bytes_min is 'Minimum of disk used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.disk_used_bytes_max is 'Maximum of disk used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.disk_used_bytes_p50 is '50th percentile of disk used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.disk_used_bytes_p95 is '95th percentile of disk used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.disk_used_bytes_p99 is '99th percentile of disk used, bytes; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_in_bytes_per_second_avg is 'Mean of received, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_in_bytes_per_second_min is 'Minimum of received, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_in_bytes_per_second_max is 'Maximum of received, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_in_bytes_per_second_p50 is '50th percentile of received, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_in_bytes_per_second_p95 is '95th percentile of received, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_in_bytes_per_second_p99 is '99th percentile of received, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_out_bytes_per_second_avg is 'Mean of sent, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_out_bytes_per_second_min is 'Minimum of sent, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_out_bytes_per_second_max is 'Maximum of sent, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_out_bytes_per_second_p50 is '50th percentile of sent, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_out_bytes_per_second_p95 is '95th percentile of sent, bytes per second; null when nothing was measured.';
comment on column resmon.metric_aggregations.network_out_bytes_per_second_p99 is '99th percentile of sent, bytes per second; null when nothing was measured.';
