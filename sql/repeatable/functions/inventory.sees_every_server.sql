-- Purpose: what the policies of row-level security ask where a row belongs to a server: whether the asking role reads all of them.
-- As inventory.sees_everything: with the caller's rights, planned once per session. Plan: as inventory.reach.
create or replace function inventory.sees_every_server()
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

comment on function inventory.sees_every_server() is
    'Whether current_user reads every organization there is, and so every server.';
