-- Lets a role read an organization with all below it (null: everything); no row when it may already.
-- Plan: one index probe on the unique key.
insert into inventory.access_grant (role_name, organization_id, granted_at)
values (%(role_name)s, %(organization_id)s, %(now)s)
on conflict (role_name, organization_id) do nothing
returning access_grant_id;
