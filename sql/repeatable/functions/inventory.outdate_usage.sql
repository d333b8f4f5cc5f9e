-- Purpose: a limit that begins in the past changes what was judged since. The usage windows that end after it began are
-- marked as computed from nothing (revision -1), so that the catch-up computes them again; raw is not touched.
-- A computation holds SHARE on inventory.quotas from before its snapshot to after its commit: it has seen this change, or
-- its window is found here.
create or replace function inventory.outdate_usage()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_since timestamptz := case when tg_op = 'DELETE' then old.valid_from else new.valid_from end;
begin
    update ops.window_state as w
    set revision = -1
    where w.asset = 'rollup.organization_resource_usage'
        and w.window_start > v_since - interval '1 hour';
    return null;
end
$$;

comment on function inventory.outdate_usage() is
    'Trigger: marks the usage windows that end after a changed limit began as stale.';

create or replace trigger outdate_usage
after insert or update or delete on inventory.quotas
for each row execute function inventory.outdate_usage();
