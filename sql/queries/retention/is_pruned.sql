-- Whether the partition of a table that begins at %(start)s was dropped by retention and is not back. Plan: primary key.
select
    exists (
        select from ops.pruned_partition as p
        where p.table_name = %(table_name)s
            and p.partition_start = %(start)s
    )
    and not exists (
        select from ops.partitions_of(to_regclass(%(table_name)s)) as p
        where p.partition_start = %(start)s
    )
