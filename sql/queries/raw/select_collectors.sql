-- Collectors of the given hours, and whether the session lock of each is held right now.
-- Plan: primary key probes; pg_locks is a small function scan.
select
    collector.shard,
    collector.hour,
    collector.run_id,
    collector.host,
    collector.pid,
    collector.backend_pid,
    collector.started_at,
    collector.heartbeat_at,
    collector.fleet_open_at,
    collector.is_stop_requested,
    collector.stop_requested_at,
    collector.ended_at,
    collector.end_reason,
    exists (
        select from pg_locks as held
        where held.locktype = 'advisory'
            and held.granted
            and held.objsubid = 2
            and held.database = (select oid from pg_database where datname = current_database())
            and held.classid = %(lock_class)s
            and held.objid = (extract(epoch from collector.hour)::bigint / 3600 * 64 + collector.shard)
    ) as is_locked
from ops.collector as collector
where collector.hour = any(%(hours)s::timestamptz[])
order by collector.hour, collector.shard
