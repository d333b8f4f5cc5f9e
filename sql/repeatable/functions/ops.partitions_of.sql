-- Purpose: the partitions of a table with their bounds, of which PostgreSQL keeps only the text.
-- Plan: the catalog's index on the parent; a partition a row.
create or replace function ops.partitions_of(p_parent regclass)
returns table (
    partition_name regclass,
    partition_start timestamptz,
    partition_end timestamptz
)
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    select
        c.oid::regclass,
        (bound.texts[1])::timestamptz,
        (bound.texts[2])::timestamptz
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    cross join lateral regexp_match(
        pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)'
    ) as bound (texts)
    where i.inhparent = p_parent
        and bound.texts is not null
    order by 2
$$;

comment on function ops.partitions_of(regclass) is
    'Partitions of a table that is partitioned by range on one time column, oldest first; bounds are half-open, UTC.';
