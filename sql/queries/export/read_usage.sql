-- Usage of organizations by hour in [%(start)s, %(end)s) in the order of its key, after the one given; with columns of the view.
-- Plan: month partitions by time; then a sort.
select {columns}
from resmon.organization_resource_usage as v
where v.bucket_start >= %(start)s
    and v.bucket_start < %(end)s
    and (%(organization_ids)s::integer[] is null or v.organization_id = any(%(organization_ids)s::integer[]))
    and (%(metrics)s::text[] is null or v.resource = any(%(metrics)s::text[]))
    and (
        %(is_first)s
        or (v.bucket_start, v.organization_id, v.resource)
        > (%(bucket_start)s::timestamptz, %(organization_id)s::integer, %(resource)s::text)
    )
order by v.bucket_start, v.organization_id, v.resource
