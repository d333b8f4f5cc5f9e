-- The message to send next of each route where one is due: the oldest that is due or holds its route.
-- Plan: index scan on deliveries_waiting (waiting rows only), join to the few routes, sort.
select distinct on (d.route)
    d.delivery_id,
    d.route,
    d.content,
    d.attempt_count,
    d.refusal_count,
    d.taken_by,
    r.target,
    r.template
from alert.deliveries as d
inner join alert.routes as r on r.route = d.route
where
    d.next_attempt_at is not null
    and r.is_enabled
    and d.route <> all(%(busy)s)
    and (d.next_attempt_at <= %(now)s or d.holds_route)
    and exists (
        select
        from alert.deliveries as due
        where due.route = d.route and due.next_attempt_at <= %(now)s
    )
order by d.route, d.delivery_id;
