-- The highest and the lowest value that a rule would have judged in each bucket of a tier; totals are those of now.
-- A maximum of 1min that is null is the minimum. Plan: scan of the day's partitions; by primary key when the servers are few.
select
    b.server_id as subject,
    b.bucket_start as at,
    (
        case %(rule)s::text
            when 'cpu_high' then coalesce(b.cpu_pct_max, b.cpu_pct_min)
            when 'memory_high'
                then 100.0 * coalesce(b.memory_used_bytes_max, b.memory_used_bytes_min) / nullif(s.memory_total_bytes, 0)
            when 'disk_high'
                then 100.0 * coalesce(b.disk_used_bytes_max, b.disk_used_bytes_min) / nullif(s.disk_total_bytes, 0)
        end
    )::double precision as highest,
    (
        case %(rule)s::text
            when 'cpu_high' then b.cpu_pct_min
            when 'memory_high' then 100.0 * b.memory_used_bytes_min / nullif(s.memory_total_bytes, 0)
            when 'disk_high' then 100.0 * b.disk_used_bytes_min / nullif(s.disk_total_bytes, 0)
        end
    )::double precision as lowest,
    case
        when %(rule)s::text = 'disk_high'
            then s.disk_total_bytes - coalesce(b.disk_used_bytes_max, b.disk_used_bytes_min)
    end::double precision as free_bytes
from {table} as b
left join raw.server_status as s on s.server_id = b.server_id
where b.bucket_start >= %(start)s
    and b.bucket_start < %(end)s
    and b.server_id between %(first)s and %(last)s
    and (%(server_ids)s::integer[] is null or b.server_id = any(%(server_ids)s::integer[]))
