-- Marks the episodes in force that began in [%(start)s, %(end)s): were they judged before all samples were there?
-- Plan: index on started_at.
update anomaly.anomaly_reports
set has_late_input = %(is_late)s
where started_at >= %(start)s
    and started_at < %(end)s
    and superseded_at is null
    and has_late_input <> %(is_late)s
