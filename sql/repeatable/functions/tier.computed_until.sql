-- Purpose: up to where a table was computed. It runs with the owner's rights, because readers have none in schema ops; it
-- tells one time and nothing of any organization.
-- Plan: primary key of ops.window_state backwards, one row.
create or replace function tier.computed_until(p_table text)
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.complete_until
    from ops.window_state as w
    where w.asset = p_table
    order by w.window_start desc
    limit 1
$$;

comment on function tier.computed_until(text) is
    'End of the newest closed bucket that p_table (schema.table) was computed for; null when it never was.';
