-- UTC hours of [%(start)s, %(end)s) with closed buckets that %(asset)s does not hold in their current form, oldest first:
-- raw was written since, or buckets closed since (%(closed_until)s is the end of the last closed bucket). An hour counts
-- when raw has written to it, when it was computed before, or when a server was active in it: its empty buckets need rows.
-- Plan: one row per hour, each with primary key lookups; server_period by its time index, ended at the first hit.
with hours as (
    select g.hour
    from generate_series(
        date_trunc('hour', %(start)s::timestamptz, 'UTC'),
        %(end)s::timestamptz - interval '1 microsecond',
        interval '1 hour'
    ) as g (hour)
    where g.hour < %(closed_until)s
),
current_state as (
    select
        h.hour,
        r.revision as raw_revision,
        w.revision as used_revision,
        coalesce(w.complete_until, '-infinity') as complete_until
    from hours as h
    left join lateral (
        select sum(x.revision) as revision
        from ops.raw_hour as x
        where x.hour = h.hour
    ) as r on true
    left join ops.window_state as w
        on w.asset = %(asset)s
        and w.window_start = h.hour
)
select c.hour
from current_state as c
where c.raw_revision > coalesce(c.used_revision, -1)
    or (
        c.complete_until < least(c.hour + interval '1 hour', %(closed_until)s::timestamptz)
        and (
            c.raw_revision is not null
            or c.used_revision is not null
            or exists (
                select
                from inventory.server_period as p
                where p.state = 'active'
                    and p.valid_from < c.hour + interval '1 hour'
                    and p.valid_to > c.hour
            )
        )
    )
order by c.hour
