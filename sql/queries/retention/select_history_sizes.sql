-- In Dagster's database: bytes of the whole and of the tables that grow, indexes and overlong values included.
-- Plan: sizes of files, no table is read.
select 'history_bytes', pg_database_size(current_database())
union all
select
    s.relname || '_bytes',
    pg_total_relation_size(s.relid)
from pg_stat_user_tables as s
where s.schemaname = 'public'
    and s.relname in ('event_logs', 'asset_check_executions', 'runs', 'run_tags', 'job_ticks')
