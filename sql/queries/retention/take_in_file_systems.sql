-- Takes in file systems that came too late for the day [%(start)s, %(end)s), which is there again. Returns how many
-- waited, and the hours that got a row that was not there.
-- Plan: scan of the few rows that wait, insert through the day partition, one index probe a row.
with moved as (
    delete from raw.too_late_filesystem_usage
    where collected_at >= %(start)s
        and collected_at < %(end)s
    returning
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
        type
),
inserted as (
    insert into raw.filesystem_usage (
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
        type
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
        type
    from moved
    order by server_id, mount, collected_at
    on conflict (server_id, mount, collected_at) do nothing
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
