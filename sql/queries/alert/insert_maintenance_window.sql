-- A new maintenance window; its number.
-- Plan: insert of one row.
insert into inventory.maintenance_window (
    starts_at, ends_at, organization_id, server_id,
    weekday, local_start, duration_minutes, time_zone, reason, created_by, created_at
)
values (
    %(starts_at)s, %(ends_at)s, %(organization_id)s, %(server_id)s,
    %(weekday)s, %(local_start)s, %(duration_minutes)s, %(time_zone)s,
    %(reason)s, %(created_by)s, %(created_at)s
)
returning maintenance_window_id
