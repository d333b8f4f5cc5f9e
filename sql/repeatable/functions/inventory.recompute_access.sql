-- Purpose: inventory.organization_access as the grants and the tree say, of some roles or (null) of all; only what differs is written.
-- Called by the triggers that keep that table, with the owner's rights and under their lock.
create or replace function inventory.recompute_access(p_roles name[])
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    with recursive wanted as (
        select
            g.role_name,
            o.organization_id
        from inventory.access_grant as g
        join inventory.organizations as o on g.organization_id is null or o.organization_id = g.organization_id
        where p_roles is null or g.role_name = any(p_roles)
        union
        select
            w.role_name,
            c.organization_id
        from wanted as w
        join inventory.organizations as c on c.parent_id = w.organization_id
    ),
    gone as (
        delete from inventory.organization_access as a
        where (p_roles is null or a.role_name = any(p_roles))
            and not exists (
                select from wanted as w where w.role_name = a.role_name and w.organization_id = a.organization_id
            )
    )
    insert into inventory.organization_access (role_name, organization_id)
    select
        w.role_name,
        w.organization_id
    from wanted as w
    on conflict do nothing
$$;

comment on function inventory.recompute_access(name[]) is
    'Brings inventory.organization_access of these roles (null: all) to what inventory.access_grant and the tree of organizations say.';

-- The triggers call it with the owner's rights.
revoke all on function inventory.recompute_access(name[]) from public;
