-- Revision of each UTC hour of [%(start)s, %(end)s) that raw was ever written to. Plan: primary key range of ops.raw_hour.
select
    h.hour,
    sum(h.revision)::bigint as revision
from ops.raw_hour as h
where h.hour >= %(start)s
    and h.hour < %(end)s
group by h.hour
order by h.hour
