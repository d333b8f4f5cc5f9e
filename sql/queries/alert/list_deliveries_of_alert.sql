-- Messages that tell of an alert, oldest first, each with where it stands.
-- Plan: for each route that knows of the alert, its messages since the opening by deliveries_route.
select
    d.delivery_id,
    d.route,
    d.kind,
    case
        when d.sent_at is not null then 'sent'
        when d.dead_at is not null then 'given up'
        else 'waiting'
    end as state,
    d.created_at,
    d.sent_at,
    d.dead_at,
    d.next_attempt_at,
    d.attempt_count,
    d.last_error
from alert.alerts as a
inner join alert.announcements as n on n.alert_id = a.alert_id
inner join alert.deliveries as d
    on d.route = n.route and d.created_at >= a.opened_at - interval '1 day'
where a.alert_id = %(alert_id)s and a.alert_id = any(d.alert_ids)
order by d.delivery_id
