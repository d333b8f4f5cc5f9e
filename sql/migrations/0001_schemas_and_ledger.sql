-- Purpose: the schemas (one per stage, plus inventory, ops and resmon), the migration ledger, the window ledgers.
-- Locks: none on existing data; runs on an empty database in milliseconds.
-- Undo: drop schema ops, inventory, raw, tier, resmon cascade.

create schema if not exists ops;
create schema inventory;
create schema raw;
create schema tier;
create schema resmon;

comment on schema ops is 'Ledgers of the platform itself: migrations, window revisions, live collectors.';
comment on schema inventory is 'Organizations, servers, and who was to be collected when.';
comment on schema raw is 'Samples as collected, and the latest state of each server.';
comment on schema tier is 'Exact statistics per server and time bucket, computed from raw.';
comment on schema resmon is 'What consumers read: views and functions only. The physical tables may change behind them.';

create table if not exists ops.schema_migrations (
    number integer primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now(),
    applied_by text not null default current_user
);
comment on table ops.schema_migrations is 'One row per applied migration; the checksum proves that an applied file was not changed later.';

create table ops.schema_repeatables (
    path text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now()
);
comment on table ops.schema_repeatables is 'Checksum of each repeatable file (functions, views, grants) as last applied.';

create table ops.raw_hour (
    hour timestamptz not null,
    shard smallint not null,
    revision bigint not null,
    primary key (hour, shard)
) with (fillfactor = 70);
comment on table ops.raw_hour is 'Revision of each UTC hour of raw per shard, incremented in the transaction that writes rows of that hour.';
comment on column ops.raw_hour.hour is 'Start of the UTC hour.';
comment on column ops.raw_hour.revision is 'Grows with every write; the revision of an hour is the sum over its shards.';

create table ops.window_state (
    asset text not null,
    window_start timestamptz not null,
    revision bigint not null,
    computed_at timestamptz not null,
    complete_until timestamptz not null,
    is_red boolean not null default false,
    row_count integer not null,
    sample_count bigint not null,
    primary key (asset, window_start)
) with (fillfactor = 70);
comment on table ops.window_state is 'What each computed window was computed from. Stale means: revision below the current one of raw, or complete_until before the last closed bucket.';
comment on column ops.window_state.asset is 'Asset key as schema.table, for example tier.metrics_1min.';
comment on column ops.window_state.revision is 'Sum of ops.raw_hour.revision over the hours of the window, read in the snapshot that the rows were computed from.';
comment on column ops.window_state.complete_until is 'End of the last closed bucket that was written; the end of the window once it is over.';
comment on column ops.window_state.is_red is 'A blocking check failed on this window; assets downstream refuse it.';
comment on column ops.window_state.sample_count is 'Raw rows that the window was computed from.';

create table ops.collector (
    shard smallint not null,
    hour timestamptz not null,
    run_id text not null,
    host text not null,
    pid integer not null,
    backend_pid integer not null,
    started_at timestamptz not null,
    heartbeat_at timestamptz not null,
    lease_renewed_at timestamptz not null,
    fleet_open_at timestamptz,
    is_stop_requested boolean not null default false,
    stop_requested_at timestamptz,
    ended_at timestamptz,
    end_reason text,
    primary key (shard, hour)
) with (fillfactor = 50);
comment on table ops.collector is 'One row per collector run of a shard and hour. Alive = its session advisory lock is held and heartbeat_at is younger than 30 s.';
comment on column ops.collector.hour is 'UTC hour (partition) that the run collects.';
comment on column ops.collector.backend_pid is 'Postgres backend that holds the advisory lock; the sensor ends it when a run hangs.';
comment on column ops.collector.lease_renewed_at is 'Renewed by the supervising sensor; a collector whose lease is 10 minutes old ends.';
comment on column ops.collector.fleet_open_at is 'When every server was opened or had failed once; the run before hands over from then on.';
