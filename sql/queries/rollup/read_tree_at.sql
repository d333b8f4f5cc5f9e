-- The tree just before %(until)s: organizations that existed, each with the one above it.
-- Plan: scans of two small tables.
select
    o.organization_id,
    p.parent_id
from inventory.organizations as o
left join inventory.organization_period as p
    on p.organization_id = o.organization_id
    and p.valid_from < %(until)s
    and p.valid_to >= %(until)s
where o.created_at < %(until)s
