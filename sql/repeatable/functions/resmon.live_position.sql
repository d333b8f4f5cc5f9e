-- Purpose: where a live consumer begins. It runs with the owner's rights, because readers have none in schema ops; it
-- tells one number and nothing of any organization.
create or replace function resmon.live_position()
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select value from ops.commit_counter
$$;

comment on function resmon.live_position() is
    'Number of the newest commit; 0 before the first. Whoever sees it sees every row with that commit_sequence or a lower one. Ask it before samples_after, never after.';

-- grants/ says who may call it.
revoke all on function resmon.live_position() from public;
