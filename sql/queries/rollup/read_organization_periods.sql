-- Stretches of organizations under one parent that touch [%(start)s, %(end)s), cut to it (which removes infinity).
-- Plan: scan; organizations are thousands.
select
    organization_id,
    parent_id,
    greatest(valid_from, %(start)s) as valid_from,
    least(valid_to, %(end)s) as valid_to
from inventory.organization_period
where valid_to > %(start)s
    and valid_from < %(end)s
