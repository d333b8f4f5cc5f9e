-- Deletes collectors of hours before %(before)s, %(batch)s at most. Plan: scan; a row per hour and shard.
delete from ops.collector
where ctid = any(
    array(
        select c.ctid
        from ops.collector as c
        where c.hour < %(before)s
        limit %(batch)s
    )
)
