-- Raw samples of the servers %(first)s to %(last)s in [%(start)s, %(end)s): the columns that rollups are made of.
-- Plan: scan of the one day partition that the window touches; by primary key when the servers are few.
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
    network_out_bytes
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
    and server_id between %(first)s and %(last)s
