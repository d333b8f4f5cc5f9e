-- Limits in force at %(at)s: own and inherited. Plan: one scan of inventory.quotas, then down the tree by index.
select
    l.organization_id,
    l.resource,
    l.limit_value,
    l.limit_organization_id
from resmon.organization_limits(%(at)s) as l
order by l.organization_id, l.resource;
