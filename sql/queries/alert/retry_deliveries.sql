-- Gives messages that wait or were given up another day, beginning now; those that were sent stay.
-- Plan: primary key.
update alert.deliveries
set
    next_attempt_at = %(now)s,
    dead_at = null,
    give_up_at = null,
    attempt_count = 0,
    refusal_count = 0,
    holds_route = false
where delivery_id = any(%(delivery_ids)s) and sent_at is null
returning delivery_id;
