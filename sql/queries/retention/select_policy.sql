-- How long each table is kept, in days; null: for ever. Plan: a table of a dozen rows.
select
    p.table_name,
    p.keep_days
from ops.retention_policy as p
order by p.table_name
