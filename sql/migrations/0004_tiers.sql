-- Purpose: the four tiers; exact statistics per server, organization and bucket, computed from raw samples.
-- Locks: none on existing data; new tables only.
-- Undo: drop table tier.metrics_1min, tier.metrics_5min, tier.metrics_1hour, tier.metrics_1day.

create table tier.metrics_1min (
    bucket_start timestamptz not null,
    server_id integer not null,
    organization_id integer not null,
    sample_count integer not null,
    expected_count integer not null,
    cpu_pct_avg real,
    cpu_pct_min real,
    cpu_pct_max real,
    cpu_pct_p50 real,
    cpu_pct_p95 real,
    cpu_pct_p99 real,
    memory_used_bytes_avg real,
    memory_used_bytes_min real,
    memory_used_bytes_max real,
    memory_used_bytes_p50 real,
    memory_used_bytes_p95 real,
    memory_used_bytes_p99 real,
    disk_used_bytes_avg real,
    disk_used_bytes_min real,
    disk_used_bytes_max real,
    disk_used_bytes_p50 real,
    disk_used_bytes_p95 real,
    disk_used_bytes_p99 real,
    network_in_bytes_per_second_avg real,
    network_in_bytes_per_second_min real,
    network_in_bytes_per_second_max real,
    network_in_bytes_per_second_p50 real,
    network_in_bytes_per_second_p95 real,
    network_in_bytes_per_second_p99 real,
    network_out_bytes_per_second_avg real,
    network_out_bytes_per_second_min real,
    network_out_bytes_per_second_max real,
    network_out_bytes_per_second_p50 real,
    network_out_bytes_per_second_p95 real,
    network_out_bytes_per_second_p99 real,
    primary key (server_id, bucket_start, organization_id)
) partition by range (bucket_start);

create table tier.metrics_5min (
    like tier.metrics_1min including all
) partition by range (bucket_start);

create table tier.metrics_1hour (
    like tier.metrics_1min including all
) partition by range (bucket_start);

create table tier.metrics_1day (
    like tier.metrics_1min including all
) partition by range (bucket_start);

comment on table tier.metrics_1min is 'Statistics per server, organization and minute, exact, from raw samples. Partitioned by day; kept 30 days by default.';
comment on column tier.metrics_1min.bucket_start is 'Start of the half-open bucket [start, start + minute), UTC.';
comment on column tier.metrics_1min.organization_id is 'Organization that owned the server when the samples were taken; a server that moved inside a bucket has two rows.';
comment on column tier.metrics_1min.sample_count is 'Raw samples in the bucket; 0 with null statistics when samples were expected and none came.';
comment on column tier.metrics_1min.expected_count is 'Scheduled instants in the bucket while the server was active.';
comment on column tier.metrics_1min.cpu_pct_avg is 'Mean of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1min.cpu_pct_min is 'Minimum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1min.cpu_pct_max is 'Maximum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1min.cpu_pct_p50 is '50th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1min.cpu_pct_p95 is '95th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1min.cpu_pct_p99 is '99th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1min.memory_used_bytes_avg is 'Mean of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.memory_used_bytes_min is 'Minimum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.memory_used_bytes_max is 'Maximum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.memory_used_bytes_p50 is '50th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.memory_used_bytes_p95 is '95th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.memory_used_bytes_p99 is '99th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.disk_used_bytes_avg is 'Mean of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.disk_used_bytes_min is 'Minimum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.disk_used_bytes_max is 'Maximum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.disk_used_bytes_p50 is '50th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.disk_used_bytes_p95 is '95th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.disk_used_bytes_p99 is '99th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1min.network_in_bytes_per_second_avg is 'Mean of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_in_bytes_per_second_min is 'Minimum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_in_bytes_per_second_max is 'Maximum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_in_bytes_per_second_p50 is '50th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_in_bytes_per_second_p95 is '95th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_in_bytes_per_second_p99 is '99th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_out_bytes_per_second_avg is 'Mean of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_out_bytes_per_second_min is 'Minimum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_out_bytes_per_second_max is 'Maximum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_out_bytes_per_second_p50 is '50th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_out_bytes_per_second_p95 is '95th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1min.network_out_bytes_per_second_p99 is '99th percentile of bytes sent per second; null when nothing was measured.';

comment on table tier.metrics_5min is 'Statistics per server, organization and five minutes, exact, from raw samples. Partitioned by week; kept 90 days by default.';
comment on column tier.metrics_5min.bucket_start is 'Start of the half-open bucket [start, start + five minutes), UTC.';
comment on column tier.metrics_5min.organization_id is 'Organization that owned the server when the samples were taken; a server that moved inside a bucket has two rows.';
comment on column tier.metrics_5min.sample_count is 'Raw samples in the bucket; 0 with null statistics when samples were expected and none came.';
comment on column tier.metrics_5min.expected_count is 'Scheduled instants in the bucket while the server was active.';
comment on column tier.metrics_5min.cpu_pct_avg is 'Mean of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_5min.cpu_pct_min is 'Minimum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_5min.cpu_pct_max is 'Maximum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_5min.cpu_pct_p50 is '50th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_5min.cpu_pct_p95 is '95th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_5min.cpu_pct_p99 is '99th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_5min.memory_used_bytes_avg is 'Mean of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.memory_used_bytes_min is 'Minimum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.memory_used_bytes_max is 'Maximum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.memory_used_bytes_p50 is '50th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.memory_used_bytes_p95 is '95th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.memory_used_bytes_p99 is '99th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.disk_used_bytes_avg is 'Mean of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.disk_used_bytes_min is 'Minimum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.disk_used_bytes_max is 'Maximum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.disk_used_bytes_p50 is '50th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.disk_used_bytes_p95 is '95th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.disk_used_bytes_p99 is '99th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_5min.network_in_bytes_per_second_avg is 'Mean of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_in_bytes_per_second_min is 'Minimum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_in_bytes_per_second_max is 'Maximum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_in_bytes_per_second_p50 is '50th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_in_bytes_per_second_p95 is '95th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_in_bytes_per_second_p99 is '99th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_out_bytes_per_second_avg is 'Mean of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_out_bytes_per_second_min is 'Minimum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_out_bytes_per_second_max is 'Maximum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_out_bytes_per_second_p50 is '50th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_out_bytes_per_second_p95 is '95th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_5min.network_out_bytes_per_second_p99 is '99th percentile of bytes sent per second; null when nothing was measured.';

