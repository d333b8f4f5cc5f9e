-- All routes with what waits, what was given up lately, and when something was last taken.
-- Plan: the few routes; index scan on deliveries_route per route, for a day.
select
    r.route,
    r.target,
    r.organization_id,
    o.name as organization_name,
    r.minimum_severity,
    r.tags,
    r.rules,
    r.per_hour,
    r.template,
    r.is_enabled,
    r.sends_resolved,
    r.created_by,
    r.created_at,
    coalesce(w.waiting_count, 0) as waiting_count,
    w.oldest_at,
    w.last_error,
    coalesce(d.dead_count, 0) as dead_count,
    d.sent_at
from alert.routes as r
left join inventory.organizations as o on o.organization_id = r.organization_id
left join lateral (
    select
        count(*) as waiting_count,
        min(q.created_at) as oldest_at,
        (array_agg(q.last_error order by q.delivery_id) filter (where q.last_error is not null))[1] as last_error
    from alert.deliveries as q
    where q.route = r.route and q.next_attempt_at is not null
) as w on true
left join lateral (
    select
        count(*) filter (where q.dead_at is not null) as dead_count,
        max(q.sent_at) as sent_at
    from alert.deliveries as q
    where q.route = r.route and q.created_at >= %(since)s
) as d on true
order by r.route;
