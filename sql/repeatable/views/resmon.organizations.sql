-- Purpose: the tree of organizations, for those who know a name and need its id.
create or replace view resmon.organizations
with (security_invoker = true)
as
select
    o.organization_id,
    o.name as organization_name,
    o.parent_id
from inventory.organizations as o;

comment on view resmon.organizations is 'One row per organization. resmon.organization_subtree(id) gives those below one.
Key: organization_id.
References: parent_id to organizations.';
comment on column resmon.organizations.organization_id is 'Identifier of the organization.';
comment on column resmon.organizations.organization_name is 'Its name, unique.';
comment on column resmon.organizations.parent_id is 'The organization above it; null for a root.';
