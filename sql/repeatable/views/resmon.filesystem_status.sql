-- Purpose: the mounts of every server now: the newest row of each, none older than ten minutes before the last sample.
-- The bounds come from server_status, so that a server costs a look into the partition of one day, at most two.
-- It reads resmon.filesystem_usage's table, not the view, so that the order in which views are applied does not matter.
create or replace view resmon.filesystem_status
with (security_invoker = true)
as
select
    t.server_id,
    s.name as server_name,
    f.organization_id,
    o.name as organization_name,
    f.collected_at,
    f.mount,
    f.device,
    f.type,
    f.total_bytes,
    f.used_bytes,
    f.available_bytes,
    100.0 * f.used_bytes::double precision / nullif(f.used_bytes + f.available_bytes, 0) as used_pct,
    f.inodes_total,
    f.inodes_used,
    100.0 * f.inodes_used::double precision / nullif(f.inodes_total, 0) as inodes_used_pct
from raw.server_status as t
inner join inventory.servers as s on s.server_id = t.server_id and s.state <> 'deleted'
-- A mount that is gone is in none of the newest rows: all of them have one instant.
cross join lateral (
    select max(n.collected_at) as collected_at
    from raw.filesystem_usage as n
    where n.server_id = t.server_id
        and n.collected_at > t.last_metrics_at - greatest(interval '10 minutes', 2 * s.interval_seconds * interval '1 second')
        and n.collected_at <= t.last_metrics_at
) as newest
inner join raw.filesystem_usage as f on f.server_id = t.server_id and f.collected_at = newest.collected_at
left join inventory.organizations as o on o.organization_id = f.organization_id;

comment on view resmon.filesystem_status is 'One row per server and mount: the newest use of every file system, as of the last sample of the server. Null means not measured.
Key: server_id, mount.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.filesystem_status.server_id is 'Identifier of the server.';
comment on column resmon.filesystem_status.server_name is 'Name of the server now.';
comment on column resmon.filesystem_status.organization_id is 'Organization that owned the server when the row was taken.';
comment on column resmon.filesystem_status.organization_name is 'Name of that organization now.';
comment on column resmon.filesystem_status.collected_at is 'Scheduled instant of the server (the collector''s clock).';
comment on column resmon.filesystem_status.mount is 'Mount point.';
comment on column resmon.filesystem_status.device is 'Device as df names it; of ZFS the dataset.';
comment on column resmon.filesystem_status.type is 'Type of the file system as in /proc/mounts, for example ext4.';
comment on column resmon.filesystem_status.total_bytes is 'Size, bytes; null when the mount did not answer in time.';
comment on column resmon.filesystem_status.used_bytes is 'In use, bytes.';
comment on column resmon.filesystem_status.available_bytes is 'Free for an ordinary user, bytes.';
comment on column resmon.filesystem_status.used_pct is 'Used share of what an ordinary user can fill, percent, as the capacity of df: used / (used + available).';
comment on column resmon.filesystem_status.inodes_total is 'Inodes, count; null where the file system has no fixed number of them.';
comment on column resmon.filesystem_status.inodes_used is 'Inodes in use, count.';
comment on column resmon.filesystem_status.inodes_used_pct is 'Used share of the inodes, percent.';