comment on table tier.metrics_1hour is 'Statistics per server, organization and hour, exact, from raw samples. Partitioned by month; kept 365 days by default.';
comment on column tier.metrics_1hour.bucket_start is 'Start of the half-open bucket [start, start + hour), UTC.';
comment on column tier.metrics_1hour.organization_id is 'Organization that owned the server when the samples were taken; a server that moved inside a bucket has two rows.';
comment on column tier.metrics_1hour.sample_count is 'Raw samples in the bucket; 0 with null statistics when samples were expected and none came.';
comment on column tier.metrics_1hour.expected_count is 'Scheduled instants in the bucket while the server was active.';
comment on column tier.metrics_1hour.cpu_pct_avg is 'Mean of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1hour.cpu_pct_min is 'Minimum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1hour.cpu_pct_max is 'Maximum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1hour.cpu_pct_p50 is '50th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1hour.cpu_pct_p95 is '95th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1hour.cpu_pct_p99 is '99th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1hour.memory_used_bytes_avg is 'Mean of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.memory_used_bytes_min is 'Minimum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.memory_used_bytes_max is 'Maximum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.memory_used_bytes_p50 is '50th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.memory_used_bytes_p95 is '95th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.memory_used_bytes_p99 is '99th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.disk_used_bytes_avg is 'Mean of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.disk_used_bytes_min is 'Minimum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.disk_used_bytes_max is 'Maximum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.disk_used_bytes_p50 is '50th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.disk_used_bytes_p95 is '95th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.disk_used_bytes_p99 is '99th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1hour.network_in_bytes_per_second_avg is 'Mean of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_in_bytes_per_second_min is 'Minimum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_in_bytes_per_second_max is 'Maximum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_in_bytes_per_second_p50 is '50th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_in_bytes_per_second_p95 is '95th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_in_bytes_per_second_p99 is '99th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_out_bytes_per_second_avg is 'Mean of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_out_bytes_per_second_min is 'Minimum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_out_bytes_per_second_max is 'Maximum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_out_bytes_per_second_p50 is '50th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_out_bytes_per_second_p95 is '95th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1hour.network_out_bytes_per_second_p99 is '99th percentile of bytes sent per second; null when nothing was measured.';

comment on table tier.metrics_1day is 'Statistics per server, organization and UTC day, exact, from raw samples. Partitioned by year; kept for ever by default.';
comment on column tier.metrics_1day.bucket_start is 'Start of the half-open bucket [start, start + UTC day), UTC.';
comment on column tier.metrics_1day.organization_id is 'Organization that owned the server when the samples were taken; a server that moved inside a bucket has two rows.';
comment on column tier.metrics_1day.sample_count is 'Raw samples in the bucket; 0 with null statistics when samples were expected and none came.';
comment on column tier.metrics_1day.expected_count is 'Scheduled instants in the bucket while the server was active.';
comment on column tier.metrics_1day.cpu_pct_avg is 'Mean of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1day.cpu_pct_min is 'Minimum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1day.cpu_pct_max is 'Maximum of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1day.cpu_pct_p50 is '50th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1day.cpu_pct_p95 is '95th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1day.cpu_pct_p99 is '99th percentile of CPU busy share in percent, 0 to 100; null when nothing was measured.';
comment on column tier.metrics_1day.memory_used_bytes_avg is 'Mean of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.memory_used_bytes_min is 'Minimum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.memory_used_bytes_max is 'Maximum of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.memory_used_bytes_p50 is '50th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.memory_used_bytes_p95 is '95th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.memory_used_bytes_p99 is '99th percentile of memory used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.disk_used_bytes_avg is 'Mean of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.disk_used_bytes_min is 'Minimum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.disk_used_bytes_max is 'Maximum of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.disk_used_bytes_p50 is '50th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.disk_used_bytes_p95 is '95th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.disk_used_bytes_p99 is '99th percentile of disk used in bytes; null when nothing was measured.';
comment on column tier.metrics_1day.network_in_bytes_per_second_avg is 'Mean of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_in_bytes_per_second_min is 'Minimum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_in_bytes_per_second_max is 'Maximum of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_in_bytes_per_second_p50 is '50th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_in_bytes_per_second_p95 is '95th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_in_bytes_per_second_p99 is '99th percentile of bytes received per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_out_bytes_per_second_avg is 'Mean of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_out_bytes_per_second_min is 'Minimum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_out_bytes_per_second_max is 'Maximum of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_out_bytes_per_second_p50 is '50th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_out_bytes_per_second_p95 is '95th percentile of bytes sent per second; null when nothing was measured.';
comment on column tier.metrics_1day.network_out_bytes_per_second_p99 is '99th percentile of bytes sent per second; null when nothing was measured.';
