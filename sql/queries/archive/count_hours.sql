-- Rows of raw per UTC hour of [%(start)s, %(end)s) that are archived: those of the demo fleet are not. Hours without are left out.
-- Plan: parallel scan of the day partitions that the window touches, hashed subplan of a small table, hash aggregate.
select
    date_trunc('hour', collected_at, 'UTC') as hour,
    count(*) as row_count
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
    and server_id not in (
        select d.server_id
        from demo.servers as d
    )
group by 1
order by 1
