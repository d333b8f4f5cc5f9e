-- Makes the messages due that waited for a route, when it was reached again.
-- Plan: index scan on deliveries_waiting; waiting rows only.
update alert.deliveries
set next_attempt_at = %(now)s
where
    route = %(route)s
    and next_attempt_at > %(now)s
    and (attempt_count = 0 or holds_route);
