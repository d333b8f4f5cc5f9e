-- Purpose: a disk with a tebibyte free is not nearly full, whatever its share: an option of the two rules of disks.
-- Locks: row exclusive on two rows of alert.rules.
-- Undo: update alert.rules set options = options - 'minimum_free_bytes' where rule in ('disk_high', 'file_system_high').

update alert.rules
set options = options || '{"minimum_free_bytes": 1099511627776}'
where rule in ('disk_high', 'file_system_high');
