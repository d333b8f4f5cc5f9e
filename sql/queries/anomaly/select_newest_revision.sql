-- The highest revision ever given to an episode that began in [%(start)s, %(end)s); 0 when there is none.
-- Plan: index on started_at.
select coalesce(max(revision), 0)
from anomaly.anomaly_reports
where started_at >= %(start)s
    and started_at < %(end)s
