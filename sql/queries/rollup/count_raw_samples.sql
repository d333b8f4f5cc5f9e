-- Raw rows per server and organization in [%(start)s, %(end)s), by server: slices, what must be kept, and whose samples they are.
-- Plan: parallel scan of the one day partition that the window touches, hash aggregate.
select
    server_id,
    organization_id,
    count(*) as sample_count
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
group by
    server_id,
    organization_id
order by
    server_id,
    organization_id
