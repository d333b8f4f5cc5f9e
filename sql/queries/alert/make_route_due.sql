-- Makes all that waits for a route due at once: it was changed, and may be reached now.
-- Plan: index scan on deliveries_waiting; waiting rows only.
update alert.deliveries
set next_attempt_at = %(now)s
where route = %(route)s and next_attempt_at > %(now)s;
