-- Organizations that a role reads, by its grants and the tree of today. Plan: index range on the role.
select a.organization_id
from inventory.organization_access as a
where a.role_name = %(role_name)s;
