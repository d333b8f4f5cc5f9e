-- Puts messages that wait among the dead letters.
-- Plan: primary key.
update alert.deliveries
set dead_at = %(now)s, next_attempt_at = null, holds_route = false, last_error = %(reason)s
where delivery_id = any(%(delivery_ids)s) and next_attempt_at is not null
returning delivery_id;
