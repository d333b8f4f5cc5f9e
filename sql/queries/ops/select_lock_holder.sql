-- Who holds the lock that postgres_connection.advisory_lock waits for; no row when it has just been freed.
-- Plan: function scans of pg_locks and pg_stat_activity.
select
    held.pid,
    coalesce(session.usename::text, '?') as role_name,
    coalesce(session.application_name, '') as application_name
from pg_locks as held
left join pg_stat_activity as session on session.pid = held.pid
where held.locktype = 'advisory'
    and held.granted
    and held.objsubid = 1
    and held.database = (select oid from pg_database where datname = current_database())
    and ((held.classid::bigint << 32) | held.objid::bigint) = hashtextextended(%(name)s, 0)
limit 1
