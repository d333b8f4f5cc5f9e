-- Purpose: organizations (a tree), servers, and server_period: who was to be collected when, for whom.
-- Locks: none on existing data; new tables only.
-- Undo: drop schema inventory cascade; create schema inventory.

create table inventory.organizations (
    organization_id integer generated always as identity primary key,
    name text not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    parent_id integer references inventory.organizations,
    created_at timestamptz not null,
    check (parent_id <> organization_id)
);
create index organizations_parent on inventory.organizations (parent_id);
comment on table inventory.organizations is 'The tree of organizations; a cycle is refused by trigger.';

create table inventory.servers (
    server_id integer generated always as identity primary key,
    organization_id integer not null references inventory.organizations,
    name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'),
    transport text not null check (transport in ('ssh', 'local')),
    host text not null check (host <> ''),
    port integer not null default 22 check (port between 1 and 65535),
    user_name text,
    identity_file text,
    tags text[] not null default '{}',
    state text not null default 'active' check (state in ('active', 'paused', 'offline', 'deleted')),
    interval_seconds smallint not null default 30 check (interval_seconds between 5 and 3600),
    created_at timestamptz not null,
    changed_at timestamptz not null
);
create unique index servers_name on inventory.servers (name) where state <> 'deleted';
create index servers_organization on inventory.servers (organization_id);
comment on table inventory.servers is 'Every server ever known; a removed one keeps its row with the state deleted, because its history stays.';
comment on column inventory.servers.user_name is 'SSH user; null means the user Resmon runs as.';
comment on column inventory.servers.identity_file is 'Path of a private key on the collecting machine; null means the agent and the usual files. Never a key itself.';
comment on column inventory.servers.interval_seconds is 'Seconds between two scheduled instants.';
comment on column inventory.servers.changed_at is 'Set by the writer on each change; the period that the change opens starts here.';

create table inventory.server_period (
    server_id integer not null references inventory.servers,
    organization_id integer not null references inventory.organizations,
    state text not null,
    interval_seconds smallint not null,
    valid_from timestamptz not null,
    valid_to timestamptz not null default 'infinity',
    primary key (server_id, valid_from),
    check (valid_from < valid_to)
);
create index server_period_time on inventory.server_period (valid_to, valid_from);
comment on table inventory.server_period is 'Half-open stretches [valid_from, valid_to) of equal state, organization and interval of a server; expected counts come from here. Kept by trigger on inventory.servers.';
