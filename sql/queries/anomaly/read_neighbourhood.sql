-- Averages of a few servers in [%(start)s, %(end)s) with their names, for a picture. Plan: primary key ranges of one or two
-- partitions.
select
    m.bucket_start,
    m.server_id,
    s.name as server_name,
    m.cpu_pct_avg,
    m.memory_used_bytes_avg,
    m.disk_used_bytes_avg,
    m.network_in_bytes_per_second_avg,
    m.network_out_bytes_per_second_avg
from tier.metrics_5min as m
join inventory.servers as s on s.server_id = m.server_id
where m.server_id = any(%(servers)s)
    and m.bucket_start >= %(start)s
    and m.bucket_start < %(end)s
order by
    m.server_id,
    m.bucket_start
