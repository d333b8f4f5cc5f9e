-- Purpose: the newest values of servers and how old they are: the overview of a fleet.
-- With the caller's rights. Plan: servers, organizations and server_status once each, joined by hash; no partitioned table.
create or replace function resmon.latest(
    p_server_ids integer[] default null,
    p_organization_id integer default null,
    p_now timestamptz default now()
)
returns table (
    server_id integer,
    server_name text,
    organization_id integer,
    organization_name text,
    state text,
    status text,
    cause text,
    last_attempt_at timestamptz,
    last_metrics_at timestamptz,
    age_seconds double precision,
    cpu_pct double precision,
    cpu_count integer,
    memory_used_bytes bigint,
    memory_total_bytes bigint,
    memory_used_pct double precision,
    disk_used_bytes bigint,
    disk_total_bytes bigint,
    disk_used_pct double precision,
    network_in_bytes_per_second double precision,
    network_out_bytes_per_second double precision,
    load_1m double precision,
    load_5m double precision,
    load_15m double precision,
    uptime_seconds integer
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query execute $query$
        select
            t.server_id,
            t.server_name,
            t.organization_id,
            t.organization_name,
            t.state,
            t.status,
            t.cause,
            t.last_attempt_at,
            t.last_metrics_at,
            extract(epoch from $3 - t.last_metrics_at)::double precision,
            t.cpu_pct::double precision,
            t.cpu_count::integer,
            t.memory_used_bytes,
            t.memory_total_bytes,
            t.memory_used_pct,
            t.disk_used_bytes,
            t.disk_total_bytes,
            t.disk_used_pct,
            t.network_in_bytes_per_second::double precision,
            t.network_out_bytes_per_second::double precision,
            t.load_1m::double precision,
            t.load_5m::double precision,
            t.load_15m::double precision,
            t.uptime_seconds
        from resmon.server_status as t
        where ($1 is null or t.server_id = any($1))
            and ($2 is null or t.organization_id in (select b.id from resmon.organization_subtree($2) as b (id)))
    $query$ using p_server_ids, p_organization_id, p_now;
end
$$;

comment on function resmon.latest(integer[], integer, timestamptz) is
'Newest values of every server that is not deleted, and their age; one row per server, also before its first sample. Values stay those of last_metrics_at while a server fails. Rows come in no order.
p_server_ids: servers; null: all.
p_organization_id: only servers of this organization and of those below it; null: all.
p_now: instant from which the age is counted.
organization_id: organization that owns the server now.
organization_name: its name.
state: active, paused or offline.
status: healthy, warning, critical or error; null: never answered.
cause: why collection fails; null when it does not.
last_attempt_at: scheduled instant of the last attempt; null: none.
last_metrics_at: scheduled instant of the values; null: none.
age_seconds: from last_metrics_at to p_now, seconds; null without values.
cpu_pct: CPU busy share of all cores, percent.
cpu_count: cores (count).
memory_used_bytes: bytes.
memory_total_bytes: bytes.
memory_used_pct: share of memory in use, percent.
disk_used_bytes: bytes over all real local file systems.
disk_total_bytes: bytes.
disk_used_pct: share of disk in use, percent.
network_in_bytes_per_second: bytes received per second.
network_out_bytes_per_second: bytes sent per second.
load_1m: runnable tasks over one minute.
load_5m: over five minutes.
load_15m: over fifteen minutes.
uptime_seconds: seconds since boot.';
