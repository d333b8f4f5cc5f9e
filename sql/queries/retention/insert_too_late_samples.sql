-- Keeps samples of days that were dropped from raw; one that is kept already changes nothing. Returns how many came, by day.
-- Plan: function scan on the rows, one primary key probe each; then primary keys of ops.raw_day.
with kept as (
    insert into raw.too_late_samples (
        collected_at,
        memory_used_bytes,
        memory_total_bytes,
        disk_used_bytes,
        disk_total_bytes,
        network_in_bytes,
        network_out_bytes,
        server_id,
        organization_id,
        elapsed_ms,
        uptime_seconds,
        cpu_pct,
        load_1m,
        load_5m,
        load_15m,
        clock_skew_seconds,
        cpu_count,
        arrived_at
    )
    select
        collected_at,
        memory_used_bytes,
        memory_total_bytes,
        disk_used_bytes,
        disk_total_bytes,
        network_in_bytes,
        network_out_bytes,
        server_id,
        organization_id,
        elapsed_ms,
        uptime_seconds,
        cpu_pct,
        load_1m,
        load_5m,
        load_15m,
        clock_skew_seconds,
        cpu_count,
        %(now)s
    from jsonb_populate_recordset(null::raw.too_late_samples, %(rows)s::jsonb)
    order by server_id, collected_at
    on conflict (server_id, collected_at) do nothing
    returning collected_at
)
select
    (kept.collected_at at time zone 'UTC')::date as day,
    count(*) as row_count
from kept
group by 1
order by 1
