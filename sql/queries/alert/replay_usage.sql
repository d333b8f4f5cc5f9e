-- Percent of each quota that was used, by hour, where the limit is the organization's own; 0 in hours in which it is not, of
-- those that had one in the range: a quota that was taken away is not exceeded any more.
-- Plan: month partitions that the range touches; organizations are hundreds.
select
    q.organization_id,
    q.resource,
    q.started_at,
    q.ended_at,
    q.value
from (
    select
        u.organization_id,
        u.resource,
        u.bucket_start as started_at,
        u.measured_until as ended_at,
        case when u.limit_organization_id = u.organization_id then u.used_pct else 0 end as value,
        bool_or(u.limit_organization_id = u.organization_id) over (partition by u.organization_id, u.resource) as is_own
    from resmon.organization_resource_usage as u
    where u.bucket_start >= %(start)s
        and u.bucket_start < %(end)s
) as q
where q.is_own
    and q.value is not null
