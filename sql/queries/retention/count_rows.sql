-- Rows of [%%(start)s, %%(end)s), before its partition is dropped. Plan: a scan of that partition only.
select count(*)
from {table}
where {column} >= %(start)s
    and {column} < %(end)s
