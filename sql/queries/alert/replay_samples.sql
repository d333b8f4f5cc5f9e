-- What a rule judges, from samples in [%(start)s, %(end)s) of the servers %(first)s to %(last)s; of a few, %(server_ids)s alone.
-- Plan: scan of the one day partition that the slice touches; by primary key when the servers are few.
select
    r.server_id as subject,
    r.collected_at as at,
    (
        case %(rule)s::text
            when 'cpu_high' then r.cpu_pct
            when 'memory_high' then 100.0 * r.memory_used_bytes / nullif(r.memory_total_bytes, 0)
            when 'disk_high' then 100.0 * r.disk_used_bytes / nullif(r.disk_total_bytes, 0)
        end
    )::double precision as value,
    case when %(rule)s::text = 'disk_high' then r.disk_total_bytes - r.disk_used_bytes end::double precision as free_bytes
from raw.server_resource_metrics as r
where r.collected_at >= %(start)s
    and r.collected_at < %(end)s
    and r.server_id between %(first)s and %(last)s
    and (%(server_ids)s::integer[] is null or r.server_id = any(%(server_ids)s::integer[]))
