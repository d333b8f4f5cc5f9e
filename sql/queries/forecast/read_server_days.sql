-- Daily means of servers in [%(start)s, %(end)s), days in %(red)s left out.
-- Plan: scan of the year's partition by its time index; 600,000 rows for 60 days of 10,000 servers.
select
    m.bucket_start,
    m.server_id,
    m.sample_count::bigint as sample_count,
    m.cpu_pct_avg::double precision as cpu_pct,
    m.memory_used_bytes_avg::double precision as memory_used_bytes,
    m.disk_used_bytes_avg::double precision as disk_used_bytes
from tier.metrics_1day as m
where m.bucket_start >= %(start)s
    and m.bucket_start < %(end)s
    and m.bucket_start <> all(%(red)s::timestamptz[])
