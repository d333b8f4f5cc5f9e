-- Whether a person asked for a window since it was computed. Plan: two primary key lookups.
select c.requested_at > coalesce(s.computed_at, '-infinity')
from ops.catch_up as c
left join ops.window_state as s
    on s.asset = c.asset
    and s.window_start = c.window_start
where c.asset = %(asset)s
    and c.window_start = %(window_start)s
    and c.requested_at is not null
