-- What was planned at %(now)s holds until %(next_at)s, unless something was changed while it was made.
-- Plan: one row.
update alert.planner
set
    planned_at = %(now)s,
    next_at = case
        when change_count = %(change_count)s then %(next_at)s
        else to_timestamp(0)
    end
