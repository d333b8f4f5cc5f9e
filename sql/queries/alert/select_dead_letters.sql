-- Messages to routes in use that were given up after the last one that was delivered, of those made since %(since)s: how many,
-- and why the newest. Trial messages tell of a route that works, never of one that does not.
-- Plan: deliveries of some days by (route, created_at), for each route.
select
    r.route,
    count(*) as count,
    coalesce((array_agg(d.last_error order by d.dead_at desc))[1], 'no reason is known') as error
from alert.routes as r
inner join alert.deliveries as d
    on d.route = r.route
    and d.created_at >= %(since)s
where r.is_enabled
    and d.kind <> 'test'
    and d.dead_at > coalesce(
        (
            select max(s.sent_at)
            from alert.deliveries as s
            where s.route = r.route
                and s.created_at >= %(since)s
        ),
        '-infinity'
    )
group by r.route
