-- Which of these days were dropped from raw and are not back. Plan: primary key probes.
select d.day
from ops.raw_day as d
where d.day = any(%(days)s::date[])
    and d.pruned_at is not null
order by d.day
