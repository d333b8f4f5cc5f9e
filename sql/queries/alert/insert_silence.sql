-- A new silence; its number.
-- Plan: insert of one row.
insert into alert.silences (
    starts_at, ends_at, organization_id, server_id, rule, tag, maximum_severity,
    weekday, local_start, duration_minutes, time_zone, reason, created_by, created_at
)
values (
    %(starts_at)s, %(ends_at)s, %(organization_id)s, %(server_id)s, %(rule)s, %(tag)s,
    %(maximum_severity)s, %(weekday)s, %(local_start)s, %(duration_minutes)s, %(time_zone)s,
    %(reason)s, %(created_by)s, %(created_at)s
)
returning silence_id
