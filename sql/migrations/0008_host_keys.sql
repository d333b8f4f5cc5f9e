-- Purpose: host keys pinned to servers: at first use, or by `resmon server trust`; with their history.
-- Locks: share row exclusive on inventory.servers for a moment (foreign key); a new table only.
-- Undo: drop trigger drop_host_key on inventory.servers; drop function inventory.drop_host_key(); drop table inventory.host_keys.

create table inventory.host_keys (
    host_key_id integer generated always as identity primary key,
    server_id integer not null references inventory.servers,
    key_type text not null check (key_type <> ''),
    key text not null check (key <> ''),
    fingerprint text not null check (fingerprint like 'SHA256:%'),
    pinned_at timestamptz not null,
    pinned_by text not null check (pinned_by in ('first use', 'resmon server trust')),
    account text not null,
    dropped_at timestamptz
);
-- One pin per server: of two collectors that see a server for the first time, one wins.
create unique index host_keys_current on inventory.host_keys (server_id) where dropped_at is null;
comment on table inventory.host_keys is 'The host key that each server must show, where one is pinned; what was believed earlier stays with the time it was dropped.';
comment on column inventory.host_keys.key_type is 'As in known_hosts, for example ssh-ed25519.';
comment on column inventory.host_keys.key is 'Public key, base64 as in known_hosts.';
comment on column inventory.host_keys.fingerprint is 'SHA256 fingerprint as ssh-keygen -l prints it.';
comment on column inventory.host_keys.pinned_at is 'When it was pinned.';
comment on column inventory.host_keys.pinned_by is 'first use: accepted unseen, RESMON_HOST_KEYS=first-use; resmon server trust: a person compared it.';
comment on column inventory.host_keys.account is 'Account of the operating system under which that ran.';
comment on column inventory.host_keys.dropped_at is 'When another key took its place, or its server moved or was removed; null means that it is in force.';
