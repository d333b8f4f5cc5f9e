-- How often routes, silences and maintenance windows were changed.
-- Plan: one row.
select change_count from alert.planner
