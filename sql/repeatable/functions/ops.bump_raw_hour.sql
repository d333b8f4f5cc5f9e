-- Purpose: one more write to a UTC hour of raw; call it in the transaction that writes the rows.
-- Returns the shard's new revision. The hour's revision is the sum over its shards, so any bump makes its windows stale.
-- p_slots are the five-minute slots of the hour (0 to 11) that the write touches; without them it is the whole hour.
create or replace function ops.bump_raw_hour(p_hour timestamptz, p_shard integer, p_slots integer[])
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into ops.raw_hour as h (hour, shard, revision, slot_revisions)
    values (
        date_trunc('hour', p_hour, 'UTC'),
        p_shard::smallint,
        1,
        array(select (s.slot = any(p_slots))::integer::bigint from generate_series(0, 11) as s (slot) order by s.slot)
    )
    on conflict (hour, shard) do update
        set revision = h.revision + 1,
            slot_revisions = array(
                select s.old + s.added
                from unnest(h.slot_revisions, excluded.slot_revisions) with ordinality as s (old, added, slot)
                order by s.slot
            )
    returning h.revision
$$;

comment on function ops.bump_raw_hour(timestamptz, integer, integer[]) is
    'Counts one more write to some five-minute slots (0 to 11) of the UTC hour that holds p_hour; returns the revision of that hour and shard.';

create or replace function ops.bump_raw_hour(p_hour timestamptz, p_shard integer)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
    select ops.bump_raw_hour(p_hour, p_shard, array[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
$$;

comment on function ops.bump_raw_hour(timestamptz, integer) is
    'Counts one more write to all of the UTC hour that holds p_hour; returns the revision of that hour and shard.';
