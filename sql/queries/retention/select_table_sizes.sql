-- Bytes on disk and rows (by PostgreSQL's statistics) of tables without partitions; a table that is not there has no row.
-- Plan: the catalog.
select
    t.table_name,
    greatest(coalesce(pg_stat_get_live_tuples(to_regclass(t.table_name)), 0), 0)::bigint as row_estimate,
    pg_total_relation_size(to_regclass(t.table_name)) as size_bytes
from unnest(%(table_names)s::text[]) as t (table_name)
where to_regclass(t.table_name) is not null
