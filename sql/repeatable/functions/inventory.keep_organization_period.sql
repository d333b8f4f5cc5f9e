-- Purpose: inventory.organization_period follows inventory.organizations: who lay below whom, and when.
-- The first period of an organization has no beginning. A move opens a period at changed_at and closes the open one
-- there; a second move at the same time, or one whose clock went back, replaces the open period from its own start:
-- periods never overlap and are never empty. The hour of the move, and those after it that have samples already, are
-- counted as written, because what lies below whom changes in them.
create or replace function inventory.keep_organization_period()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_from timestamptz;
begin
    if tg_op = 'INSERT' then
        insert into inventory.organization_period (organization_id, parent_id, valid_from)
        values (new.organization_id, new.parent_id, '-infinity');
        return null;
    end if;
    if new.parent_id is not distinct from old.parent_id then
        return null;
    end if;
    if new.changed_at is null then
        raise exception 'organization % cannot be moved without saying when: set changed_at, too', new.name
            using errcode = 'not_null_violation', column = 'changed_at',
                schema = 'inventory', table = 'organizations';
    end if;

    v_from := greatest(new.changed_at, (
        select p.valid_from
        from inventory.organization_period as p
        where p.organization_id = new.organization_id and p.valid_to = 'infinity'
    ));

    update inventory.organization_period as p
    set valid_to = v_from
    where p.organization_id = new.organization_id
        and p.valid_to = 'infinity'
        and p.valid_from < v_from;

    insert into inventory.organization_period (organization_id, parent_id, valid_from)
    values (new.organization_id, new.parent_id, v_from)
    on conflict (organization_id, valid_from) do update
        set parent_id = excluded.parent_id;

    perform ops.bump_raw_hour(touched.hour, 0)
    from (
        select date_trunc('hour', v_from, 'UTC') as hour
        union
        select h.hour
        from ops.raw_hour as h
        where h.hour > v_from
        order by 1
    ) as touched;
    return null;
end
$$;

comment on function inventory.keep_organization_period() is
    'Trigger: keeps inventory.organization_period, and bumps the raw revision of the hours that a move touches.';

create or replace trigger keep_period
after insert or update of parent_id on inventory.organizations
for each row execute function inventory.keep_organization_period();
