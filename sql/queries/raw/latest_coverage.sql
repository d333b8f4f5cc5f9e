-- The newest stretch of each server that reaches %(since)s.
-- Plan: range scan of collection_coverage_time, then a sort of what it found.
select distinct on (server_id)
    server_id,
    started_at,
    ended_at,
    cause,
    instant_count
from raw.collection_coverage
where ended_at >= %(since)s
order by server_id, started_at desc
