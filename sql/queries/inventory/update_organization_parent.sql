-- Moves an organization below another, or to the root with a null parent.
-- Plan: primary key.
update inventory.organizations
set
    parent_id = %(parent_id)s,
    changed_at = %(now)s
where organization_id = %(organization_id)s;
