-- Whether a message waits for an attempt that is due at %(now)s, or, of a route that is switched off, for its end after a day.
-- Plan: deliveries_waiting up to %(now)s, each with its route by primary key.
select exists (
    select
    from alert.deliveries as d
    inner join alert.routes as r on r.route = d.route
    where
        d.next_attempt_at <= %(now)s
        and (r.is_enabled or d.created_at < %(now)s::timestamptz - interval '24 hours')
)
