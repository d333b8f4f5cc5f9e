-- Purpose: organizations per five minutes, hour and day: their own servers, and all below them.
-- Locks: none on existing data; new tables only.
-- Undo: drop table rollup.organization_metrics_5min, rollup.organization_metrics_1hour, rollup.organization_metrics_1day.

create schema if not exists rollup;

-- The time is last in the key: rows come hour by hour, and an organization's lie together.
create table rollup.organization_metrics_5min (
    bucket_start timestamptz not null,
    sample_count bigint not null,
    expected_count bigint not null,
    cpu_pct_core_sum double precision,
    cpu_core_sample_count bigint not null,
    cpu_core_count double precision,
    memory_used_bytes double precision,
    memory_total_bytes double precision,
    disk_used_bytes double precision,
    disk_total_bytes double precision,
    network_in_bytes bigint,
    network_out_bytes bigint,
    organization_id integer not null,
    server_count integer not null,
    expected_server_count integer not null,
    cpu_pct_max real,
    cpu_pct_p95 real,
    scope text not null check (scope in ('direct', 'subtree')),
    primary key (organization_id, scope, bucket_start)
) partition by range (bucket_start);

create table rollup.organization_metrics_1hour (
    like rollup.organization_metrics_5min including all
) partition by range (bucket_start);

create table rollup.organization_metrics_1day (
    like rollup.organization_metrics_5min including all
) partition by range (bucket_start);

comment on table rollup.organization_metrics_5min is 'Every organization per five minutes and scope, from raw samples. Partitioned by week; kept 90 days by default.';
comment on column rollup.organization_metrics_5min.bucket_start is 'Start of the half-open bucket [start, start + five minutes), UTC.';
comment on column rollup.organization_metrics_5min.sample_count is 'Raw samples of the scope in the bucket.';
comment on column rollup.organization_metrics_5min.expected_count is 'Scheduled instants in the bucket of servers that were active.';
comment on column rollup.organization_metrics_5min.cpu_pct_core_sum is 'Sum over samples of CPU busy share in percent times cores; divided by cpu_core_sample_count it is the average weighted by cores. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.cpu_core_sample_count is 'Sum over the same samples of cores; a sample that does not know its cores weighs as one core.';
comment on column rollup.organization_metrics_5min.cpu_core_count is 'Cores: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.memory_used_bytes is 'Memory used in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.memory_total_bytes is 'Memory in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.disk_used_bytes is 'Disk used in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.disk_total_bytes is 'Disk size in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.network_in_bytes is 'Bytes received, all samples added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.network_out_bytes is 'Bytes sent, all samples added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_5min.organization_id is 'The organization. Servers and organizations below it are those of the instant of each sample.';
comment on column rollup.organization_metrics_5min.server_count is 'Servers that have samples in the bucket, each counted once.';
comment on column rollup.organization_metrics_5min.expected_server_count is 'Servers of which samples were expected in the bucket, each counted once.';
comment on column rollup.organization_metrics_5min.cpu_pct_max is 'Highest CPU busy share of any sample in percent, 0 to 100; null when nothing was measured.';
comment on column rollup.organization_metrics_5min.cpu_pct_p95 is '95th percentile of CPU busy share over all samples of the scope together, exact, in percent; null when nothing was measured.';
comment on column rollup.organization_metrics_5min.scope is 'direct: the servers of the organization itself; subtree: those and all below it.';

comment on table rollup.organization_metrics_1hour is 'Every organization per hour and scope, from raw samples. Partitioned by month; kept 365 days by default.';
comment on column rollup.organization_metrics_1hour.bucket_start is 'Start of the half-open bucket [start, start + hour), UTC.';
comment on column rollup.organization_metrics_1hour.sample_count is 'Raw samples of the scope in the bucket.';
comment on column rollup.organization_metrics_1hour.expected_count is 'Scheduled instants in the bucket of servers that were active.';
comment on column rollup.organization_metrics_1hour.cpu_pct_core_sum is 'Sum over samples of CPU busy share in percent times cores; divided by cpu_core_sample_count it is the average weighted by cores. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.cpu_core_sample_count is 'Sum over the same samples of cores; a sample that does not know its cores weighs as one core.';
comment on column rollup.organization_metrics_1hour.cpu_core_count is 'Cores: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.memory_used_bytes is 'Memory used in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.memory_total_bytes is 'Memory in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.disk_used_bytes is 'Disk used in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.disk_total_bytes is 'Disk size in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.network_in_bytes is 'Bytes received, all samples added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.network_out_bytes is 'Bytes sent, all samples added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.organization_id is 'The organization. Servers and organizations below it are those of the instant of each sample.';
comment on column rollup.organization_metrics_1hour.server_count is 'Servers that have samples in the bucket, each counted once.';
comment on column rollup.organization_metrics_1hour.expected_server_count is 'Servers of which samples were expected in the bucket, each counted once.';
comment on column rollup.organization_metrics_1hour.cpu_pct_max is 'Highest CPU busy share of any sample in percent, 0 to 100; null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.cpu_pct_p95 is '95th percentile of CPU busy share over all samples of the scope together, exact, in percent; null when nothing was measured.';
comment on column rollup.organization_metrics_1hour.scope is 'direct: the servers of the organization itself; subtree: those and all below it.';

comment on table rollup.organization_metrics_1day is 'Every organization per UTC day and scope, from raw samples. Partitioned by year; kept for ever by default.';
comment on column rollup.organization_metrics_1day.bucket_start is 'Start of the half-open bucket [start, start + UTC day), UTC.';
comment on column rollup.organization_metrics_1day.sample_count is 'Raw samples of the scope in the bucket.';
comment on column rollup.organization_metrics_1day.expected_count is 'Scheduled instants in the bucket of servers that were active.';
comment on column rollup.organization_metrics_1day.cpu_pct_core_sum is 'Sum over samples of CPU busy share in percent times cores; divided by cpu_core_sample_count it is the average weighted by cores. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.cpu_core_sample_count is 'Sum over the same samples of cores; a sample that does not know its cores weighs as one core.';
comment on column rollup.organization_metrics_1day.cpu_core_count is 'Cores: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.memory_used_bytes is 'Memory used in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.memory_total_bytes is 'Memory in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.disk_used_bytes is 'Disk used in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.disk_total_bytes is 'Disk size in bytes: each server''s mean over its own samples, added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.network_in_bytes is 'Bytes received, all samples added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.network_out_bytes is 'Bytes sent, all samples added up. Null when nothing was measured.';
comment on column rollup.organization_metrics_1day.organization_id is 'The organization. Servers and organizations below it are those of the instant of each sample.';
comment on column rollup.organization_metrics_1day.server_count is 'Servers that have samples in the bucket, each counted once.';
comment on column rollup.organization_metrics_1day.expected_server_count is 'Servers of which samples were expected in the bucket, each counted once.';
comment on column rollup.organization_metrics_1day.cpu_pct_max is 'Highest CPU busy share of any sample in percent, 0 to 100; null when nothing was measured.';
comment on column rollup.organization_metrics_1day.cpu_pct_p95 is '95th percentile of CPU busy share over all samples of the scope together, exact, in percent; null when nothing was measured.';
comment on column rollup.organization_metrics_1day.scope is 'direct: the servers of the organization itself; subtree: those and all below it.';
