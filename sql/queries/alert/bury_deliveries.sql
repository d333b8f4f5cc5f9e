-- Gives up messages whose time is over without another attempt, because their route is switched off.
-- Plan: index scan on deliveries_waiting; waiting rows only.
update alert.deliveries as d
set dead_at = %(now)s, next_attempt_at = null, holds_route = false, last_error = 'The route is switched off.'
from alert.routes as r
where
    r.route = d.route
    and not r.is_enabled
    and d.next_attempt_at is not null
    and d.created_at < %(created_before)s
returning d.delivery_id, d.route;
