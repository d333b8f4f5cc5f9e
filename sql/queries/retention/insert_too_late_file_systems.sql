-- Keeps file systems of days that were dropped from raw; one that is kept already changes nothing. Returns how many came, by day.
-- Plan: function scan on the rows, one primary key probe each; then primary keys of ops.raw_day.
with kept as (
    insert into raw.too_late_filesystem_usage (
        collected_at,
        total_bytes,
        used_bytes,
        available_bytes,
        inodes_total,
        inodes_used,
        server_id,
        organization_id,
        mount,
        device,
        type,
        arrived_at
    )
    select
        collected_at,
        total_bytes,
        used_bytes,
        available_bytes,
        inodes_total,
        inodes_used,
        server_id,
        organization_id,
        mount,
        device,
        type,
        %(now)s
    from jsonb_populate_recordset(null::raw.too_late_filesystem_usage, %(rows)s::jsonb)
    order by server_id, mount, collected_at
    on conflict (server_id, mount, collected_at) do nothing
    returning collected_at
)
select
    (kept.collected_at at time zone 'UTC')::date as day,
    count(*) as row_count
from kept
group by 1
order by 1
