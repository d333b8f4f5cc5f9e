-- Median and 99th percentile of CPU and memory of the servers that have a row on the day at %(start)s, for the days of [%(first)s, %(end)s).
-- Plan: scan of the partition of the year (of two around New Year), hash semi join with the servers of the day.
select
    server_id,
    organization_id,
    bucket_start,
    sample_count,
    expected_count,
    cpu_pct_p50,
    cpu_pct_p99,
    memory_used_bytes_p50,
    memory_used_bytes_p99
from tier.metrics_1day
where bucket_start >= %(first)s
    and bucket_start < %(end)s
    and server_id in (
        select today.server_id
        from tier.metrics_1day as today
        where today.bucket_start >= %(start)s
            and today.bucket_start < %(end)s
    )
