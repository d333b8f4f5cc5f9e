-- Purpose: a failed run is told after 25 minutes: the catch-up leaves a window to its own schedule for 20 before it repeats it.
-- Locks: row exclusive on one row of alert.rules.
-- Undo: update alert.rules set for_seconds = 600 where rule = 'run_failed'.

update alert.rules set for_seconds = 1500 where rule = 'run_failed';
