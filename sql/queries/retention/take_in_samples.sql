-- Takes in samples that came too late for the day [%(start)s, %(end)s), which is there again. Returns how many
-- waited, and the hours that got a row that was not there.
-- Plan: scan of the few rows that wait, insert through the day partition, one index probe a row.
with moved as (
    delete from raw.too_late_samples
    where collected_at >= %(start)s
        and collected_at < %(end)s
    returning
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
        cpu_count
),
inserted as (
    insert into raw.server_resource_metrics (
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
        cpu_count
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
        cpu_count
    from moved
    order by server_id, collected_at
    on conflict (server_id, collected_at) do nothing
    returning collected_at
)
select
    (select count(*) from moved) as moved,
    (select count(*) from inserted) as inserted,
    array(
        select distinct date_trunc('hour', inserted.collected_at, 'UTC')
        from inserted
        order by 1
    ) as hours
