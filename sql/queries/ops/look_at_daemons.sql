-- On Dagster's database: the oldest of the newest heartbeats of these daemons; null when one has none.
-- The instant of the body, because the column has no zone. Plan: one pass over a table of a few rows.
select case when count(*) = cardinality(%(daemons)s::text[]) then min(h.newest) end
from (
    select max(to_timestamp((body::jsonb ->> 'timestamp')::double precision)) as newest
    from daemon_heartbeats
    where daemon_type = any(%(daemons)s)
    group by daemon_type
) as h;
