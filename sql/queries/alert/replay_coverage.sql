-- Stretches of coverage that touch [%(start)s, %(end)s): 0 where there were samples, 1 where reading failed as the rule says.
-- Nothing is known while no collector ran. Plan: index on (ended_at, started_at); by primary key when the servers are few.
select
    c.server_id as subject,
    c.started_at,
    c.ended_at,
    c.instant_count,
    case
        when c.cause = 'ok' then 0.0
        when c.cause = 'host_key_changed' then case when %(rule)s::text = 'host_key_changed' then 1.0 end
        when %(rule)s::text = 'unreachable' then 1.0
    end::double precision as value
from raw.collection_coverage as c
where c.ended_at >= %(start)s
    and c.started_at < %(end)s
    and c.cause <> 'collector_down'
    and c.server_id between %(first)s and %(last)s
    and (%(server_ids)s::integer[] is null or c.server_id = any(%(server_ids)s::integer[]))
