-- Servers of the demo fleet by name. Plan: two small tables.
select
    s.name,
    s.server_id,
    s.organization_id,
    d.role
from demo.servers as d
inner join inventory.servers as s on s.server_id = d.server_id
order by s.name
