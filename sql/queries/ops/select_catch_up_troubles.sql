-- Windows that were refused, or whose last %(attempts)s runs did not compute them, and those that a check made red; per
-- asset and kind: how many, the first, the last, and the words of the newest refusal. Plan: two small scans.
with troubles as (
    select
        c.asset,
        c.window_start,
        case when c.refused_at is not null then 'refused' else 'failing' end as kind,
        c.refusal
    from ops.catch_up as c
    left join ops.window_state as s
        on s.asset = c.asset
        and s.window_start = c.window_start
    where (c.refused_at is not null or c.attempts >= %(attempts)s)
        and (
            greatest(c.refused_at, c.attempted_at) > coalesce(s.computed_at, '-infinity')
            or c.attempted_revision > s.revision
        )
    union all
    select
        s.asset,
        s.window_start,
        'red',
        null
    from ops.window_state as s
    where s.is_red
)
select
    t.asset,
    t.kind,
    count(*) as windows,
    min(t.window_start) as first_start,
    max(t.window_start) as last_start,
    (array_agg(t.refusal order by t.window_start desc))[1] as detail
from troubles as t
group by
    t.asset,
    t.kind
order by
    t.asset,
    t.kind
