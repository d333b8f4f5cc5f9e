-- Rows and servers of raw in [%(start)s, %(end)s). Plan: scan of the day partitions that the window touches.
select
    count(*),
    count(distinct server_id)
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
