-- 95th percentiles of the hours [%(start)s, %(end)s) of the servers %(first)s to %(last)s, without the %(red)s ones.
-- Plan: range of the primary key, which begins with the server, in the one or two partitions of a month.
select
    server_id,
    bucket_start,
    sample_count,
    expected_count,
    cpu_pct_p95,
    memory_used_bytes_p95,
    disk_used_bytes_p95
from tier.metrics_1hour
where bucket_start >= %(start)s
    and bucket_start < %(end)s
    and server_id between %(first)s and %(last)s
    and bucket_start <> all(%(red)s::timestamptz [])
