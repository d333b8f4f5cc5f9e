-- Silences and maintenance windows that are not over at %(now)s and were not removed, with the organizations that they are for.
-- Plan: scans of two small tables; a recursive look-up for each row that names an organization.
with both_kinds as (
    select
        'silence' as kind,
        silence_id as number,
        starts_at,
        ends_at,
        weekday,
        local_start,
        duration_minutes,
        time_zone,
        organization_id,
        server_id,
        rule,
        tag,
        maximum_severity,
        reason,
        created_by,
        created_at
    from alert.silences
    where cancelled_at is null
    union all
    select
        'maintenance',
        maintenance_window_id,
        starts_at,
        ends_at,
        weekday,
        local_start,
        duration_minutes,
        time_zone,
        organization_id,
        server_id,
        null,
        null,
        null,
        reason,
        created_by,
        created_at
    from inventory.maintenance_window
)
select
    b.*,
    case
        when b.organization_id is not null
            then array(select s from resmon.organization_subtree(b.organization_id) as s)
    end as organization_ids
from both_kinds as b
where b.ends_at is null or b.ends_at > %(now)s
order by b.kind desc, b.number
