-- Everything that happened to an alert, oldest first.
-- Plan: alert_events_alert.
select event_id, at, written_at, kind, severity, value, actor, message
from alert.alert_events
where alert_id = %(alert_id)s
order by event_id
