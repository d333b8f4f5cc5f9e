-- Raw of the UTC day %(day)s is not there, as if retention had dropped it: nothing tries to compute it from nothing.
with marked as (
    insert into ops.raw_day (day, pruned_at)
    values (%(day)s, %(now)s)
    on conflict (day) do nothing
    returning day
)
insert into demo.pruned_days (day)
select day
from marked
on conflict (day) do nothing
