-- The limit that takes over after %(valid_from)s, and when. Plan: primary key, one row.
select
    q.limit_value,
    q.valid_from
from inventory.quotas as q
where q.organization_id = %(organization_id)s
    and q.resource = %(resource)s
    and q.valid_from > %(valid_from)s
order by q.valid_from
limit 1;
