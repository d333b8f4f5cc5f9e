-- Purpose: the demo fleet: which servers and organizations are not real, how far their history is made, and what was planted in it.
-- Locks: share row exclusive on inventory.organizations and inventory.servers for a moment (foreign keys); new tables only.
-- Undo: `resmon demo remove`, then drop schema demo cascade.

create schema demo;
comment on schema demo is 'The demo fleet: what of the inventory is not real, and the truth that its history was made from.';

create table demo.fleet (
    fleet_id smallint primary key check (fleet_id = 1),
    seed integer not null check (seed >= 0),
    server_count integer not null check (server_count >= 1),
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    made_until timestamptz not null,
    judged_until timestamptz,
    is_being_removed boolean not null default false,
    created_at timestamptz not null,
    finished_at timestamptz,
    check (starts_at < ends_at),
    check (made_until between starts_at and ends_at)
);
comment on table demo.fleet is 'The demo fleet, one row or none.';
comment on column demo.fleet.fleet_id is 'Always 1: there is one demo fleet at most.';
comment on column demo.fleet.seed is 'All of its values follow from this number and the other columns of the row.';
comment on column demo.fleet.server_count is 'Servers (count).';
comment on column demo.fleet.starts_at is 'Start of its history, a UTC midnight.';
comment on column demo.fleet.ends_at is 'End of its history, a UTC midnight, not part of it.';
comment on column demo.fleet.made_until is 'The history is stored up to here, day by day.';
comment on column demo.fleet.judged_until is 'Anomaly reports and forecasts were made up to here; null: not yet.';
comment on column demo.fleet.is_being_removed is 'Its removal began: it can only be gone on with.';
comment on column demo.fleet.created_at is 'When it was asked for.';
comment on column demo.fleet.finished_at is 'When history, reports and forecasts were complete; null: not yet.';

create table demo.organizations (
    organization_id integer primary key references inventory.organizations on delete cascade
);
comment on table demo.organizations is 'Organizations of the demo fleet.';
comment on column demo.organizations.organization_id is 'Organization.';

create table demo.servers (
    server_id integer primary key references inventory.servers on delete cascade,
    role text not null
);
comment on table demo.servers is 'Servers of the demo fleet. They are paused and can not be made active: nobody connects to them.';
comment on column demo.servers.server_id is 'Server.';
comment on column demo.servers.role is 'What it is used for: web, database, batch, cache, worker, idle.';

create table demo.incidents (
    incident_id integer generated always as identity primary key,
    server_id integer not null references demo.servers on delete cascade,
    metric text not null,
    kind text not null check (kind in ('cpu_runaway', 'traffic_drop', 'disk_burst', 'slowdown', 'host_down')),
    started_at timestamptz not null,
    ended_at timestamptz not null,
    check (started_at < ended_at)
);
comment on table demo.incidents is 'Incidents that were planted, as they really were.';
comment on column demo.incidents.incident_id is 'Identifier.';
comment on column demo.incidents.server_id is 'Server.';
comment on column demo.incidents.metric is 'The metric that shows it best; * for several together or for no samples at all.';
comment on column demo.incidents.kind is 'cpu_runaway, traffic_drop, disk_burst, slowdown (CPU, memory and network together) or host_down (no samples).';
comment on column demo.incidents.started_at is 'First instant.';
comment on column demo.incidents.ended_at is 'First instant after it.';

create table demo.growth (
    server_id integer not null references demo.servers on delete cascade,
    mount text not null,
    kind text not null check (kind in ('fills', 'slow', 'sawtooth', 'stalled')),
    total_bytes bigint not null,
    bytes_per_day double precision not null,
    reaches_85_on date,
    reaches_90_on date,
    reaches_100_on date,
    primary key (server_id, mount)
);
comment on table demo.growth is 'File systems that grow, and when each limit is reached if it goes on as it did.';
comment on column demo.growth.server_id is 'Server.';
comment on column demo.growth.mount is 'Mount point.';
comment on column demo.growth.kind is 'fills: full within a month after the history; slow: later; sawtooth: logs that are removed every week on top; stalled: it grew and does not any more.';
comment on column demo.growth.total_bytes is 'Size in bytes.';
comment on column demo.growth.bytes_per_day is 'Growth in bytes per day at the end of the history.';
comment on column demo.growth.reaches_85_on is 'First UTC day in the mean of which 85 % are in use; null: never.';
comment on column demo.growth.reaches_90_on is 'First UTC day in the mean of which 90 % are in use; null: never.';
comment on column demo.growth.reaches_100_on is 'First UTC day that would need 100 % in the mean; null: never.';

create table demo.drifts (
    server_id integer not null references demo.servers on delete cascade,
    metric text not null,
    kind text not null check (kind in ('memory_leak', 'cpu_creep')),
    started_at timestamptz not null,
    change_per_day double precision not null,
    primary key (server_id, metric)
);
comment on table demo.drifts is 'Slow degradations that were planted; they go on at the end of the history.';
comment on column demo.drifts.server_id is 'Server.';
comment on column demo.drifts.metric is 'memory_used_bytes or cpu_pct.';
comment on column demo.drifts.kind is 'memory_leak or cpu_creep.';
comment on column demo.drifts.started_at is 'When it began.';
comment on column demo.drifts.change_per_day is 'Rise per day, in bytes or in percent points.';

create table demo.pruned_days (
    day date primary key
);
comment on table demo.pruned_days is 'UTC days that are marked in ops.raw_day as dropped from raw for no other reason than that raw samples of the demo fleet were not kept.';
comment on column demo.pruned_days.day is 'The UTC day.';

create table demo.added_windows (
    asset text not null,
    window_start timestamptz not null,
    primary key (asset, window_start)
);
comment on table demo.added_windows is 'Windows that ops.window_state knows by the demo fleet: nothing real had been computed of them when it came.';
comment on column demo.added_windows.asset is 'Asset key as schema.table.';
comment on column demo.added_windows.window_start is 'Start of the window, UTC.';

create table demo.added_hours (
    hour timestamptz primary key
);
comment on table demo.added_hours is 'Hours that ops.raw_hour knows by the demo fleet: nothing real had been written to them when it came.';
comment on column demo.added_hours.hour is 'Start of the UTC hour.';
