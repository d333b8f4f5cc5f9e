-- Servers that are to be collected: since when, and when each was last read or could not be.
-- Plan: hash joins of three tables with a row per server.
select
    s.server_id,
    p.valid_from as active_since,
    t.last_attempt_at as read_at,
    s.interval_seconds
from inventory.servers as s
inner join inventory.server_period as p
    on p.server_id = s.server_id
    and p.valid_to = 'infinity'
left join raw.server_status as t on t.server_id = s.server_id
where s.state = 'active'
