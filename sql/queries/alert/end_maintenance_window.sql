-- A maintenance window ends now; one that has not begun is deleted. What detectors kept quiet stays so. No row where there is none, or it is over.
-- Plan: primary key.
with known as (
    select maintenance_window_id, starts_at
    from inventory.maintenance_window
    where maintenance_window_id = %(number)s
        and (ends_at is null or ends_at > %(now)s)
    for update
),
deleted as (
    delete from inventory.maintenance_window as w
    using known as k
    where w.maintenance_window_id = k.maintenance_window_id and k.starts_at >= %(now)s
),
ended as (
    update inventory.maintenance_window as w
    set ends_at = %(now)s
    from known as k
    where w.maintenance_window_id = k.maintenance_window_id and k.starts_at < %(now)s
)
select maintenance_window_id from known
