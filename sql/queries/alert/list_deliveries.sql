-- Messages that wait, or that were given up since an instant; oldest first.
-- Plan: index scan on deliveries_waiting, or on deliveries_route for the dead.
select
    d.delivery_id,
    d.route,
    d.kind,
    d.content,
    d.created_at,
    d.attempt_count,
    d.next_attempt_at,
    d.give_up_at,
    d.dead_at,
    d.last_error,
    d.taken_by
from alert.deliveries as d
where
    (d.next_attempt_at is not null and not %(is_dead)s or d.dead_at >= %(since)s and %(is_dead)s)
    and (%(route)s::text is null or d.route = %(route)s)
order by d.delivery_id;
