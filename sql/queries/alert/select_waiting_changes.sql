-- Changes of alerts that are due to be decided, oldest first; those of groups at once: their members have waited.
-- Plan: scan of outbox_waiting, one probe of alert_events and of alerts a row.
select o.event_id, o.alert_id, e.kind
from alert.outbox as o
inner join alert.alert_events as e on e.event_id = o.event_id
inner join alert.alerts as a on a.alert_id = o.alert_id
where o.settled_at is null
    and (o.due_at <= %(now)s or a.rule = 'group_unreachable')
order by o.event_id
