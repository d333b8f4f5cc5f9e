-- Routes with the organizations that they are for, and what each was sent in the hour before %(now)s; none is deleted meanwhile.
-- Plan: scan of a small table; a range of deliveries_route and a recursive look-up a row.
select
    r.route as name,
    case
        when r.organization_id is not null
            then array(select b from resmon.organization_subtree(r.organization_id) as b)
    end as organization_ids,
    r.minimum_severity,
    r.tags,
    r.rules,
    r.per_hour,
    r.is_enabled,
    r.sends_resolved,
    (
        select count(*)
        from alert.deliveries as d
        where d.route = r.route
            and d.created_at > %(now)s - interval '1 hour'
            and d.kind not in ('digest', 'test')
    ) as sent_count,
    (
        select max(d.created_at)
        from alert.deliveries as d
        where d.route = r.route
            and d.created_at > %(now)s - interval '1 hour'
            and d.kind = 'digest'
    ) as last_digest_at
from alert.routes as r
order by r.route
for key share of r
