-- A message that waits to be sent.
-- Plan: insert of one row.
insert into alert.deliveries (created_at, next_attempt_at, alert_ids, route, kind, content)
values (%(now)s, %(now)s, %(alert_ids)s, %(route)s, %(kind)s, %(content)s)
