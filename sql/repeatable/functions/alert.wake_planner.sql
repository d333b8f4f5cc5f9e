-- Purpose: who is told is decided again when a route, a silence or a maintenance window was changed.
create or replace function alert.wake_planner()
returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    update alert.planner set next_at = to_timestamp(0), change_count = change_count + 1;
    return null;
end
$$;

comment on function alert.wake_planner() is
    'Trigger: who is told of which alerts is decided at once, because routes, silences or maintenance windows have changed.';

create or replace trigger wake_planner
after insert or update or delete on alert.routes
for each statement execute function alert.wake_planner();

create or replace trigger wake_planner
after insert or update or delete on alert.silences
for each statement execute function alert.wake_planner();

create or replace trigger wake_planner
after insert or update or delete on inventory.maintenance_window
for each statement execute function alert.wake_planner();
