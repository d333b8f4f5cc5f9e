-- Rows of file systems in [%(start)s, %(end)s) of the servers %(first)s to %(last)s, in no order.
-- Plan: range of the primary key of the day's partition, or a scan when all servers are wanted.
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
from raw.filesystem_usage
where collected_at >= %(start)s
    and collected_at < %(end)s
    and server_id between %(first)s and %(last)s
