-- Tells the history of each alert in a message that the message was given up.
-- Plan: primary keys of the few alerts of one message.
insert into alert.alert_events (at, alert_id, kind, severity, actor, message)
select
    %(now)s,
    a.alert_id,
    'failed',
    a.severity,
    'delivery',
    %(message)s
from alert.deliveries as d
inner join alert.alerts as a on a.alert_id = any(d.alert_ids)
where d.delivery_id = %(delivery_id)s;
