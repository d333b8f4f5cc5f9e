-- Samples of [%(start)s, %(end)s) that hold what cannot be: their keys, and how many there are in all; at most %(limit)s.
-- Plan: one scan of the hour (time index of the day's partition).
select
    s.server_id,
    s.collected_at,
    count(*) over () as wrong
from raw.server_resource_metrics as s
where s.collected_at >= %(start)s
    and s.collected_at < %(end)s
    and (
        not s.cpu_pct between 0 and 100
        or least(
            s.memory_used_bytes,
            s.memory_total_bytes,
            s.disk_used_bytes,
            s.disk_total_bytes,
            s.network_in_bytes,
            s.network_out_bytes,
            s.uptime_seconds
        ) < 0
        or s.memory_used_bytes > s.memory_total_bytes
        or s.disk_used_bytes > s.disk_total_bytes
        or s.elapsed_ms <= 0
        or s.cpu_count < 1
        or least(s.load_1m, s.load_5m, s.load_15m) < 0
        or greatest(s.load_1m, s.load_5m, s.load_15m, abs(s.clock_skew_seconds)) = 'infinity'
    )
order by s.server_id, s.collected_at
limit %(limit)s
