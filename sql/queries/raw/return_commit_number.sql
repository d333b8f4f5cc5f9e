-- Gives the number of this commit back when it stored nothing: under the lock nobody has seen it. Plan: one row.
update ops.commit_counter set value = value - 1
