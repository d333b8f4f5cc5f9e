-- Alerts that are open, or of which a change of %(waiting)s is due, or whose end a route waits for; with the alerts of their groups.
-- Plan: scans of alerts_open, announcements_waiting and outbox_waiting; one probe of the primary key for each other alert.
with wanted as (
    select alert_id from alert.alerts where resolved_at is null
    union
    select unnest(%(waiting)s::bigint[])
    union
    select n.alert_id from alert.announcements as n where n.resolved_at is null
    union
    select group_alert_id from alert.alerts where resolved_at is null and group_alert_id is not null
)
select
    a.alert_id,
    a.rule,
    a.subject,
    a.subject_name,
    a.severity,
    a.state,
    a.reason,
    a.began_at,
    a.opened_at,
    a.server_id,
    a.organization_id,
    a.group_alert_id,
    a.resolved_at,
    a.resolved_by,
    a.acknowledged_by,
    a.value,
    a.peak_value,
    a.trigger_value,
    a.details,
    a.rule <> 'group_unreachable' and exists (
        select from alert.outbox as o
        inner join alert.alert_events as e on e.event_id = o.event_id
        where o.alert_id = a.alert_id
            and o.settled_at is null
            and o.due_at > %(now)s
            and e.kind = 'opened'
    ) as is_settling
from wanted as w
inner join alert.alerts as a on a.alert_id = w.alert_id
order by a.alert_id
