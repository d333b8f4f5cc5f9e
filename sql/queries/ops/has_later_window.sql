-- Whether the table %(asset)s has a window after the one of %(start)s. Plan: primary key range, ended at the first hit.
select exists (
    select
    from ops.window_state
    where asset = %(asset)s
        and window_start > %(start)s
)
