-- In how many days each file system would be full, as the forecast of each UTC day of [%(start)s, %(end)s) had it.
-- Null: the forecast was not sure, or there is no day. Plan: month partitions that the range touches.
select
    f.server_id,
    f.mount,
    f.bucket_start,
    f.reach_100_on - (f.bucket_start + interval '24 hours')::date as days,
    f.reach_100_reason as untold_reason
from resmon.capacity_forecasts as f
where f.bucket_start >= %(start)s
    and f.bucket_start < %(end)s
    and f.method = 'best'
    and f.metric = 'filesystem_used_bytes'
    and f.server_id is not null
    and (%(server_ids)s::integer[] is null or f.server_id = any(%(server_ids)s::integer[]))
