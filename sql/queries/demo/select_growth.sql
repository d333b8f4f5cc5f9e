-- File systems that grow, by server. Plan: small tables.
select
    g.server_id,
    s.name,
    g.mount,
    g.kind,
    g.reaches_85_on,
    g.reaches_90_on,
    g.reaches_100_on
from demo.growth as g
inner join inventory.servers as s on s.server_id = g.server_id
order by s.name, g.mount
