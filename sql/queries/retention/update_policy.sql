-- Sets how long one table is kept; no row when the policy does not know it. Plan: one primary key probe.
update ops.retention_policy set
    keep_days = %(keep_days)s,
    changed_at = %(now)s
where table_name = %(table_name)s
