-- Purpose: raw samples, partitioned by UTC day; the latest state of each server; coverage by stretches.
-- Locks: none on existing data; new tables only.
-- Undo: drop table raw.server_resource_metrics, raw.server_status, raw.collection_coverage.

create table raw.server_resource_metrics (
    collected_at timestamptz not null,
    memory_used_bytes bigint,
    memory_total_bytes bigint,
    disk_used_bytes bigint,
    disk_total_bytes bigint,
    network_in_bytes bigint,
    network_out_bytes bigint,
    server_id integer not null,
    organization_id integer not null,
    elapsed_ms integer,
    uptime_seconds integer,
    cpu_pct real,
    load_1m real,
    load_5m real,
    load_15m real,
    clock_skew_seconds real,
    cpu_count smallint,
    primary key (server_id, collected_at)
) partition by range (collected_at);
-- A tier reads an hour of all servers. PostgreSQL 18 skip-scans the primary key; 15 to 17 need this to not read the day.
create index server_resource_metrics_time on raw.server_resource_metrics using brin (collected_at);
comment on table raw.server_resource_metrics is 'One row per server and scheduled instant. Null means not measured, never zero. Kept 7 days by default.';
comment on column raw.server_resource_metrics.collected_at is 'The scheduled instant of the server (collector''s clock), not the moment of arrival.';
comment on column raw.server_resource_metrics.memory_used_bytes is 'MemTotal - MemAvailable, in bytes.';
comment on column raw.server_resource_metrics.memory_total_bytes is 'Bytes.';
comment on column raw.server_resource_metrics.disk_used_bytes is 'Used bytes over all real local file systems, one per device.';
comment on column raw.server_resource_metrics.disk_total_bytes is 'Size in bytes over the same file systems.';
comment on column raw.server_resource_metrics.network_in_bytes is 'Bytes received since the previous reading (elapsed_ms ago) over physical interfaces.';
comment on column raw.server_resource_metrics.network_out_bytes is 'Bytes sent since the previous reading (elapsed_ms ago) over physical interfaces.';
comment on column raw.server_resource_metrics.elapsed_ms is 'Milliseconds between the previous reading and this one; null when there was no previous one of the same boot.';
comment on column raw.server_resource_metrics.uptime_seconds is 'Seconds since boot.';
comment on column raw.server_resource_metrics.cpu_pct is 'CPU busy share of all cores since the previous reading, 0 to 100; idle includes iowait.';
comment on column raw.server_resource_metrics.clock_skew_seconds is 'Clock of the server minus clock of the collector, seconds.';
comment on column raw.server_resource_metrics.cpu_count is 'Cores online.';

create table raw.server_status (
    server_id integer primary key references inventory.servers,
    status text not null check (status in ('healthy', 'warning', 'critical', 'error')),
    cause text,
    cause_detail text,
    consecutive_failures integer not null default 0,
    last_attempt_at timestamptz not null,
    last_metrics_at timestamptz,
    cpu_pct real,
    cpu_count smallint,
    memory_used_bytes bigint,
    memory_total_bytes bigint,
    disk_used_bytes bigint,
    disk_total_bytes bigint,
    network_in_bytes_per_second real,
    network_out_bytes_per_second real,
    load_1m real,
    load_5m real,
    load_15m real,
    uptime_seconds integer,
    clock_skew_seconds real
) with (fillfactor = 70);
comment on table raw.server_status is 'Latest values and state per server, written with each sample. Values stay those of last_metrics_at while the server fails.';
comment on column raw.server_status.status is 'critical: CPU, memory or disk >= 90 %; warning: CPU or memory >= 75 % or disk >= 85 %; error: collection failed; else healthy.';
comment on column raw.server_status.cause is 'Why collection failed: unreachable, refused, timeout, auth_failed, host_key_changed, host_key_unknown, no_shell, unreadable, unsupported; null when it did not.';
comment on column raw.server_status.cause_detail is 'One sentence for a person: what was tried, what happened, what to do.';
comment on column raw.server_status.last_attempt_at is 'Scheduled instant of the last attempt, with or without success.';
comment on column raw.server_status.last_metrics_at is 'Scheduled instant of the last stored sample.';

create table raw.collection_coverage (
    server_id integer not null references inventory.servers,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    cause text not null,
    instant_count integer not null,
    primary key (server_id, started_at),
    check (ended_at >= started_at)
) with (fillfactor = 70);
create index collection_coverage_time on raw.collection_coverage (ended_at, started_at);
comment on table raw.collection_coverage is 'One row per server and stretch of consecutive scheduled instants with the same cause (ok, or why there is no sample).';
comment on column raw.collection_coverage.started_at is 'First scheduled instant of the stretch.';
comment on column raw.collection_coverage.ended_at is 'Last scheduled instant of the stretch (inclusive).';
comment on column raw.collection_coverage.cause is 'ok, or the cause of the failure as in raw.server_status, or collector_down.';
