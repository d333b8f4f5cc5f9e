-- How full each file system was, in percent of what an ordinary user can fill, in [%(start)s, %(end)s).
-- Plan: scan of the one day partition that the slice touches; by primary key when the servers are few.
select
    f.server_id,
    f.mount,
    f.collected_at as at,
    100.0 * f.used_bytes::double precision / nullif(f.used_bytes + f.available_bytes, 0) as value,
    f.available_bytes::double precision as free_bytes
from raw.filesystem_usage as f
where f.collected_at >= %(start)s
    and f.collected_at < %(end)s
    and f.server_id between %(first)s and %(last)s
    and (%(server_ids)s::integer[] is null or f.server_id = any(%(server_ids)s::integer[]))
