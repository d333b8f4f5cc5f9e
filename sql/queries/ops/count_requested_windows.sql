-- What became of the windows that were asked for at %(requested_at)s, per asset: computed since, refused since, tried
-- at least twice without either; and whether a run was requested for any that is left. Plan: primary key per window.
select
    w.asset,
    count(*) as windows,
    count(*) filter (where s.computed_at > %(requested_at)s) as computed,
    count(*) filter (
        where c.refused_at > %(requested_at)s
            and c.refused_at > coalesce(s.computed_at, '-infinity')
    ) as refused,
    count(*) filter (
        where c.attempts >= 2
            and c.refused_at is null
            and coalesce(s.computed_at, '-infinity') <= %(requested_at)s
    ) as failing,
    coalesce(bool_or(c.attempts > 0), false) as is_tried
from unnest(%(assets)s::text[], %(starts)s::timestamptz[]) as w (asset, window_start)
left join ops.window_state as s
    on s.asset = w.asset
    and s.window_start = w.window_start
left join ops.catch_up as c
    on c.asset = w.asset
    and c.window_start = w.window_start
group by w.asset
