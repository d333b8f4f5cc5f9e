-- Gives back the lock of lock_deliveries.
-- Plan: no table.
select pg_advisory_unlock(hashtextextended('alert.deliveries', 0));
