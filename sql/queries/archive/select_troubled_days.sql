-- UTC days of the asset %(asset)s that a check marked red, and those that runs were asked for at least twice without success.
-- Plan: two small scans; a row per day and per window in trouble.
select
    (s.window_start at time zone 'UTC')::date as day,
    true as is_red
from ops.window_state as s
where s.asset = %(asset)s
    and s.is_red
union all
select
    (c.window_start at time zone 'UTC')::date,
    false
from ops.catch_up as c
where c.asset = %(asset)s
    and c.attempts >= 2
