-- Who has held a lock on a table or its partition for longer than %(seconds)s: whoever waits for the exclusive lock behind
-- them makes all others wait. Null where the state of other roles' sessions is hidden. Plan: function scans.
select
    a.pid,
    coalesce(nullif(a.application_name, ''), 'unnamed') as application,
    a.xact_start
from pg_locks as held
join pg_stat_activity as a on a.pid = held.pid
where held.locktype = 'relation'
    and held.granted
    and held.database = (select oid from pg_database where datname = current_database())
    and held.relation in (
        select p.partition_name
        from ops.partitions_of(to_regclass(%(table_name)s)) as p
        where p.partition_start = %(start)s
        union all
        select to_regclass(%(table_name)s)
    )
    and held.pid <> pg_backend_pid()
    and a.xact_start < clock_timestamp() - make_interval(secs => %(seconds)s)
order by a.xact_start
limit 1
