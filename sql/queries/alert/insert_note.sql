-- A person's note on an alert, open or over.
-- Plan: a primary key probe and an insert.
insert into alert.alert_events (at, written_at, alert_id, value, kind, severity, actor, message)
select %(now)s, %(now)s, alert_id, null, 'noted', severity, %(actor)s, %(message)s
from alert.alerts
where alert_id = %(alert_id)s
returning event_id;
