-- The newest row of each mount of these servers, by server and mount.
-- Plan: per server the primary keys of server_status and of one or two day partitions.
select
    server_id,
    collected_at,
    mount,
    device,
    type,
    total_bytes,
    used_bytes,
    available_bytes,
    used_pct,
    inodes_total,
    inodes_used,
    inodes_used_pct
from resmon.filesystem_status
where server_id = any(%(server_ids)s)
order by server_id, mount;
