-- Who is told is decided again at once.
-- Plan: one row.
update alert.planner set next_at = to_timestamp(0), change_count = change_count + 1
