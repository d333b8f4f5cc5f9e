-- What routes know from now on.
-- Plan: function scan on unnest, one probe of the primary key a row.
insert into alert.announcements (alert_id, route, announced_at, reminded_at, resolved_at, severity)
select
    t.alert_id,
    t.route,
    %(now)s,
    case when t.change = 'reminder' then %(now)s::timestamptz end,
    case when t.change = 'resolved' then %(now)s::timestamptz end,
    t.severity
from unnest(
    %(alert_id)s::bigint[], %(route)s::text[], %(change)s::text[], %(severity)s::text[]
) as t (alert_id, route, change, severity)
order by t.alert_id, t.route
on conflict (alert_id, route) do update
    set
        announced_at = case
            when excluded.reminded_at is null and excluded.resolved_at is null
                then excluded.announced_at
            else announcements.announced_at
        end,
        reminded_at = coalesce(excluded.reminded_at, announcements.reminded_at),
        resolved_at = excluded.resolved_at,
        severity = case
            when excluded.resolved_at is null then excluded.severity else announcements.severity
        end
