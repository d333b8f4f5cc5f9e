-- Marks a message that every service of its route took, also when a person dropped it meanwhile.
-- Plan: primary key.
update alert.deliveries
set
    sent_at = %(now)s,
    next_attempt_at = null,
    dead_at = null,
    last_error = null,
    refusal_count = 0,
    holds_route = false,
    taken_by = %(taken_by)s
where delivery_id = %(delivery_id)s;
