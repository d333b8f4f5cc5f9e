-- Removes a route with its messages; while some wait only when that is asked for.
-- Plan: primary key; index scan on deliveries_route.
delete from alert.routes as r
where
    r.route = %(route)s
    and (
        %(with_waiting)s
        or not exists (select from alert.deliveries as d where d.route = r.route and d.next_attempt_at is not null)
    )
returning r.route;
