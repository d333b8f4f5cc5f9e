-- Planted drifts by server. Plan: small tables.
select
    d.server_id,
    s.name as server,
    d.metric,
    d.kind,
    d.started_at
from demo.drifts as d
inner join inventory.servers as s on s.server_id = d.server_id
order by s.name
