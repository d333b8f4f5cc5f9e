-- What is stored in [%(start)s, %(end)s): rows, samples, expected samples, and the expected ones that came.
-- Plan: scan of the partition that the window touches.
select
    count(*) as stored_rows,
    coalesce(sum(sample_count), 0)::bigint as stored_samples,
    coalesce(sum(expected_count), 0)::bigint as expected_samples,
    coalesce(sum(least(sample_count, expected_count)), 0)::bigint as arrived_samples
from {table}
where bucket_start >= %(start)s
    and bucket_start < %(end)s
