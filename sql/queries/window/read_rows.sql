-- Stored rows of a table of windows in [%(start)s, %(end)s).
-- Plan: scan of the partition that the window touches.
select {columns}
from {table}
where bucket_start >= %(start)s
    and bucket_start < %(end)s
