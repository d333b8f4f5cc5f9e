-- Open alerts by severity, how many of them nobody has taken on, and messages that have waited for too long.
-- Plan: index scan on alerts_open (open alerts only), index scan on deliveries_waiting.
select
    count(*) filter (where a.severity = 'critical') as critical_count,
    count(*) filter (where a.severity = 'warning') as warning_count,
    count(*) filter (where a.severity = 'info') as info_count,
    count(*) filter (where a.state = 'open') as unacknowledged_count,
    (select count(*) from alert.deliveries as d where d.next_attempt_at is not null and d.created_at < %(waiting_since)s)
        as stuck_count
from alert.alerts as a
where a.resolved_at is null;
