-- What is stored in [%(start)s, %(end)s): rows, and the rows of raw that they come from.
-- Plan: scan of the partition that the window touches.
select
    count(*) as stored_rows,
    coalesce(sum(sample_count), 0)::bigint as stored_samples
from {table}
where bucket_start >= %(start)s
    and bucket_start < %(end)s
