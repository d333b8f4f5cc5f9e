-- The line of shard 0 of the hour %(hour)s, which was not there before. Plan: primary key.
delete from ops.raw_hour
where hour = %(hour)s
    and shard = 0
