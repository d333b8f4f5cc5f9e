-- Purpose: what the policies of row-level security ask: the organizations that the asking role reads. As
-- inventory.sees_everything: with the caller's rights, planned once per session.
-- Plan: primary key of inventory.organization_access, the rows of the role.
create or replace function inventory.seen_organizations()
returns integer[]
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select a.organization_id
        from inventory.organization_access as a
        where a.role_name = current_user
    );
end
$$;

comment on function inventory.seen_organizations() is
    'Ids of the organizations that current_user was granted, with all below them; empty: none.';
