-- Removes an organization that nothing refers to; the condition is repeated here so that a racing add wins.
-- Plan: primary key, three index or small scans.
delete from inventory.organizations as o
where o.organization_id = %(organization_id)s
    and not exists (select 1 from inventory.organizations as c where c.parent_id = o.organization_id)
    and not exists (select 1 from inventory.servers as s where s.organization_id = o.organization_id)
    and not exists (select 1 from inventory.server_period as p where p.organization_id = o.organization_id)
returning o.organization_id;
