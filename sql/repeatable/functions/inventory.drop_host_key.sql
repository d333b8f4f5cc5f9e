-- Purpose: a pinned host key belongs to one machine. A server that gets another host or port, or is removed, loses
-- its pin, whoever writes the change. Another way to the same host (jump hosts) keeps it: a key that differs is then refused.
create or replace function inventory.drop_host_key()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.state = 'deleted' or new.host <> old.host or new.port <> old.port then
        update inventory.host_keys as k
        set dropped_at = greatest(new.changed_at, k.pinned_at)
        where k.server_id = new.server_id and k.dropped_at is null;
    end if;
    return null;
end
$$;

comment on function inventory.drop_host_key() is
    'Trigger: drops the pinned host key of a server that moves to another host or port, or is removed.';

create or replace trigger drop_host_key
after update on inventory.servers
for each row execute function inventory.drop_host_key();
