-- Drops a partition if nothing speaks against it under its lock: one row `dropped`, else the reasons. Plan: see the function.
select
    d.reason,
    d.detail,
    d.freed_bytes
from ops.drop_expired_partition(
    %(table_name)s,
    %(start)s,
    %(as_of)s,
    %(now)s,
    %(is_archived)s,
    %(downstream)s::jsonb,
    %(row_count)s
) as d
