-- Purpose: use of every mounted file system, every five minutes, partitioned by UTC day.
-- Locks: none on existing data; a new table only.
-- Undo: drop table raw.filesystem_usage.

create table raw.filesystem_usage (
    collected_at timestamptz not null,
    total_bytes bigint,
    used_bytes bigint,
    available_bytes bigint,
    inodes_total bigint,
    inodes_used bigint,
    server_id integer not null,
    organization_id integer not null,
    mount text not null,
    device text not null,
    type text,
    primary key (server_id, mount, collected_at)
) partition by range (collected_at);
-- A read of all servers within some minutes: the primary key begins with the server.
create index filesystem_usage_time on raw.filesystem_usage using brin (collected_at);
comment on table raw.filesystem_usage is 'One row per server, mount and five minutes; one mount per device, local file systems and /. Null means not measured, never zero. Kept 30 days by default.';
comment on column raw.filesystem_usage.collected_at is 'The scheduled instant of the server (collector''s clock): that of the sample taken with it, as a rule the first in its five minutes.';
comment on column raw.filesystem_usage.total_bytes is 'Size in bytes; null when the mount did not answer in time. Of a ZFS dataset: its use and what its pool has left.';
comment on column raw.filesystem_usage.used_bytes is 'Bytes in use.';
comment on column raw.filesystem_usage.available_bytes is 'Bytes free for an ordinary user; less than total - used where blocks are reserved for root.';
comment on column raw.filesystem_usage.inodes_total is 'Inodes (files, count); null where the file system has no fixed number of them (btrfs) or the df of the server cannot count them.';
comment on column raw.filesystem_usage.inodes_used is 'Inodes in use (count).';
comment on column raw.filesystem_usage.server_id is 'Server.';
comment on column raw.filesystem_usage.organization_id is 'Organization that owned the server at collected_at.';
comment on column raw.filesystem_usage.mount is 'Mount point.';
comment on column raw.filesystem_usage.device is 'Device as df names it; of ZFS the dataset.';
comment on column raw.filesystem_usage.type is 'Type of the file system as in /proc/mounts, for example ext4.';
