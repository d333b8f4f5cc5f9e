-- Slow degradations of servers of the demo fleet, by time. Plan: primary key, a range per server.
select
    r.server_id,
    r.metric,
    r.started_at,
    r.ended_at,
    r.reason,
    r.severity
from resmon.degradation_reports as r
inner join demo.servers as d on d.server_id = r.server_id
order by r.started_at, r.server_id, r.metric
