-- Undoes what adding a paused server counted in the hour %(hour)s: nobody is expected in it, and nothing was written.
-- Plan: primary key of ops.raw_hour, a row per hour.
update ops.raw_hour as h
set revision = %(revision)s,
    slot_revisions = %(slot_revisions)s
where h.hour = %(hour)s
    and h.shard = 0
