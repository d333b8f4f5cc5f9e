-- Servers that were to be collected just before %(end)s, and whose they were. Plan: server_period by its time index.
select
    p.server_id,
    p.organization_id
from inventory.server_period as p
where p.state = 'active'
    and p.valid_from < %(end)s
    and p.valid_to >= %(end)s
