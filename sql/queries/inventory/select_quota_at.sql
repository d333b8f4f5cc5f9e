-- Limit of an organization's own that holds for a resource at %(valid_from)s; null or no row: none.
-- Plan: primary key, backwards, one row.
select q.limit_value
from inventory.quotas as q
where q.organization_id = %(organization_id)s
    and q.resource = %(resource)s
    and q.valid_from <= %(valid_from)s
order by q.valid_from desc
limit 1;
