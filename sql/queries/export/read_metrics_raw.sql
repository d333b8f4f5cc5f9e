-- Samples in [%(start)s, %(end)s) in the order of their key, after the one given; with columns of the view.
-- Plan: index on (server_id, collected_at) of the day's partitions for few servers, else a scan of the day; then a sort.
select {columns}
from resmon.server_resource_metrics as v
where v.collected_at >= %(start)s
    and v.collected_at < %(end)s
    and (%(server_ids)s::integer[] is null or v.server_id = any(%(server_ids)s::integer[]))
    and (%(organization_ids)s::integer[] is null or v.organization_id = any(%(organization_ids)s::integer[]))
    and (
        %(is_first)s
        or (v.collected_at, v.server_id) > (%(collected_at)s::timestamptz, %(server_id)s::integer)
    )
order by v.collected_at, v.server_id
