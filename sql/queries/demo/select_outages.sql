-- Stretches in which servers of the demo fleet were not measured; an instant stands for its interval. Plan: primary key.
select
    c.server_id,
    c.started_at,
    c.ended_at + make_interval(secs => s.interval_seconds) as ended_at
from raw.collection_coverage as c
inner join demo.servers as d on d.server_id = c.server_id
inner join inventory.servers as s on s.server_id = c.server_id
where c.cause <> 'ok'
order by c.started_at
