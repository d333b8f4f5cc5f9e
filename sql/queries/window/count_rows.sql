-- Rows stored in [%(start)s, %(end)s). Plan: scan of the partition that the window touches.
select count(*) as stored_rows
from {table}
where bucket_start >= %(start)s
    and bucket_start < %(end)s
