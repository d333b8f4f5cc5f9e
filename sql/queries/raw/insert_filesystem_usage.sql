-- Inserts a batch of file systems; a row whose key exists changes nothing. Returns the number inserted.
-- Plan: function scan on unnest, insert through the day partitions, one index probe a row.
with inserted as (
    insert into raw.filesystem_usage (
        server_id,
        organization_id,
        collected_at,
        mount,
        device,
        type,
        total_bytes,
        used_bytes,
        available_bytes,
        inodes_total,
        inodes_used
    )
    select
        server_id,
        organization_id,
        collected_at,
        mount,
        device,
        type,
        total_bytes,
        used_bytes,
        available_bytes,
        inodes_total,
        inodes_used
    from unnest(
        %(server_id)s::integer[],
        %(organization_id)s::integer[],
        %(collected_at)s::timestamptz[],
        %(mount)s::text[],
        %(device)s::text[],
        %(type)s::text[],
        %(total_bytes)s::bigint[],
        %(used_bytes)s::bigint[],
        %(available_bytes)s::bigint[],
        %(inodes_total)s::bigint[],
        %(inodes_used)s::bigint[]
    ) as batch (
        server_id,
        organization_id,
        collected_at,
        mount,
        device,
        type,
        total_bytes,
        used_bytes,
        available_bytes,
        inodes_total,
        inodes_used
    )
    order by server_id, mount, collected_at
    on conflict (server_id, mount, collected_at) do nothing
    returning 1
)
select count(*) from inserted
