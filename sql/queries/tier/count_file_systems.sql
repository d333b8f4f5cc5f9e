-- Rows of file systems in [%(start)s, %(end)s) by server. Plan: scan of the day's partition, hash aggregate.
select
    server_id,
    count(*) as sample_count
from raw.filesystem_usage
where collected_at >= %(start)s
    and collected_at < %(end)s
group by server_id
order by server_id
