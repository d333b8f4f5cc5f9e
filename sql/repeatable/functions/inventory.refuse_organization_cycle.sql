-- Purpose: organizations form a tree; an organization may not become a descendant of itself.
-- One change of the tree at a time: two moves that are harmless alone (A below B, B below A) could close a cycle together.
create or replace function inventory.refuse_organization_cycle()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ancestor integer := new.parent_id;
begin
    if new.parent_id is null then
        return new;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('inventory.organizations tree', 0));
    while v_ancestor is not null loop
        if v_ancestor = new.organization_id then
            raise exception 'organization % cannot be placed below %: that one is below it already',
                new.name, (select o.name from inventory.organizations as o where o.organization_id = new.parent_id)
                using errcode = 'check_violation', constraint = 'organizations_no_cycle',
                    schema = 'inventory', table = 'organizations';
        end if;
        v_ancestor := (select o.parent_id from inventory.organizations as o where o.organization_id = v_ancestor);
    end loop;
    return new;
end
$$;

comment on function inventory.refuse_organization_cycle() is
    'Trigger: refuses a parent that lies below the organization itself (constraint name organizations_no_cycle).';

create or replace trigger refuse_cycle
before insert or update of parent_id on inventory.organizations
for each row execute function inventory.refuse_organization_cycle();
