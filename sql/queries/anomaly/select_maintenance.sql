-- Maintenance windows that may touch [%(start)s, %(end)s), each with its organizations as the tree is now.
-- Plan: scan of a small table, a recursive look-up for each that names an organization.
select
    w.starts_at,
    w.ends_at,
    w.weekday,
    w.local_start,
    w.duration_minutes,
    w.time_zone,
    w.server_id,
    case
        when w.organization_id is not null
            then array(select b from resmon.organization_subtree(w.organization_id) as b)
    end as organization_ids,
    w.reason
from inventory.maintenance_window as w
where w.starts_at < %(end)s
    and (w.ends_at is null or w.ends_at > %(start)s)
order by w.maintenance_window_id
