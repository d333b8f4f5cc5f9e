-- Purpose: from when on retention has left a table whole. It runs with the owner's rights, because readers have none in
-- schema ops; it tells one time and nothing of any organization.
-- Plan: primary key of ops.pruned_partition backwards, one row.
create or replace function tier.kept_since(p_table text)
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.partition_end
    from ops.pruned_partition as p
    where p.table_name = p_table
    order by p.partition_start desc
    limit 1
$$;

comment on function tier.kept_since(text) is
    'End of the newest partition of p_table (schema.table) that retention dropped; null when it never dropped one.';
