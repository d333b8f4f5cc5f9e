-- Whether an hour after the one of %(start)s has been judged. Plan: primary key range, ended at the first hit.
select exists (
    select
    from ops.window_state
    where asset = 'anomaly.anomaly_reports'
        and window_start > %(start)s
)
