-- What is stored in [%(start)s, %(end)s): rows, samples, expected samples, and the expected ones that came.
-- Plan: scan of the partition that the window touches.
select
    count(*),
    coalesce(sum(sample_count), 0)::bigint,
    coalesce(sum(expected_count), 0)::bigint,
    coalesce(sum(least(sample_count, expected_count)), 0)::bigint
from {table}
where bucket_start >= %(start)s
    and bucket_start < %(end)s
