-- Purpose: latest state and values of every server that is not deleted; a row each, also before the first attempt.
create or replace view resmon.server_status
with (security_invoker = true)
as
select
    s.server_id,
    s.name as server_name,
    s.organization_id,
    o.name as organization_name,
    s.tags,
    s.state,
    s.interval_seconds,
    t.status,
    t.cause,
    t.cause_detail,
    t.consecutive_failures,
    t.last_attempt_at,
    t.last_metrics_at,
    t.cpu_pct,
    t.cpu_count,
    t.memory_used_bytes,
    t.memory_total_bytes,
    100.0 * t.memory_used_bytes::double precision / nullif(t.memory_total_bytes, 0) as memory_used_pct,
    t.disk_used_bytes,
    t.disk_total_bytes,
    100.0 * t.disk_used_bytes::double precision / nullif(t.disk_total_bytes, 0) as disk_used_pct,
    t.network_in_bytes_per_second,
    t.network_out_bytes_per_second,
    t.load_1m,
    t.load_5m,
    t.load_15m,
    t.uptime_seconds,
    t.clock_skew_seconds,
    t.commit_sequence
from inventory.servers as s
join inventory.organizations as o on o.organization_id = s.organization_id
left join raw.server_status as t on t.server_id = s.server_id
where s.state <> 'deleted';

comment on view resmon.server_status is 'One row per server that is not deleted: latest state and values. Values are null before the first sample.
Key: server_id.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.server_status.server_id is 'Identifier of the server.';
comment on column resmon.server_status.server_name is 'Name of the server; unique among those that are not deleted.';
comment on column resmon.server_status.organization_id is 'Organization that owns the server now.';
comment on column resmon.server_status.organization_name is 'Name of that organization.';
comment on column resmon.server_status.tags is 'Tags of the server.';
comment on column resmon.server_status.state is 'Whether it is collected: active, paused or offline.';
comment on column resmon.server_status.interval_seconds is 'Seconds between two scheduled samples.';
comment on column resmon.server_status.status is 'critical: CPU, memory or disk >= 90 %; warning: CPU or memory >= 75 % or disk >= 85 %; error: collection failed; healthy; null: it never answered, and its retries are not used up.';
comment on column resmon.server_status.cause is 'Why collection fails: unreachable, refused, timeout, auth_failed, host_key_changed, host_key_unknown, no_shell, unreadable, unsupported; null when it works.';
comment on column resmon.server_status.cause_detail is 'One sentence for a person about the failure.';
comment on column resmon.server_status.consecutive_failures is 'Scheduled instants in a row without a sample.';
comment on column resmon.server_status.last_attempt_at is 'Scheduled instant of the last attempt.';
comment on column resmon.server_status.last_metrics_at is 'Scheduled instant of the last stored sample; the values below are of it.';
comment on column resmon.server_status.cpu_pct is 'CPU busy share of all cores, percent, 0 to 100.';
comment on column resmon.server_status.cpu_count is 'Cores online.';
comment on column resmon.server_status.memory_used_bytes is 'Memory used, bytes.';
comment on column resmon.server_status.memory_total_bytes is 'Memory installed, bytes.';
comment on column resmon.server_status.memory_used_pct is 'Memory used, percent, 0 to 100.';
comment on column resmon.server_status.disk_used_bytes is 'Disk used over all real local file systems, bytes.';
comment on column resmon.server_status.disk_total_bytes is 'Size of the same file systems, bytes.';
comment on column resmon.server_status.disk_used_pct is 'Disk used, percent, 0 to 100.';
comment on column resmon.server_status.network_in_bytes_per_second is 'Received over physical interfaces, bytes per second.';
comment on column resmon.server_status.network_out_bytes_per_second is 'Sent over physical interfaces, bytes per second.';
comment on column resmon.server_status.load_1m is 'Load average over one minute.';
comment on column resmon.server_status.load_5m is 'Load average over five minutes.';
comment on column resmon.server_status.load_15m is 'Load average over fifteen minutes.';
comment on column resmon.server_status.uptime_seconds is 'Seconds since boot.';
comment on column resmon.server_status.clock_skew_seconds is 'Clock of the server minus clock of the collector, seconds.';
comment on column resmon.server_status.commit_sequence is 'Number of the last commit that wrote status or values, with a sample or with a failure (docs/live.md).';
