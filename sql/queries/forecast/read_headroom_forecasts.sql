-- Forecasts of servers made on the day [%(start)s, %(end)s), method best: capacity and upper edges 7 and 30 days ahead.
-- Plan: scan of the day in its month's partition, by its BRIN index.
select
    server_id,
    metric,
    capacity,
    upper_80[7] as upper_80_7d,
    upper_80[30] as upper_80_30d
from forecast.capacity_forecasts
where bucket_start >= %(start)s
    and bucket_start < %(end)s
    and method = 'best'
    and server_id > 0
    and mount = ''
    and metric in ('cpu_pct', 'memory_used_bytes', 'disk_used_bytes')
