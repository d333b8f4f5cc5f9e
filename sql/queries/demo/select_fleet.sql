-- The demo fleet; no row when there is none. Plan: one row.
select
    seed,
    server_count,
    starts_at,
    ends_at,
    made_until,
    judged_until,
    is_being_removed,
    created_at,
    finished_at
from demo.fleet
