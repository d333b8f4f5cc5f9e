-- Columns of a view of schema resmon in their order, with their types. Plan: index of the catalog, one view.
select
    a.attname as name,
    format_type(a.atttypid, a.atttypmod) as type
from pg_catalog.pg_attribute as a
where a.attrelid = to_regclass(%(view)s)
    and a.attnum > 0
    and not a.attisdropped
order by a.attnum;
