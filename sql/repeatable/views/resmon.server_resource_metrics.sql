-- Purpose: raw samples with names and with the rates that follow from them.
-- Left joins on unique keys: a query that asks for no name does not pay for it.
create or replace view resmon.server_resource_metrics
with (security_invoker = true)
as
select
    m.server_id,
    s.name as server_name,
    m.organization_id,
    o.name as organization_name,
    m.collected_at,
    m.cpu_pct,
    m.cpu_count,
    m.memory_used_bytes,
    m.memory_total_bytes,
    100.0 * m.memory_used_bytes::double precision / nullif(m.memory_total_bytes, 0) as memory_used_pct,
    m.disk_used_bytes,
    m.disk_total_bytes,
    100.0 * m.disk_used_bytes::double precision / nullif(m.disk_total_bytes, 0) as disk_used_pct,
    m.network_in_bytes,
    m.network_out_bytes,
    1000.0::double precision * m.network_in_bytes / nullif(m.elapsed_ms, 0) as network_in_bytes_per_second,
    1000.0::double precision * m.network_out_bytes / nullif(m.elapsed_ms, 0) as network_out_bytes_per_second,
    m.elapsed_ms,
    m.load_1m,
    m.load_5m,
    m.load_15m,
    m.uptime_seconds,
    m.clock_skew_seconds,
    m.commit_sequence
from raw.server_resource_metrics as m
left join inventory.servers as s on s.server_id = m.server_id
left join inventory.organizations as o on o.organization_id = m.organization_id;

comment on view resmon.server_resource_metrics is 'One row per server and scheduled instant, as collected; null means not measured. Always filter on collected_at. Kept 7 days by default.
Key: server_id, collected_at.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.server_resource_metrics.server_id is 'Identifier of the server.';
comment on column resmon.server_resource_metrics.server_name is 'Name of the server now.';
comment on column resmon.server_resource_metrics.organization_id is 'Organization that owned the server when the sample was taken.';
comment on column resmon.server_resource_metrics.organization_name is 'Name of that organization now.';
comment on column resmon.server_resource_metrics.collected_at is 'Scheduled instant of the sample (the collector''s clock).';
comment on column resmon.server_resource_metrics.cpu_pct is 'CPU busy share of all cores since the previous reading, percent, 0 to 100.';
comment on column resmon.server_resource_metrics.cpu_count is 'Cores online.';
comment on column resmon.server_resource_metrics.memory_used_bytes is 'MemTotal - MemAvailable, bytes.';
comment on column resmon.server_resource_metrics.memory_total_bytes is 'Memory installed, bytes.';
comment on column resmon.server_resource_metrics.memory_used_pct is 'Memory used, percent, 0 to 100.';
comment on column resmon.server_resource_metrics.disk_used_bytes is 'Disk used over all real local file systems, bytes.';
comment on column resmon.server_resource_metrics.disk_total_bytes is 'Size of the same file systems, bytes.';
comment on column resmon.server_resource_metrics.disk_used_pct is 'Disk used, percent, 0 to 100.';
comment on column resmon.server_resource_metrics.network_in_bytes is 'Received since the previous reading (elapsed_ms ago), bytes.';
comment on column resmon.server_resource_metrics.network_out_bytes is 'Sent since the previous reading (elapsed_ms ago), bytes.';
comment on column resmon.server_resource_metrics.network_in_bytes_per_second is 'Received, bytes per second; null without a previous reading.';
comment on column resmon.server_resource_metrics.network_out_bytes_per_second is 'Sent, bytes per second; null without a previous reading.';
comment on column resmon.server_resource_metrics.elapsed_ms is 'Milliseconds between the previous reading and this one; null without one of the same boot.';
comment on column resmon.server_resource_metrics.load_1m is 'Load average over one minute.';
comment on column resmon.server_resource_metrics.load_5m is 'Load average over five minutes.';
comment on column resmon.server_resource_metrics.load_15m is 'Load average over fifteen minutes.';
comment on column resmon.server_resource_metrics.uptime_seconds is 'Seconds since boot.';
comment on column resmon.server_resource_metrics.clock_skew_seconds is 'Clock of the server minus clock of the collector, seconds.';
comment on column resmon.server_resource_metrics.commit_sequence is 'Number of the commit that stored the row; grows in the order of commits, whatever collected_at is (docs/live.md). Null for rows from before it was counted.';
