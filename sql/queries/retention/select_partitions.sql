-- Partitions of a table, oldest first, with rows as PostgreSQL's statistics count them and bytes with indexes.
-- Plan: the catalog; a few hundred partitions at most.
select
    p.partition_start,
    p.partition_end,
    greatest(coalesce(pg_stat_get_live_tuples(p.partition_name), 0), 0)::bigint as row_estimate,
    pg_total_relation_size(p.partition_name) as size_bytes
from ops.partitions_of(to_regclass(%(table_name)s)) as p
order by p.partition_start
