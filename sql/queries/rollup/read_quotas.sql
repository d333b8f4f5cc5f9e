-- Limits as they were set before %(until)s. Plan: scan of a small table.
select
    q.organization_id,
    q.resource,
    q.valid_from,
    q.limit_value
from inventory.quotas as q
where q.valid_from < %(until)s
