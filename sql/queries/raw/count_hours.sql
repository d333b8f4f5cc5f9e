-- Rows of raw per UTC hour of [%(start)s, %(end)s); hours without rows are left out.
-- Plan: parallel scan of the day partitions that the window touches, hash aggregate.
select
    date_trunc('hour', collected_at, 'UTC') as hour,
    count(*) as row_count
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
group by 1
order by 1
