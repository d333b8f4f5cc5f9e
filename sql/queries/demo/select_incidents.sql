-- Planted incidents by time. Plan: small tables.
select
    i.server_id,
    s.name as server,
    i.kind,
    i.metric,
    i.started_at,
    i.ended_at
from demo.incidents as i
inner join inventory.servers as s on s.server_id = i.server_id
order by i.started_at, s.name
