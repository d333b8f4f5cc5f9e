-- Takes the number of this commit; its row lock, held until the transaction ends, makes committers queue up here, so that
-- numbers become visible in their order. One that stalls while it holds the lock is ended by the server after 30 s; those
-- that wait longer than their lock_timeout keep their rows and come again. Plan: one row.
update ops.commit_counter set
    value = value + 1
returning value, set_config('idle_in_transaction_session_timeout', '30s', true)
