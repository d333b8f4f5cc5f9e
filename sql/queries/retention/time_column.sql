-- The column that a table is partitioned by; no row when it is not partitioned or not there. Plan: the catalog.
select a.attname
from pg_partitioned_table as p
join pg_attribute as a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
where p.partrelid = to_regclass(%(table_name)s)
