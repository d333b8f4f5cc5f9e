-- Purpose: what the policies of row-level security ask (row_level_security.sql): whether the asking role reads everything.
-- With the caller's rights: the grants have a policy of their own and show a role its own. plpgsql, because it keeps its plan for
-- the session in every version of PostgreSQL; a subquery in the policy was planned for each table of each query.
-- Plan: index of inventory.access_grant, the row of the role.
create or replace function inventory.sees_everything()
returns boolean
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select
        from inventory.access_grant as g
        where g.role_name = current_user
            and g.organization_id is null
    );
end
$$;

comment on function inventory.sees_everything() is
    'Whether current_user was granted everything.';
