-- Lines of %(asset)s, which is computed from tiers or forecasts, in [%(start)s, %(end)s): those of windows that no tier has any
-- more go; of the others it is forgotten from how much they were computed, as less is not less than before without the fleet.
-- Plan: range of the primary key, a probe of it per window.
with windows as (
    select
        w.window_start,
        exists (
            select
            from ops.window_state as t
            where t.asset = case when %(is_day)s then 'tier.metrics_1day' else 'tier.metrics_1hour' end
                and t.window_start = w.window_start
        ) as has_tier
    from ops.window_state as w
    where w.asset = %(asset)s
        and w.window_start >= %(start)s
        and w.window_start < %(end)s
),
gone as (
    delete from ops.window_state as w
    using windows as v
    where w.asset = %(asset)s
        and w.window_start = v.window_start
        and not v.has_tier
)
update ops.window_state as w
set sample_count = 0
from windows as v
where w.asset = %(asset)s
    and w.window_start = v.window_start
    and v.has_tier
