-- UTC days that are over at %(now)s, whose raw was written to, and whose archive is missing or older than raw, oldest
-- first; days that retention dropped are left out. Plan: scan of ops.raw_hour, 24 rows a day, hash join.
with written as (
    select
        (h.hour at time zone 'UTC')::date as day,
        sum(h.revision) as revision
    from ops.raw_hour as h
    where h.hour < date_trunc('day', %(now)s::timestamptz, 'UTC')
    group by 1
)

select w.day
from written as w
left join ops.raw_day as d on d.day = w.day
where d.pruned_at is null
    and w.revision > coalesce(d.archived_revision, -1)
order by w.day
