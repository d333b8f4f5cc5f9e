-- Episodes that began in [%(start)s, %(end)s) in the order of their key, after the one given; with columns of the view.
-- Plan: month partitions by their index on started_at; then a sort.
select {columns}
from resmon.anomaly_reports as v
where v.started_at >= %(start)s
    and v.started_at < %(end)s
    and (%(server_ids)s::integer[] is null or v.server_id = any(%(server_ids)s::integer[]))
    and (%(organization_ids)s::integer[] is null or v.organization_id = any(%(organization_ids)s::integer[]))
    and (%(metrics)s::text[] is null or v.metric = any(%(metrics)s::text[]))
    and (%(severities)s::text[] is null or v.severity = any(%(severities)s::text[]))
    and (
        %(is_first)s
        or (v.started_at, v.server_id, v.metric, v.detector, v.kind, v.revision) > (
            %(started_at)s::timestamptz,
            %(server_id)s::integer,
            %(metric)s::text,
            %(detector)s::text,
            %(kind)s::text,
            %(revision)s::integer
        )
    )
order by v.started_at, v.server_id, v.metric, v.detector, v.kind, v.revision
