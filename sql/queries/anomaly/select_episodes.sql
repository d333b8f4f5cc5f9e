-- Episodes in force that touch [%(start)s, %(end)s): begun in it, or begun before and not over when it began.
-- Looked for among those of the last %(reach)s, and all that are open. Plan: index on started_at; partial index of open ones.
select {columns}
from anomaly.anomaly_reports
where superseded_at is null
    and started_at < %(end)s
    and (
        ended_at is null
        or (
            started_at >= %(start)s::timestamptz - %(reach)s::interval
            and (started_at >= %(start)s or ended_at >= %(start)s)
        )
    )
order by
    started_at,
    server_id,
    metric,
    detector
