-- All samples but those of the demo fleet of [%(start)s, %(end)s), at most an hour, in the columns and the order of the archive.
-- Plan: bitmap scan of the day's partition by its block range index; sorted by the caller, who is faster at it.
select
    server_id,
    organization_id,
    collected_at,
    cpu_pct,
    cpu_count,
    memory_used_bytes,
    memory_total_bytes,
    disk_used_bytes,
    disk_total_bytes,
    network_in_bytes,
    network_out_bytes,
    elapsed_ms,
    load_1m,
    load_5m,
    load_15m,
    uptime_seconds,
    clock_skew_seconds
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
    and server_id not in (
        select d.server_id
        from demo.servers as d
    )
