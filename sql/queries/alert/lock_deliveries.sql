-- Takes the session lock of those who send, so that a message is not under way twice; false: another has it.
-- Plan: no table.
select pg_try_advisory_lock(hashtextextended('alert.deliveries', 0));
