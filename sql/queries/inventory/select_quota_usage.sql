-- Limits that hold at %(at)s with the newest computed usage of the same organization and resource; with %(organization_ids)s
-- only of these. Plan: one hour of rollup.organization_resource_usage by primary key, joined with the limits.
with newest as (
    select max(w.window_start) as bucket_start
    from ops.window_state as w
    where w.asset = 'rollup.organization_resource_usage'
),
limits as (
    select
        l.organization_id,
        l.resource,
        l.limit_value,
        l.limit_organization_id
    from resmon.organization_limits(%(at)s) as l
    where %(organization_ids)s::integer[] is null
        or l.organization_id = any(%(organization_ids)s::integer[])
)
select
    l.organization_id,
    l.resource,
    l.limit_value,
    l.limit_organization_id,
    u.used,
    u.measured_until,
    u.exceeded_since
from limits as l
left join resmon.organization_resource_usage as u
    on u.organization_id = l.organization_id
    and u.resource = l.resource
    and u.bucket_start = (select n.bucket_start from newest as n);
