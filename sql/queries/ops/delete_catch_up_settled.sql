-- Forget what is settled: windows that were computed after all that is known of them here, from no older raw. Plan: the table is small (one
-- row per window in trouble); primary key lookups in ops.window_state.
delete from ops.catch_up as c
using ops.window_state as s
where s.asset = c.asset
    and s.window_start = c.window_start
    and s.computed_at >= greatest(c.requested_at, c.attempted_at, c.refused_at)
    and s.revision >= coalesce(c.attempted_revision, 0)
