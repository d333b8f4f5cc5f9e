-- Windows of %(asset)s, %(width)s long, that start in [%(start)s, %(end)s), have a closed bucket (%(closed_until)s is the end
-- of the last one) and are not held in their current form, oldest first. reason says why:
--   requested   a person asked for it after it was computed
--   changed     its source was written since; with %(is_month)s anywhere from the start of the UTC month to the end of the
--               window. The source is raw, or the windows of the asset %(source)s: their revisions
--   unfinished  buckets closed since, or it was never computed
-- A window counts when raw has written to it, when it was computed before, or when a server was active in it: its empty
-- buckets need rows. With a %(source)s it counts only once that has been computed. attempts are runs that left it stale: since it was last computed, or at this revision of raw.
-- is_refused means that a run refused it and raw was not written since, or, with %(is_from_samples)s, that raw of its
-- days was pruned.
-- Plan: one pass over the hours of the range, hash joins with range scans of ops.raw_hour (or of the source's states) and
-- of ops.window_state by their primary keys; server_period by its time index, ended at the first hit, and only for windows that nothing else says
-- anything of.
with bounds as (
    select
        date_bin(%(width)s::interval, %(start)s::timestamptz, 'epoch'::timestamptz) as first_start,
        date_bin(
            %(width)s::interval,
            least(%(end)s::timestamptz, %(closed_until)s::timestamptz) - interval '1 microsecond',
            'epoch'::timestamptz
        ) + %(width)s::interval as last_end
),
span as (
    select
        case when %(is_month)s then date_trunc('month', b.first_start, 'UTC') else b.first_start end as first_hour,
        b.last_end
    from bounds as b
),
written as (
    select
        x.hour,
        sum(x.revision) as revision
    from (
        select
            r.hour,
            r.revision
        from ops.raw_hour as r
        where %(source)s::text is null
        union all
        select
            s.window_start,
            s.revision
        from ops.window_state as s
        where s.asset = %(source)s
    ) as x
    cross join span as b
    where x.hour >= b.first_hour
        and x.hour < b.last_end
    group by x.hour
),
hours as (
    select
        g.hour,
        w.revision,
        sum(w.revision) over (
            partition by date_trunc('month', g.hour, 'UTC')
            order by g.hour
        ) as month_revision
    from span as b
    cross join lateral generate_series(
        b.first_hour,
        b.last_end - interval '1 microsecond',
        interval '1 hour'
    ) as g (hour)
    left join written as w on w.hour = g.hour
),
windows as (
    select
        date_bin(%(width)s::interval, h.hour, 'epoch'::timestamptz) as window_start,
        case when %(is_month)s then max(h.month_revision) else sum(h.revision) end as revision,
        %(source)s::text is null or sum(h.revision) is not null as has_source
    from hours as h
    group by 1
),
states as (
    select
        v.window_start,
        v.revision,
        v.has_source,
        s.revision as used_revision,
        coalesce(s.complete_until, '-infinity') as complete_until,
        s.computed_at,
        c.requested_at,
        c.attempts,
        c.attempted_at,
        c.attempted_revision,
        c.refused_at,
        c.refused_revision
    from windows as v
    left join ops.window_state as s
        on s.asset = %(asset)s
        and s.window_start = v.window_start
    left join ops.catch_up as c
        on c.asset = %(asset)s
        and c.window_start = v.window_start
    where v.window_start >= %(start)s
        and v.window_start < least(%(end)s::timestamptz, %(closed_until)s::timestamptz)
),
judged as (
    select
        s.window_start,
        s.revision,
        s.computed_at,
        s.requested_at,
        s.attempts,
        s.attempted_at > coalesce(s.computed_at, '-infinity') or s.attempted_revision = s.revision as is_tried,
        s.attempted_at,
        s.refused_at,
        s.refused_revision,
        case
            when s.requested_at > coalesce(s.computed_at, '-infinity') then 'requested'
            when not s.has_source then null
            when s.revision > coalesce(s.used_revision, -1) then 'changed'
            when s.complete_until < least(s.window_start + %(width)s::interval, %(closed_until)s::timestamptz)
                and (
                    s.revision is not null
                    or s.used_revision is not null
                    or exists (
                        select
                        from inventory.server_period as p
                        where p.state = 'active'
                            and p.valid_from < s.window_start + %(width)s::interval
                            and p.valid_to > s.window_start
                    )
                )
                then 'unfinished'
        end as reason
    from states as s
)
select
    j.window_start as start,
    j.reason,
    coalesce(j.revision, 0)::bigint as revision,
    j.computed_at,
    case when j.is_tried then j.attempts else 0 end as attempts,
    case when j.is_tried then j.attempted_at end as attempted_at,
    coalesce(
        j.refused_at > coalesce(j.computed_at, '-infinity')
        and j.refused_at >= coalesce(j.requested_at, '-infinity')
        and j.refused_revision >= coalesce(j.revision, 0),
        false
    ) or (
        %(is_from_samples)s
        and exists (
            select
            from ops.raw_day as d
            where d.day >= (j.window_start at time zone 'UTC')::date
                and d.day < ((j.window_start + %(width)s::interval + interval '23 hours') at time zone 'UTC')::date
                and d.pruned_at is not null
        )
    ) as is_refused
from judged as j
where j.reason is not null
order by j.window_start
