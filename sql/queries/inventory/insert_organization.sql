-- Adds an organization; returns its id, and no row when the name is taken.
-- Plan: one index probe on the unique name.
insert into inventory.organizations (name, parent_id, created_at)
values (%(name)s, %(parent_id)s, %(now)s)
on conflict (name) do nothing
returning organization_id;
