-- What is stored in [%(start)s, %(end)s): rows, and servers by verdict. Plan: scan of the partition that the day touches.
select
    count(*) as stored_rows,
    count(*) filter (where verdict = 'underused') as underused,
    count(*) filter (where verdict = 'overloaded') as overloaded,
    count(*) filter (where verdict = 'unknown') as unknown
from {table}
where bucket_start >= %(start)s
    and bucket_start < %(end)s
