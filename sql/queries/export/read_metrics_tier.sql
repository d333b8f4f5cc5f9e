-- Buckets of a tier in [%(start)s, %(end)s) in the order of their key, after the one given; with columns of the view.
-- Plan: primary key of the partitions for few servers, else a scan of them; then a sort.
select {columns}
from resmon.metric_aggregations as v
where v.granularity = %(granularity)s::text
    and v.bucket_start >= %(start)s
    and v.bucket_start < %(end)s
    and (%(server_ids)s::integer[] is null or v.server_id = any(%(server_ids)s::integer[]))
    and (%(organization_ids)s::integer[] is null or v.organization_id = any(%(organization_ids)s::integer[]))
    and (
        %(is_first)s
        or (v.bucket_start, v.server_id, v.organization_id)
        > (%(bucket_start)s::timestamptz, %(server_id)s::integer, %(organization_id)s::integer)
    )
order by v.bucket_start, v.server_id, v.organization_id
