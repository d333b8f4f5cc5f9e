-- UTC days of [%(start)s, %(end)s) whose raw samples are gone: pruned, or dropped by hand although coverage says that
-- samples were stored. Plan: per day one probe of ops.raw_day and of coverage by (ended_at, started_at), and the first row of
-- one partition.
select d.day::date as day
from generate_series(
    date_trunc('day', %(start)s::timestamptz, 'UTC'),
    %(end)s::timestamptz - interval '1 microsecond',
    interval '1 day'
) as d (day)
where exists (
        select
        from ops.raw_day as r
        where r.day = (d.day at time zone 'UTC')::date
            and r.pruned_at is not null
    )
    or (
        exists (
            select
            from raw.collection_coverage as c
            where c.cause = 'ok'
                and c.ended_at >= d.day
                and c.started_at < d.day + interval '1 day'
        )
        and not exists (
            select
            from raw.server_resource_metrics as m
            where m.collected_at >= d.day
                and m.collected_at < d.day + interval '1 day'
        )
    )
order by 1
