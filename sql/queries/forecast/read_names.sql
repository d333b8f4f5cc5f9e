-- Names of organizations (server_id 0) and of servers, by what forecasts are keyed by. Plan: scans of two small tables.
select
    o.organization_id,
    0 as server_id,
    o.name
from inventory.organizations as o
union all
select
    s.organization_id,
    s.server_id,
    s.name
from inventory.servers as s
