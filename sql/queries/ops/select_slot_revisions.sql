-- Revisions of the five-minute slots of the UTC hour %(hour)s, summed over its shards; no row if raw never wrote to it.
-- Plan: primary key range of ops.raw_hour, twelve elements a row.
select array_agg(summed.revision order by summed.slot)
from (
    select
        s.slot,
        sum(s.revision)::bigint as revision
    from ops.raw_hour as h
    cross join unnest(h.slot_revisions) with ordinality as s (revision, slot)
    where h.hour = %(hour)s
    group by s.slot
) as summed
having count(*) > 0
