-- What the windows of one asset that start in [%(start)s, %(end)s) were computed from. Plan: primary key range.
select
    w.asset,
    w.window_start,
    w.revision,
    w.computed_at,
    w.complete_until,
    w.is_red,
    w.row_count,
    w.sample_count,
    w.slot_revisions,
    w.slot_samples
from ops.window_state as w
where w.asset = %(asset)s
    and w.window_start >= %(start)s
    and w.window_start < %(end)s
order by w.window_start
