-- Ends the session that holds the lock of one collector, and waits until it is gone, 5 s at most; no row when nobody holds it.
-- Plan: function scan of pg_locks.
select pg_terminate_backend(held.pid, 5000)
from pg_locks as held
where held.locktype = 'advisory'
    and held.granted
    and held.objsubid = 2
    and held.database = (select oid from pg_database where datname = current_database())
    and held.classid = %(lock_class)s
    and held.objid = %(lock_key)s
