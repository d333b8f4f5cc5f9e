-- Purpose: use of every file system by day, with names and shares.
-- Left joins on unique keys: a query that asks for no name does not pay for it.
create or replace view resmon.filesystem_usage_1day
with (security_invoker = true)
as
select
    f.server_id,
    s.name as server_name,
    f.organization_id,
    o.name as organization_name,
    f.bucket_start,
    f.mount,
    f.device,
    f.type,
    f.sample_count,
    f.measured_count,
    f.total_bytes_last,
    f.used_bytes_avg,
    f.used_bytes_min,
    f.used_bytes_max,
    f.used_bytes_last,
    f.available_bytes_min,
    f.available_bytes_last,
    100.0 * f.used_bytes_last::double precision / nullif(f.used_bytes_last + f.available_bytes_last, 0) as used_pct_last,
    f.inodes_total_last,
    f.inodes_used_avg,
    f.inodes_used_min,
    f.inodes_used_max,
    f.inodes_used_last,
    100.0 * f.inodes_used_last::double precision / nullif(f.inodes_total_last, 0) as inodes_used_pct_last
from tier.filesystem_1day as f
left join inventory.servers as s on s.server_id = f.server_id
left join inventory.organizations as o on o.organization_id = f.organization_id;

comment on view resmon.filesystem_usage_1day is 'One row per server, mount and UTC day, once the day is over; exact, from the rows of every five minutes. Kept for ever by default.
Key: bucket_start, server_id, mount, organization_id.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.filesystem_usage_1day.server_id is 'Identifier of the server.';
comment on column resmon.filesystem_usage_1day.server_name is 'Name of the server now.';
comment on column resmon.filesystem_usage_1day.organization_id is 'Organization that owned the server; two rows when it moved within the day.';
comment on column resmon.filesystem_usage_1day.organization_name is 'Name of that organization now.';
comment on column resmon.filesystem_usage_1day.bucket_start is 'Start of the UTC day.';
comment on column resmon.filesystem_usage_1day.mount is 'Mount point.';
comment on column resmon.filesystem_usage_1day.device is 'Device of the last row of the day.';
comment on column resmon.filesystem_usage_1day.type is 'Type of the file system in the last row of the day.';
comment on column resmon.filesystem_usage_1day.sample_count is 'Rows of the day, count; 288 when the server was collected all day.';
comment on column resmon.filesystem_usage_1day.measured_count is 'Of these, rows in which the mount answered, count.';
comment on column resmon.filesystem_usage_1day.total_bytes_last is 'Size at the end of the day, bytes.';
comment on column resmon.filesystem_usage_1day.used_bytes_avg is 'Mean use, bytes; null when the mount never answered.';
comment on column resmon.filesystem_usage_1day.used_bytes_min is 'Lowest use, bytes.';
comment on column resmon.filesystem_usage_1day.used_bytes_max is 'Highest use, bytes.';
comment on column resmon.filesystem_usage_1day.used_bytes_last is 'Use at the end of the day, bytes.';
comment on column resmon.filesystem_usage_1day.available_bytes_min is 'Least free for an ordinary user, bytes.';
comment on column resmon.filesystem_usage_1day.available_bytes_last is 'Free for an ordinary user at the end of the day, bytes.';
comment on column resmon.filesystem_usage_1day.used_pct_last is 'Used share at the end of the day of what an ordinary user can fill, percent: used / (used + available).';
comment on column resmon.filesystem_usage_1day.inodes_total_last is 'Inodes at the end of the day, count; null where the file system has no fixed number of them.';
comment on column resmon.filesystem_usage_1day.inodes_used_avg is 'Mean of the inodes in use, count.';
comment on column resmon.filesystem_usage_1day.inodes_used_min is 'Fewest inodes in use, count.';
comment on column resmon.filesystem_usage_1day.inodes_used_max is 'Most inodes in use, count.';
comment on column resmon.filesystem_usage_1day.inodes_used_last is 'Inodes in use at the end of the day, count.';
comment on column resmon.filesystem_usage_1day.inodes_used_pct_last is 'Used share of the inodes at the end of the day, percent.';
