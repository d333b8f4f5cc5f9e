-- Percent of each quota that was used, by hour, where the limit is the organization's own.
-- Plan: month partitions that the range touches; organizations are hundreds.
select
    u.organization_id,
    u.resource,
    u.bucket_start as started_at,
    u.measured_until as ended_at,
    u.used_pct as value
from resmon.organization_resource_usage as u
where u.bucket_start >= %(start)s
    and u.bucket_start < %(end)s
    and u.limit_organization_id = u.organization_id
    and u.used_pct is not null
