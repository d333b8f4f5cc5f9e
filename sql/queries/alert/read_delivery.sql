-- How far a message is.
-- Plan: primary key.
select attempt_count, sent_at, dead_at, last_error, taken_by
from alert.deliveries
where delivery_id = %(delivery_id)s;
