-- Windows of the tables %(assets)s that start in [%(start)s, %(end)s) and were computed after %(failed_at)s.
-- Plan: primary key range per table.
select count(*)
from ops.window_state as s
where s.asset = any(%(assets)s)
    and s.window_start >= %(start)s
    and s.window_start < %(end)s
    and s.computed_at > %(failed_at)s
