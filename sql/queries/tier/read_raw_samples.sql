-- Raw samples of the servers %(first)s to %(last)s in [%(start)s, %(end)s): the columns that statistics are made of.
-- Plan: scan of the one day partition that the window touches; by primary key when the servers are few.
select
    server_id,
    organization_id,
    collected_at,
    cpu_pct,
    memory_used_bytes,
    disk_used_bytes,
    network_in_bytes,
    network_out_bytes,
    elapsed_ms
from raw.server_resource_metrics
where collected_at >= %(start)s
    and collected_at < %(end)s
    and server_id between %(first)s and %(last)s
