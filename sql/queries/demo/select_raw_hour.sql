-- The line of shard 0 of the hour %(hour)s, locked. Plan: primary key.
select
    revision,
    slot_revisions
from ops.raw_hour
where hour = %(hour)s
    and shard = 0
for update
