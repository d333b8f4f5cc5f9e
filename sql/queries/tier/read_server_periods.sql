-- Stretches of equal state, organization and interval that touch [%(start)s, %(end)s), cut to it (which removes infinity).
-- Plan: index scan on (valid_to, valid_from).
select
    server_id,
    organization_id,
    state,
    interval_seconds,
    greatest(valid_from, %(start)s) as valid_from,
    least(valid_to, %(end)s) as valid_to
from inventory.server_period
where valid_to > %(start)s
    and valid_from < %(end)s
