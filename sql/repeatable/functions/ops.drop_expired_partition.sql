-- Purpose: drop the partition of p_table that begins at p_start, if nothing speaks against it; one per transaction.
-- Locks: ACCESS EXCLUSIVE on the parent and the partition, in the order of readers (parent first), waited for 2 s at
-- most each; whoever comes meanwhile waits behind it no longer than that. Under them nobody writes to the table, so that
-- what ops.partition_blockers says then still holds when the partition goes.
-- Not DETACH CONCURRENTLY: it cannot be in one transaction with the condition.
create or replace function ops.drop_expired_partition(
    p_table text,
    p_start timestamptz,
    p_as_of timestamptz,
    p_now timestamptz,
    p_is_archived boolean,
    p_downstream jsonb,
    p_row_count bigint
)
returns table (
    reason text,
    detail text,
    freed_bytes bigint
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
    v_parent regclass := to_regclass(p_table);
    v_partition regclass;
    v_end timestamptz;
    v_bytes bigint;
begin
    -- It runs with the rights of the tables' owner: only what the policy names.
    if v_parent is null or not exists (select from ops.retention_policy as p where p.table_name = p_table) then
        raise exception 'ops.drop_expired_partition: % is no table of the retention policy', quote_literal(p_table)
            using errcode = 'invalid_parameter_value';
    end if;
    execute format('lock table only %s in access exclusive mode', v_parent);
    select o.partition_name, o.partition_end
    into v_partition, v_end
    from ops.partitions_of(v_parent) as o
    where o.partition_start = p_start;
    if not found then
        return query select 'gone', 'dropped meanwhile', 0::bigint;
        return;
    end if;
    execute format('lock table %s in access exclusive mode', v_partition);

    return query
    select
        b.reason,
        b.detail,
        0::bigint
    from ops.partition_blockers(p_table, p_start, v_end, p_as_of, p_now, p_is_archived, p_downstream) as b;
    if found then
        return;
    end if;

    v_bytes := pg_total_relation_size(v_partition);
    execute format('drop table %s', v_partition);
    insert into ops.pruned_partition (table_name, partition_start, pruned_at, partition_end, row_count, freed_bytes)
    values (p_table, p_start, p_now, v_end, p_row_count, v_bytes);
    return query select 'dropped', null::text, v_bytes;
end
$$;

comment on function ops.drop_expired_partition(text, timestamptz, timestamptz, timestamptz, boolean, jsonb, bigint) is
    'Drops one partition that is older than the policy and covered, and logs it: one row "dropped"; otherwise the reasons against it, and nothing is changed.';

-- It runs with the rights of the tables' owner; grants/ says who may call it.
revoke all on function ops.drop_expired_partition(text, timestamptz, timestamptz, timestamptz, boolean, jsonb, bigint) from public;
