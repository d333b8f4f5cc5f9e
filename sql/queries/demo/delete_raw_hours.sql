-- Hours of [%(start)s, %(end)s) that only the demo fleet wrote to. Plan: primary keys; raw by the time index of its day.
with gone as (
    delete from demo.added_hours as a
    where a.hour >= %(start)s
        and a.hour < %(end)s
    returning a.hour
)
delete from ops.raw_hour as h
using gone as g
where h.hour = g.hour
    and not exists (
        select
        from raw.server_resource_metrics as r
        where r.collected_at >= h.hour
            and r.collected_at < h.hour + interval '1 hour'
    )
