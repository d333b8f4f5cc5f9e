-- What detectors knew at the end of hours of [%(start)s, %(end)s) of which no report is left: only the demo fleet was judged.
-- Plan: range of the primary key, a probe of the ledger per hour.
delete from anomaly.detector_state as d
where d.window_start >= %(start)s
    and d.window_start < %(end)s
    and not exists (
        select
        from ops.window_state as w
        where w.asset = 'anomaly.anomaly_reports'
            and w.window_start = d.window_start
    )
