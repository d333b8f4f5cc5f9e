-- Forgets conditions that are over, and whose openings do not count any more.
-- Plan: one pass over conditions, once an hour.
delete from alert.conditions
where state = 'clear' and last_at < %(before)s;
