-- Alerts that were opened in [%(start)s, %(end)s) in the order of their key, after the one given; with columns of the view.
-- Plan: index on opened_at; then a sort.
select {columns}
from resmon.alerts as v
where v.opened_at >= %(start)s
    and v.opened_at < %(end)s
    and (%(server_ids)s::integer[] is null or v.server_id = any(%(server_ids)s::integer[]))
    and (%(organization_ids)s::integer[] is null or v.organization_id = any(%(organization_ids)s::integer[]))
    and (%(severities)s::text[] is null or v.severity = any(%(severities)s::text[]))
    and (%(rules)s::text[] is null or v.rule = any(%(rules)s::text[]))
    and (
        %(is_first)s
        or (v.opened_at, v.alert_id) > (%(opened_at)s::timestamptz, %(alert_id)s::bigint)
    )
order by v.opened_at, v.alert_id
