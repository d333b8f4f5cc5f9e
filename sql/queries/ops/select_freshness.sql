-- How far the newest window of %(table)s is complete, and whether anything was to be computed in [%(start)s, %(end)s): raw was
-- written, or a server was active.
-- Plan: last row of a primary key range; primary key of raw_hour; server_period by its time index, ended at the first hit.
select
    (
        select w.complete_until
        from ops.window_state as w
        where w.asset = %(table)s
        order by w.window_start desc
        limit 1
    ),
    exists (
        select
        from ops.raw_hour as r
        where r.hour >= date_trunc('hour', %(start)s::timestamptz, 'UTC')
            and r.hour < %(end)s
    )
    or exists (
        select
        from inventory.server_period as p
        where p.state = 'active'
            and p.valid_from < %(end)s
            and p.valid_to > %(start)s
    )
