-- Purpose: servers that keep no session open are remembered, so that each collector need not find it out again.
-- Locks: share row exclusive on inventory.servers for a moment (foreign key); a new table only.
-- Undo: drop table ops.server_channel.

create table ops.server_channel (
    server_id integer primary key references inventory.servers,
    mode text not null check (mode = 'exec'),
    reason text not null,
    since timestamptz not null
);
comment on table ops.server_channel is 'How a server is read, where that is not by a session that is kept open; no row means that it is, or was not tried yet.';
comment on column ops.server_channel.mode is 'exec: a session per tick, on the same connection.';
comment on column ops.server_channel.reason is 'What happened to the session that was to be kept open, for a person.';
comment on column ops.server_channel.since is 'When that was last found; after a day it is tried again.';
