-- When it is next to be decided who is told of which alerts; null: nothing waits.
-- Plan: one row, and the first entry of outbox_waiting.
select least(
    (select next_at from alert.planner),
    (select min(due_at) from alert.outbox where settled_at is null)
)
