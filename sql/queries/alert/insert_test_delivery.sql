-- Puts a test message among the deliveries of a route.
-- Plan: one row.
insert into alert.deliveries (created_at, next_attempt_at, alert_ids, route, kind, content)
values (%(now)s, %(now)s, '{}', %(route)s, 'test', %(content)s)
returning delivery_id;
