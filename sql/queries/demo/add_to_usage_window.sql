-- The same for an hour of usage, whose revision is the sum of those of the five-minute rollup since its UTC month began.
-- Plan: range of the primary key of ops.window_state.
with rolled_up as (
    select coalesce(sum(s.revision), 0) as revision
    from ops.window_state as s
    where s.asset = %(source)s
        and s.window_start >= date_trunc('month', %(window_start)s::timestamptz, 'UTC')
        and s.window_start <= %(window_start)s
)
insert into ops.window_state as w (asset, window_start, revision, computed_at, complete_until, row_count, sample_count)
select
    %(asset)s,
    %(window_start)s,
    r.revision,
    %(now)s,
    %(window_end)s,
    %(row_count)s,
    %(sample_count)s
from rolled_up as r
on conflict (asset, window_start) do update
set
    revision = w.revision + %(added)s,
    row_count = w.row_count + excluded.row_count,
    sample_count = w.sample_count + excluded.sample_count
