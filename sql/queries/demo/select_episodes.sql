-- Episodes in force of servers of the demo fleet that nobody keeps quiet, by time. Plan: primary key, a range per server.
select
    r.server_id,
    r.metric,
    r.started_at,
    r.ended_at,
    r.reason,
    r.severity,
    r.peak_at
from anomaly.anomaly_reports as r
inner join demo.servers as d on d.server_id = r.server_id
where r.detector = 'default'
    and r.kind = 'deviation'
    and r.superseded_at is null
    and r.quiet_reason is null
order by r.started_at, r.server_id, r.metric
