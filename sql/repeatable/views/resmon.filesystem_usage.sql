-- Purpose: use of every mounted file system over time, with names and shares.
-- Left joins on unique keys: a query that asks for no name does not pay for it.
create or replace view resmon.filesystem_usage
with (security_invoker = true)
as
select
    f.server_id,
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
from raw.filesystem_usage as f
left join inventory.servers as s on s.server_id = f.server_id
left join inventory.organizations as o on o.organization_id = f.organization_id;

comment on view resmon.filesystem_usage is 'One row per server, mount and five minutes; one mount per device; null means not measured. Always filter on collected_at; the newest rows are in resmon.filesystem_status. Kept 30 days by default.
Key: server_id, mount, collected_at.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.filesystem_usage.server_id is 'Identifier of the server.';
comment on column resmon.filesystem_usage.server_name is 'Name of the server now.';
comment on column resmon.filesystem_usage.organization_id is 'Organization that owned the server when the row was taken.';
comment on column resmon.filesystem_usage.organization_name is 'Name of that organization now.';
comment on column resmon.filesystem_usage.collected_at is 'Scheduled instant of the server (the collector''s clock).';
comment on column resmon.filesystem_usage.mount is 'Mount point.';
comment on column resmon.filesystem_usage.device is 'Device as df names it; of ZFS the dataset.';
comment on column resmon.filesystem_usage.type is 'Type of the file system as in /proc/mounts, for example ext4.';
comment on column resmon.filesystem_usage.total_bytes is 'Size, bytes; null when the mount did not answer in time.';
comment on column resmon.filesystem_usage.used_bytes is 'In use, bytes.';
comment on column resmon.filesystem_usage.available_bytes is 'Free for an ordinary user, bytes.';
comment on column resmon.filesystem_usage.used_pct is 'Used share of what an ordinary user can fill, percent, as the capacity of df: used / (used + available).';
comment on column resmon.filesystem_usage.inodes_total is 'Inodes, count; null where the file system has no fixed number of them.';
comment on column resmon.filesystem_usage.inodes_used is 'Inodes in use, count.';
comment on column resmon.filesystem_usage.inodes_used_pct is 'Used share of the inodes, percent.';
