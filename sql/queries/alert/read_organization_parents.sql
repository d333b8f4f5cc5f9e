-- Each organization and the one above it. Plan: one pass over organizations; hundreds of rows.
select
    o.organization_id,
    o.parent_id
from inventory.organizations as o;
