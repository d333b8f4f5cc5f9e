-- Takes a grant away from a role: that of an organization, or with %(is_all)s every one it has. A row per grant.
-- Plan: index range on the role.
delete from inventory.access_grant as g
where g.role_name = %(role_name)s
    and (%(is_all)s or g.organization_id = %(organization_id)s)
returning g.organization_id;
