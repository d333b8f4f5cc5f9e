-- Remembers which hours of raw were never written to. Plan: a probe of the primary key per hour.
insert into demo.added_hours (hour)
select g.hour
from unnest(%(hours)s::timestamptz[]) as g (hour)
where not exists (
    select
    from ops.raw_hour as h
    where h.hour = g.hour
)
on conflict (hour) do nothing
