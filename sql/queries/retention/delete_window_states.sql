-- Deletes what the ledger knows of windows of a table that are older than the table is kept (%(before)s) and whose
-- partition is gone, %(batch)s at most. Plan: primary key range of ops.window_state.
delete from ops.window_state
where ctid = any(
    array(
        select s.ctid
        from ops.window_state as s
        where s.asset = %(table_name)s
            and s.window_start < least(
                %(before)s::timestamptz,
                (
                    select min(p.partition_start)
                    from ops.partitions_of(to_regclass(%(table_name)s)) as p
                )
            )
        limit %(batch)s
    )
)
