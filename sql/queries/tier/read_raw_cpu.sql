-- CPU of all samples in [%(start)s, %(end)s), in no order: what the picture of an hour is drawn from.
-- Plan: scan of the one day partition that the hour touches.
select
    collected_at as at,
    cpu_pct as usual,
    cpu_pct as peak
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
    and cpu_pct is not null
