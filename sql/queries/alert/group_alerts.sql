-- Alerts that an alert of a group speaks for, or that speak for themselves again; locked in the order of all writers.
-- Plan: function scan on unnest, one probe of the primary key a row.
with held as (
    select alert_id
    from alert.alerts
    where alert_id = any(%(alert_id)s::bigint[]) and resolved_at is null
    order by alert_id
    for no key update
)
update alert.alerts as a
set group_alert_id = g.group_alert_id
from held
inner join unnest(%(alert_id)s::bigint[], %(group_alert_id)s::bigint[]) as g (
    alert_id, group_alert_id
) on g.alert_id = held.alert_id
where a.alert_id = held.alert_id
