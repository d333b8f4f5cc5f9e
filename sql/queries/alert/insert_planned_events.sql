-- Entries in the histories of alerts that the planner makes.
-- Plan: function scan on unnest.
insert into alert.alert_events (at, written_at, alert_id, kind, severity, actor, message)
select %(now)s, %(now)s, e.alert_id, e.kind, e.severity, 'planner', e.message
from unnest(
    %(alert_id)s::bigint[], %(kind)s::text[], %(severity)s::text[], %(message)s::text[]
) with ordinality as e (alert_id, kind, severity, message, place)
order by e.place
