-- Raw rows per server in [%(start)s, %(end)s), by server: what a window is cut into slices by.
-- Plan: parallel scan of the one day partition that the window touches, hash aggregate.
select
    server_id,
    count(*) as sample_count
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
group by server_id
order by server_id
