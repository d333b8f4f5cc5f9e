-- Episodes and drifts that touch [%(start)s, %(end)s), as urgent as they became; without those that were kept quiet.
-- Plan: month partitions up to the end of the range; the reports are thousands.
select
    a.server_id,
    a.metric,
    a.started_at,
    a.ended_at,
    case a.severity when 'critical' then 3.0 when 'warning' then 2.0 else 1.0 end::double precision as value
from resmon.anomaly_reports as a
where a.started_at < %(end)s
    and (a.ended_at is null or a.ended_at > %(start)s)
    and a.quiet_reason is null
    and a.detector <> 'ratio'
    and (%(server_ids)s::integer[] is null or a.server_id = any(%(server_ids)s::integer[]))
