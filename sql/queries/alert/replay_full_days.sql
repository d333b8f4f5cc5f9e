-- In how many days each file system would be full, as the forecast of each UTC day of [%(start)s, %(end)s) had it.
-- Null: it was not sure, which leaves what was told; infinity: nothing grows. Plan: month partitions that the range touches.
select
    f.server_id,
    f.mount,
    f.bucket_start,
    case
        when f.reach_100_reason = 'already_reached' then 0.0
        when f.reach_100_on is not null
            then greatest(f.reach_100_on - (f.bucket_start + interval '24 hours')::date, 0)
        when f.reach_100_reason not in ('insufficient_data', 'recent_step_change', 'noisy') then 'infinity'
    end::double precision as value
from resmon.capacity_forecasts as f
where f.bucket_start >= %(start)s
    and f.bucket_start < %(end)s
    and f.method = 'best'
    and f.metric = 'filesystem_used_bytes'
    and f.server_id is not null
    and (%(server_ids)s::integer[] is null or f.server_id = any(%(server_ids)s::integer[]))
