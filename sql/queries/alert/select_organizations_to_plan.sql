-- All organizations.
-- Plan: scan of a small table.
select organization_id, name, parent_id
from inventory.organizations
