-- Purpose: make the range partitions of p_parent that touch [p_from, p_to); returns how many were made.
-- Locks: each is created apart, gets a CHECK (so that ATTACH need not scan), and is attached, which takes only
-- SHARE UPDATE EXCLUSIVE on the parent: readers and writers go on. Nothing is locked when all partitions exist.
-- Bounds are UTC whatever the session's zone; weeks start on Monday. Names are <table>_<start as yyyymmdd>.
-- Call it in a READ COMMITTED transaction of its own: its lock (one caller per parent) is held until the transaction ends.
create or replace function ops.ensure_partitions(
    p_parent regclass,
    p_width text,
    p_from timestamptz,
    p_to timestamptz
)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    v_schema text;
    v_table text;
    v_column text;
    v_step interval;
    v_start timestamptz;
    v_end timestamptz;
    v_name text;
    v_namespace oid;
    v_partition oid;
    v_check text;
    v_is_locked boolean := false;
    v_made integer := 0;
begin
    if p_width not in ('day', 'week', 'month', 'year') then
        raise exception 'ops.ensure_partitions: width %, want day, week, month or year', quote_literal(p_width)
            using errcode = 'invalid_parameter_value';
    end if;
    if p_from is null or p_to is null or not isfinite(p_from) or not isfinite(p_to) then
        raise exception 'ops.ensure_partitions: the range [%, %) of % is not finite', p_from, p_to, p_parent
            using errcode = 'invalid_parameter_value';
    end if;

    select n.oid, n.nspname, c.relname, a.attname
    into v_namespace, v_schema, v_table, v_column
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_partitioned_table as p on p.partrelid = c.oid and p.partstrat = 'r' and p.partnatts = 1
    join pg_attribute as a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
    where c.oid = p_parent;
    if not found then
        raise exception 'ops.ensure_partitions: % is not partitioned by range on one column', p_parent
            using errcode = 'wrong_object_type';
    end if;

    v_step := ('1 ' || p_width)::interval;
    v_start := date_trunc(p_width, p_from);
    while v_start < p_to loop
        v_end := v_start + v_step;
        v_name := v_table || '_' || to_char(v_start, 'YYYYMMDD');

        -- Asked of the catalog by query: to_regclass may answer from this session's cache, which does not learn of
        -- another session's partition by waiting for an advisory lock.
        v_partition := (
            select c.oid from pg_class as c where c.relnamespace = v_namespace and c.relname = v_name
        );
        if v_partition is null and not v_is_locked then
            perform pg_advisory_xact_lock(
                hashtextextended('ops.ensure_partitions ' || v_schema || '.' || v_table, 0)
            );
            v_is_locked := true;
            v_partition := (
                select c.oid from pg_class as c where c.relnamespace = v_namespace and c.relname = v_name
            );
        end if;

        if v_partition is null then
            v_check := format('%I >= %L and %I < %L', v_column, v_start, v_column, v_end);
            execute format(
                'create table %I.%I (like %I.%I including all excluding comments)',
                v_schema, v_name, v_schema, v_table
            );
            execute format(
                'alter table %I.%I add constraint partition_range check (%s)', v_schema, v_name, v_check
            );
            execute format(
                'alter table %I.%I attach partition %I.%I for values from (%L) to (%L)',
                v_schema, v_table, v_schema, v_name, v_start, v_end
            );
            -- Attached, the bound holds by itself; a CHECK would be evaluated for every row that is written.
            execute format('alter table %I.%I drop constraint partition_range', v_schema, v_name);
            v_made := v_made + 1;
        elsif not exists (
            select
            from pg_inherits as i
            where i.inhparent = p_parent
                and i.inhrelid = v_partition
        ) then
            raise exception 'ops.ensure_partitions: table %.% exists and is not a partition of %',
                v_schema, v_name, p_parent
                using errcode = 'duplicate_table', hint = 'Rename or drop that table, then try again.';
        end if;
        v_start := v_end;
    end loop;
    return v_made;
end
$$;

comment on function ops.ensure_partitions(regclass, text, timestamptz, timestamptz) is
    'Makes the missing partitions (width day, week, month or year, UTC) of a table that touch [p_from, p_to); returns their number.';

-- It runs with the rights of the tables' owner; grants/ says who may call it.
revoke all on function ops.ensure_partitions(regclass, text, timestamptz, timestamptz) from public;
