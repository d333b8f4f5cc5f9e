-- How many servers are to be collected, and how many shards have a collector that lives.
-- Plan: one pass over inventory.servers; index scan or one pass over ops.collector (a row an hour, pruned).
select
    (select count(*) from inventory.servers where state = 'active'),
    (select count(distinct shard) from ops.collector where ended_at is null and heartbeat_at >= %(fresh_after)s);
