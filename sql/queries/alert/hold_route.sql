-- Lets the messages of a route that cannot be reached wait for the next attempt of the first.
-- Plan: index scan on deliveries_waiting; waiting rows only.
update alert.deliveries
set next_attempt_at = %(until)s
where
    route = %(route)s
    and next_attempt_at < %(until)s
    and (attempt_count = 0 or holds_route);
