-- Puts a message off, or among the dead letters when next_attempt_at is null.
-- Plan: primary key.
update alert.deliveries
set
    next_attempt_at = %(next_attempt_at)s::timestamptz,
    dead_at = case when %(next_attempt_at)s::timestamptz is null then %(now)s::timestamptz end,
    last_error = %(error)s,
    refusal_count = case when %(is_permanent)s then refusal_count + 1 else 0 end,
    holds_route = %(holds_route)s and %(next_attempt_at)s::timestamptz is not null,
    taken_by = %(taken_by)s
where delivery_id = %(delivery_id)s and next_attempt_at is not null
returning delivery_id;
