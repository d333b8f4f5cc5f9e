-- Purpose: inventory.organization_access follows inventory.access_grant: what is granted, with all below it.
-- With the owner's rights: whoever may grant may not write the result by hand.
-- The lock is that of the tree (inventory.refuse_organization_cycle): a grant and a move at the same time would each miss
-- the other. Statements after it see what the other has committed.
create or replace function inventory.keep_access_of_grants()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_roles name[];
begin
    perform pg_advisory_xact_lock(hashtextextended('inventory.organizations tree', 0));
    v_roles := case tg_op
        when 'INSERT' then array[new.role_name]
        when 'DELETE' then array[old.role_name]
        else array[old.role_name, new.role_name]
    end;
    perform inventory.recompute_access(v_roles);
    return null;
end
$$;

comment on function inventory.keep_access_of_grants() is
    'Trigger: keeps inventory.organization_access of the role whose grant was made, changed or taken away.';

-- It runs with the rights of the tables' owner; as a trigger it needs no right to be called.
revoke all on function inventory.keep_access_of_grants() from public;

create or replace trigger keep_access
after insert or update or delete on inventory.access_grant
for each row execute function inventory.keep_access_of_grants();
