-- The newest stretch of each server that reaches %(since)s, carried on to the last stored sample: a collector
-- stores the growth of a stretch every five minutes, but its samples every second.
-- Plan: range scan of collection_coverage_time, a sort of what it found, primary key probes.
with newest as (
    select distinct on (server_id)
        server_id,
        started_at,
        ended_at,
        cause,
        instant_count
    from raw.collection_coverage
    where ended_at >= %(since)s
    order by server_id, started_at desc
),
carried as (
    select
        newest.server_id,
        newest.started_at,
        newest.ended_at,
        newest.cause,
        newest.instant_count,
        servers.interval_seconds,
        case when newest.cause = 'ok' then greatest(status.last_metrics_at, newest.ended_at) end as last_at
    from newest
    join inventory.servers as servers using (server_id)
    left join raw.server_status as status using (server_id)
)
select
    server_id,
    started_at,
    coalesce(last_at, ended_at) as ended_at,
    cause,
    instant_count
    + coalesce(round(extract(epoch from last_at - ended_at) / interval_seconds), 0)::integer as instant_count
from carried
