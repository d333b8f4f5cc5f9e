-- Episodes and drifts that go on and that somebody may have to be told of: warning or critical, not quiet, of servers that are
-- collected. Of drifts the newest day speaks; the plain rule (ratio) judges for comparison only and wakes nobody.
-- Plan: partial index of open episodes; the newest window of the ledger by its primary key, and one day of drifts by its index.
select
    e.server_id,
    s.name as server_name,
    s.organization_id,
    e.metric,
    e.severity,
    e.started_at,
    e.reason,
    e.kind
from (
    select
        r.server_id,
        r.metric,
        r.severity,
        r.started_at,
        r.reason,
        r.kind
    from anomaly.anomaly_reports as r
    where r.ended_at is null
        and r.superseded_at is null
        and r.quiet_reason is null
        and r.severity in ('warning', 'critical')
        and r.detector = 'default'
    union all
    select
        d.server_id,
        d.metric,
        d.severity,
        d.started_at,
        d.reason,
        d.kind
    from anomaly.degradation_reports as d
    where d.bucket_start = (
            select w.window_start
            from ops.window_state as w
            where w.asset = 'anomaly.degradation_reports'
            order by w.window_start desc
            limit 1
        )
        and d.ended_at is null
        and d.superseded_at is null
        and d.quiet_reason is null
        and d.severity in ('warning', 'critical')
) as e
inner join inventory.servers as s on s.server_id = e.server_id
where s.state = 'active'
