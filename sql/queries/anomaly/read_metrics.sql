-- Averages of every server in [%(start)s, %(end)s) of the five-minute tier. Plan: bitmap scan by the time index of one partition.
select
    bucket_start,
    server_id,
    organization_id,
    sample_count,
    expected_count,
    cpu_pct_avg,
    memory_used_bytes_avg,
    disk_used_bytes_avg,
    network_in_bytes_per_second_avg,
    network_out_bytes_per_second_avg
from tier.metrics_5min
where bucket_start >= %(start)s
    and bucket_start < %(end)s
