-- Changes of which it was decided who is told.
-- Plan: function scan on unnest, one probe of the primary key a row.
update alert.outbox as o
set settled_at = %(now)s, outcome = s.outcome
from unnest(%(event_id)s::bigint[], %(outcome)s::text[]) as s (event_id, outcome)
where o.event_id = s.event_id and o.settled_at is null
