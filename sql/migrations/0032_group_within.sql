-- Purpose: within how many seconds servers go away together is an option of the rule of groups.
-- Locks: one row of alert.rules.
-- Undo: update alert.rules set options = options - 'within_seconds' where rule = 'group_unreachable'.
update alert.rules
set options = options || '{"within_seconds": 300}'
where rule = 'group_unreachable';
