-- Purpose: use of every file system by UTC day, kept for ever: what forecasts and histories read when raw has gone.
-- Locks: none on existing data; a new table only.
-- Undo: drop table tier.filesystem_1day.

create table tier.filesystem_1day (
    bucket_start timestamptz not null,
    used_bytes_avg double precision,
    used_bytes_min bigint,
    used_bytes_max bigint,
    used_bytes_last bigint,
    available_bytes_min bigint,
    available_bytes_last bigint,
    total_bytes_last bigint,
    inodes_used_avg double precision,
    inodes_used_min bigint,
    inodes_used_max bigint,
    inodes_used_last bigint,
    inodes_total_last bigint,
    server_id integer not null,
    organization_id integer not null,
    sample_count integer not null,
    measured_count integer not null,
    mount text not null,
    device text not null,
    type text,
    primary key (server_id, mount, organization_id, bucket_start)
) partition by range (bucket_start);
-- A day of all servers: the primary key begins with the server.
create index filesystem_1day_time on tier.filesystem_1day using brin (bucket_start) with (autosummarize = on);

comment on table tier.filesystem_1day is 'Use of each mount of each server by UTC day, exact, from raw.filesystem_usage. Partitioned by year; kept for ever by default.';
comment on column tier.filesystem_1day.bucket_start is 'Start of the UTC day.';
comment on column tier.filesystem_1day.used_bytes_avg is 'Mean of the bytes in use over the measured rows; null when the mount never answered.';
comment on column tier.filesystem_1day.used_bytes_min is 'Fewest bytes in use.';
comment on column tier.filesystem_1day.used_bytes_max is 'Most bytes in use.';
comment on column tier.filesystem_1day.used_bytes_last is 'Bytes in use in the last measured row of the day.';
comment on column tier.filesystem_1day.available_bytes_min is 'Fewest bytes free for an ordinary user.';
comment on column tier.filesystem_1day.available_bytes_last is 'Bytes free for an ordinary user in the last measured row.';
comment on column tier.filesystem_1day.total_bytes_last is 'Size in bytes in the last measured row.';
comment on column tier.filesystem_1day.inodes_used_avg is 'Mean of the inodes in use (count); null where they are not counted.';
comment on column tier.filesystem_1day.inodes_used_min is 'Fewest inodes in use (count).';
comment on column tier.filesystem_1day.inodes_used_max is 'Most inodes in use (count).';
comment on column tier.filesystem_1day.inodes_used_last is 'Inodes in use (count) in the last measured row.';
comment on column tier.filesystem_1day.inodes_total_last is 'Inodes (count) in the last measured row.';
comment on column tier.filesystem_1day.server_id is 'Server.';
comment on column tier.filesystem_1day.organization_id is 'Organization that owned the server when the rows were taken; a server that moved within the day has two rows.';
comment on column tier.filesystem_1day.sample_count is 'Rows of raw (count).';
comment on column tier.filesystem_1day.measured_count is 'Of these, rows in which the mount answered (count).';
comment on column tier.filesystem_1day.mount is 'Mount point.';
comment on column tier.filesystem_1day.device is 'Device of the last row of the day.';
comment on column tier.filesystem_1day.type is 'Type of the file system in the last row of the day.';
