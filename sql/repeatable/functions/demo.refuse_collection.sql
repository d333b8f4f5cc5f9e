-- Purpose: a server of the demo fleet does not exist; nobody may connect to it. It stays paused until it is removed.
create or replace function demo.refuse_collection()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.state = 'active' and exists (select from demo.servers as d where d.server_id = new.server_id) then
        raise exception '% is a server of the demo fleet, which is never collected; remove the fleet with: resmon demo remove', new.name
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;

comment on function demo.refuse_collection() is
    'Trigger: a server of the demo fleet can not be made active.';

create or replace trigger refuse_collection
before update of state on inventory.servers
for each row execute function demo.refuse_collection();
