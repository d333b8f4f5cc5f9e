-- Columns of a table with their types and whether null is allowed, in order.
-- Plan: catalogue look-up.
select
    attribute.attname::text,
    format_type(attribute.atttypid, attribute.atttypmod),
    not attribute.attnotnull
from pg_attribute as attribute
where attribute.attrelid = %(table)s::regclass
    and attribute.attnum > 0
    and not attribute.attisdropped
order by attribute.attnum
