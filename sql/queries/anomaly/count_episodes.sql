-- Episodes in force that began in [%(start)s, %(end)s), and all that are open at its end. Plan: index on started_at;
-- partial index of open ones.
select
    (
        select count(*)
        from anomaly.anomaly_reports
        where superseded_at is null
            and started_at >= %(start)s
            and started_at < %(end)s
    ) as stored_rows,
    count(*) as open_episodes,
    count(*) filter (where severity = 'critical') as open_critical,
    count(*) filter (where severity = 'warning') as open_warning,
    count(*) filter (where quiet_reason is not null) as open_quiet
from anomaly.anomaly_reports
where superseded_at is null
    and ended_at is null
    and started_at < %(end)s
