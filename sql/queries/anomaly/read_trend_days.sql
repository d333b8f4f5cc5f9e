-- Daily means of the servers that have a row on the day at %(start)s, for the days of [%(first)s, %(end)s).
-- Plan: scan of the partition of the year (of two around New Year), hash semi join with the servers of the day.
select
    server_id,
    organization_id,
    bucket_start,
    sample_count,
    expected_count,
    cpu_pct_avg,
    memory_used_bytes_avg,
    disk_used_bytes_avg,
    network_in_bytes_per_second_avg,
    network_out_bytes_per_second_avg
from tier.metrics_1day
where bucket_start >= %(first)s
    and bucket_start < %(end)s
    and server_id in (
        select today.server_id
        from tier.metrics_1day as today
        where today.bucket_start >= %(start)s
            and today.bucket_start < %(end)s
    )
