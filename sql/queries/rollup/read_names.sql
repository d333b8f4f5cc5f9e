-- Names of organizations. Plan: scan of a small table.
select
    o.organization_id,
    o.name
from inventory.organizations as o
