-- Purpose: inventory.server_period follows inventory.servers: who was to be collected when, for whom, how often.
-- A change of state, organization or interval opens a period at changed_at and closes the open one there. A second
-- change at the same time, or one whose clock went back, replaces the open period from its own start: periods
-- never overlap and are never empty. The hour is counted as written from there on, because expected counts change.
create or replace function inventory.keep_server_period()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_open_from timestamptz;
    v_from timestamptz := new.changed_at;
begin
    if tg_op = 'UPDATE'
        and new.state = old.state
        and new.organization_id = old.organization_id
        and new.interval_seconds = old.interval_seconds
    then
        return null;
    end if;

    v_open_from := (
        select p.valid_from
        from inventory.server_period as p
        where p.server_id = new.server_id and p.valid_to = 'infinity'
    );
    v_from := greatest(v_from, v_open_from);

    update inventory.server_period as p
    set valid_to = v_from
    where p.server_id = new.server_id
        and p.valid_to = 'infinity'
        and p.valid_from < v_from;

    insert into inventory.server_period (server_id, organization_id, state, interval_seconds, valid_from)
    values (new.server_id, new.organization_id, new.state, new.interval_seconds, v_from)
    on conflict (server_id, valid_from) do update
        set organization_id = excluded.organization_id,
            state = excluded.state,
            interval_seconds = excluded.interval_seconds;

    perform ops.bump_raw_hour(
        v_from,
        0,
        array(
            select s.slot
            from generate_series(extract(minute from v_from at time zone 'UTC')::integer / 5, 11) as s (slot)
        )
    );
    return null;
end
$$;

comment on function inventory.keep_server_period() is
    'Trigger: keeps inventory.server_period, and bumps the raw revision of the hour in which a period begins, from there on.';

create or replace trigger keep_period
after insert or update on inventory.servers
for each row execute function inventory.keep_server_period();
