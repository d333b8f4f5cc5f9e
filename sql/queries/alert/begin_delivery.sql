-- Counts an attempt before it is made, so that a process that dies in it does not try at every start.
-- Plan: primary key.
update alert.deliveries
set
    attempt_count = attempt_count + 1,
    give_up_at = coalesce(give_up_at, %(give_up_at)s),
    next_attempt_at = %(next_attempt_at)s
where delivery_id = %(delivery_id)s and next_attempt_at is not null
returning give_up_at;
