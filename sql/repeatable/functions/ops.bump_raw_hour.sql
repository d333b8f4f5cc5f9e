-- Purpose: one more write to a UTC hour of raw; call it in the transaction that writes the rows.
-- Returns the shard's new revision. The hour's revision is the sum over its shards, so any bump makes its windows stale.
create or replace function ops.bump_raw_hour(p_hour timestamptz, p_shard integer)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into ops.raw_hour as h (hour, shard, revision)
    values (date_trunc('hour', p_hour, 'UTC'), p_shard::smallint, 1)
    on conflict (hour, shard) do update
        set revision = h.revision + 1
    returning h.revision
$$;

comment on function ops.bump_raw_hour(timestamptz, integer) is
    'Counts one more write to the UTC hour that holds p_hour; returns the revision of that hour and shard.';
