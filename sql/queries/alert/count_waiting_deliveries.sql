-- How many messages wait, and since when the oldest.
-- Plan: index scan on deliveries_waiting; waiting rows only.
select count(*), min(created_at)
from alert.deliveries
where next_attempt_at is not null;
