-- Daily means of mounts in [%(start)s, %(end)s), days in %(red)s left out. Capacity is what an ordinary user can fill,
-- as df counts it; null where the mount did not say.
-- Plan: scan of the year's partition by its time index; 1.2 million rows for 60 days of 20,000 mounts.
select
    f.bucket_start,
    f.server_id,
    f.mount,
    f.measured_count::bigint as sample_count,
    f.used_bytes_avg as filesystem_used_bytes,
    nullif(f.used_bytes_last + f.available_bytes_last, 0)::double precision as capacity
from tier.filesystem_1day as f
where f.bucket_start >= %(start)s
    and f.bucket_start < %(end)s
    and f.bucket_start <> all(%(red)s::timestamptz[])
