-- Why a partition may not be dropped; no row when it may. Plan: see the function.
select
    b.reason,
    b.detail
from ops.partition_blockers(
    %(table_name)s,
    %(start)s,
    %(end)s,
    %(as_of)s,
    %(now)s,
    %(is_archived)s,
    %(downstream)s::jsonb
) as b
