-- Forecasts of UTC days in [%(start)s, %(end)s) in the order of their key, after the one given; with columns of the view.
-- The server of an organization's own forecast is null and goes first. Plan: partitions by time; then a sort.
select {columns}
from resmon.capacity_forecasts as v
where v.bucket_start >= %(start)s
    and v.bucket_start < %(end)s
    and (%(server_ids)s::integer[] is null or v.server_id = any(%(server_ids)s::integer[]))
    and (%(organization_ids)s::integer[] is null or v.organization_id = any(%(organization_ids)s::integer[]))
    and (%(metrics)s::text[] is null or v.metric = any(%(metrics)s::text[]))
    and (
        %(is_first)s
        or (v.bucket_start, v.organization_id, coalesce(v.server_id, 0), v.metric, v.mount, v.method) > (
            %(bucket_start)s::timestamptz,
            %(organization_id)s::integer,
            coalesce(%(server_id)s::integer, 0),
            %(metric)s::text,
            %(mount)s::text,
            %(method)s::text
        )
    )
order by v.bucket_start, v.organization_id, coalesce(v.server_id, 0), v.metric, v.mount, v.method
