-- Purpose: what the policies of row-level security ask where a row's organization exists: whether the asking role reads all there are.
-- As inventory.sees_everything: with the caller's rights, planned once per session. Plan: as inventory.reach.
create or replace function inventory.sees_every_organization()
returns boolean
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select r.sees_every_organization from inventory.reach as r);
end
$$;

comment on function inventory.sees_every_organization() is
    'Whether current_user reads every organization there is.';
