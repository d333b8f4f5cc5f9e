-- Purpose: inventory.organization_access follows the tree: a new organization is read by whoever reads the one above it, and a
-- move changes who reads what lies below. A removed one goes by its foreign key.
-- With the owner's rights, as inventory.keep_access_of_grants, and under the same lock.
create or replace function inventory.keep_access_of_organizations()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('inventory.organizations tree', 0));
    if tg_op = 'UPDATE' then
        perform inventory.recompute_access(null);
        return null;
    end if;

    -- An organization and those below it may come in one statement, in any order.
    insert into inventory.organization_access (role_name, organization_id)
    with recursive added as (
        select
            a.role_name,
            n.organization_id
        from new_organizations as n
        join inventory.organization_access as a on a.organization_id = n.parent_id
        union
        select
            g.role_name,
            n.organization_id
        from new_organizations as n
        cross join inventory.access_grant as g
        where g.organization_id is null
        union
        select
            d.role_name,
            c.organization_id
        from added as d
        join inventory.organizations as c on c.parent_id = d.organization_id
    )
    select
        d.role_name,
        d.organization_id
    from added as d
    on conflict do nothing;
    return null;
end
$$;

comment on function inventory.keep_access_of_organizations() is
    'Trigger: keeps inventory.organization_access when organizations are added or moved.';

-- It runs with the rights of the tables' owner; as a trigger it needs no right to be called.
revoke all on function inventory.keep_access_of_organizations() from public;

create or replace trigger keep_access_of_added
after insert on inventory.organizations
referencing new table as new_organizations
for each statement execute function inventory.keep_access_of_organizations();

create or replace trigger keep_access_of_moved
after update of parent_id on inventory.organizations
for each statement execute function inventory.keep_access_of_organizations();
